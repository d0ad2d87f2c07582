package step

import (
	"archive/zip"
	"bytes"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"castpoint/agent/machine"
	"castpoint/agent/protocol"
)

func zipWith(names ...string) []byte {
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	for _, name := range names {
		f, err := z.Create(name)
		if err == nil {
			_, err = f.Write([]byte("text"))
		}
		if err != nil {
			panic(err)
		}
	}
	if err := z.Close(); err != nil {
		panic(err)
	}
	return b.Bytes()
}

// installWindows has every kind of step that an installation has.
const installWindows = `
name: install
variables:
  Name: {value: PC-1}
  Secret: {secret: true}
contents: [windows, drivers]
steps:
  - name: ready
    check-readiness: {memory: 2GiB, disk-size: 32GB, cpu-cores: 2, architecture: [amd64], firmware: uefi}
  - name: disk
    partition-disk: {layout: windows}
  - name: model
    set-dynamic-variables:
      rules:
        - {model: "Model*", variables: {Role: "desk of ${Name}"}}
        - {model: "Other*", variables: {Role: other}}
  - name: image
    apply-image: {content: windows, target: Windows}
    retry: {count: 1}
  - name: boot
    install-bootloader: {os: Windows, system: System}
  - name: drivers
    apply-drivers: {content: drivers, target: Windows}
  - name: settings
    windows-settings: {target: Windows, computer-name: "${Name}", admin-password: "${Secret}"}
  - name: network
    network-settings: {target: Windows, workgroup: HOME}
  - name: group
    when: vars.Role startsWith "desk"
    continue-on-error: true
    steps:
      - name: command
        run-command: {command: "echo ${Role}", variable: Said}
      - name: fails
        run-command: {command: "exit 5"}
      - name: not here
        when: device.manufacturer == "Nobody"
        run-command: {command: "exit 1"}
  - name: log
    copy-log: {}
  - name: restart
    restart: {into: disk}
`

const installed = "ready done, disk done, model done, image done, boot done, drivers done, settings done, network done, command done, fails failed, not here skipped, log done, restart done"

func newInstall(t *testing.T) *world {
	w := newWorld(t, installWindows)
	w.vars["Secret"] = protocol.VariableValue{Value: "very secret", Secret: true}
	return w
}

// check is that the installation is whole, however it came to be.
func (w *world) check(end string, err error) {
	w.t.Helper()
	if err != nil || end != EndReboot {
		w.t.Fatalf("end %q, %v; it said:\n%s", end, err, strings.Join(w.said, "\n"))
	}
	if got := w.states(); got != installed {
		w.t.Errorf("steps %s\nwant %s", got, installed)
	}
	if w.applied["Windows"] < 1 || len(w.ends) == 0 || w.ends[len(w.ends)-1].State != protocol.RunSucceeded {
		w.t.Errorf("applied %v, ends %+v", w.applied, w.ends)
	}
	if w.vars["Said"].Value != "echo desk of PC-1\nCP_Secret=very secret" && w.vars["Said"].Value != "echo desk of PC-1" {
		w.t.Errorf("variable Said is %q", w.vars["Said"].Value)
	}
	answers, err := os.ReadFile(filepath.Join(w.dir, "volumes/Windows/Windows/Panther/unattend.xml"))
	if err != nil || !bytes.Contains(answers, []byte("PC-1")) || !bytes.Contains(answers, []byte("HOME")) {
		w.t.Errorf("unattend.xml: %v\n%s", err, answers)
	}
	for _, s := range w.steps {
		if strings.Contains(s.Message+s.Output, "very secret") {
			w.t.Errorf("step %s shows a secret: %s %s", s.Path, s.Message, s.Output)
		}
	}
	if all := strings.Join(w.said, "\n"); strings.Contains(all, "very secret") {
		w.t.Errorf("the screen shows a secret:\n%s", all)
	}
	f, err := os.Open(w.disk)
	if err != nil {
		w.t.Fatal(err)
	}
	defer f.Close()
	if run := FindRun((*fakeMachine)(w)); run != "" {
		w.t.Errorf("the disk still has the state of run %s", run)
	}
}

func TestInstall(t *testing.T) {
	w := newInstall(t)
	w.check(w.start())
	if n := slices.Index(w.ops, "receive os1"); n < 0 || slices.Index(w.ops, "apply") < n {
		t.Errorf("order of operations: %s", strings.Join(w.ops, ", "))
	}
}

// TestPowerLoss pulls the power at every operation of machine and server, and
// starts the machine again: every time the installation becomes whole, and the disk
// is divided again only when it was not divided before.
func TestPowerLoss(t *testing.T) {
	whole := newInstall(t)
	whole.check(whole.start())
	for cut := 1; cut <= len(whole.ops); cut++ {
		t.Run(fmt.Sprintf("%d %s", cut, whole.ops[cut-1]), func(t *testing.T) {
			w := newInstall(t)
			w.hook = func(n int, _ string) error {
				if n == cut {
					return errPower
				}
				return nil
			}
			if end, err := w.start(); err == nil {
				if cut < len(whole.ops) {
					t.Fatalf("ended with %q without power", end)
				}
				return
			}
			before := slices.Contains(w.ops, "server: 3 started")
			w.check(w.start())
			times := 0
			for _, op := range w.ops {
				if op == "partition" {
					times++
				}
			}
			if before && times > 1 {
				t.Errorf("the disk was divided %d times: %s", times, strings.Join(w.ops, ", "))
			}
		})
	}
}

// TestServerRestarts has the server be away at every report: the machine waits for
// it and does nothing twice.
func TestServerRestarts(t *testing.T) {
	whole := newInstall(t)
	whole.check(whole.start())
	for _, name := range whole.ops {
		if !strings.HasPrefix(name, "server: ") || strings.Contains(name, "log") {
			continue
		}
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newInstall(t)
			away := 1
			w.hook = func(_ int, op string) error {
				if op == name && away > 0 {
					away--
					return unavailable
				}
				return nil
			}
			w.check(w.start())
			if n := len(w.ops); n != len(whole.ops)+1 {
				t.Errorf("%d operations, want %d: %s", n, len(whole.ops)+1, strings.Join(w.ops, ", "))
			}
		})
	}
}

// TestFaults: what goes wrong is told with its step and what to do, the machine
// waits, and a retry finishes.
func TestFaults(t *testing.T) {
	for _, c := range []struct {
		name, op, step string
		err            error
		times          int
		says           string
	}{
		{"full disk", "apply", "4", fmt.Errorf("%w: it takes 9 GB", machine.ErrSpace), 2, "9 GB"},
		{"wrong image", "bootloader System Windows", "5", fmt.Errorf("the image has no Windows/Boot: %w", os.ErrNotExist), 1, "Windows/Boot"},
		{"session cancelled", "receive os1", "4", &protocol.Problem{Status: http.StatusForbidden, Detail: "the session was cancelled"}, 2, "cancelled"},
		{"disk breaks", "partition", "2", &machine.ExitError{Program: "sfdisk", Code: 1, Tail: "Input/output error"}, 1, "Input/output error"},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newInstall(t)
			left := c.times
			w.hook = func(_ int, op string) error {
				if op == c.op && left > 0 {
					left--
					return c.err
				}
				return nil
			}
			w.orders = []protocol.Order{{Kind: protocol.OrderRetry, Path: c.step, By: "ada"}}
			end, err := w.start()
			w.check(end, err)
			first := w.ends[0]
			if first.State != protocol.RunFailed || first.Path != c.step || !strings.Contains(first.Message, c.says) {
				t.Errorf("the run ended with %+v, want step %s and %q", first, c.step, c.says)
			}
			if !slices.ContainsFunc(w.said, func(s string) bool { return strings.Contains(s, "FAILED") && strings.Contains(s, c.says) }) {
				t.Errorf("the screen says:\n%s", strings.Join(w.said, "\n"))
			}
		})
	}
}

// TestOrders: a reboot ends the wait, an order for a step that is not there does not.
func TestOrders(t *testing.T) {
	w := newWorld(t, "name: s\nsteps:\n  - run-command: {command: exit 3}\n")
	w.orders = []protocol.Order{{Kind: protocol.OrderRetry, Path: "9"}, {Kind: protocol.OrderReboot}}
	if end, err := w.start(); end != EndOrdered || err != nil {
		t.Errorf("end %q, %v", end, err)
	}
	s := w.steps["1"]
	if s.State != protocol.StepFailed || s.ExitCode == nil || *s.ExitCode != 3 || s.Output == "" || s.Advice == "" {
		t.Errorf("the failed step is %+v", s)
	}
}

// TestCancelledBetweenSteps: an order to stop counts whatever the message was that it
// came with the answer to.
func TestCancelledBetweenSteps(t *testing.T) {
	const text = "name: s\nsteps:\n  - run-command: {command: one}\n  - restart: {into: boot-image}\n  - run-command: {command: three}\n"
	for at, c := range map[string]struct{ ran, stopped string }{
		"1 started": {"", "1"}, "1 done": {"run one", "2"}, "2 done": {"run one", "3"}, "2 started": {"run one", "2"},
	} {
		w := newWorld(t, text)
		w.answers = map[string]protocol.Order{at: {Kind: protocol.OrderCancel}}
		w.orders = []protocol.Order{{Kind: protocol.OrderReboot}}
		if end, err := w.start(); end != EndOrdered || err != nil {
			t.Errorf("%s: end %q, %v", at, end, err)
			continue
		}
		if len(w.ends) != 1 || w.ends[0].State != protocol.RunCancelled || w.ends[0].Path != c.stopped && at != "2 started" {
			t.Errorf("%s: %+v", at, w.ends)
		}
		if slices.Contains(w.ops, "run three") || c.ran != "" && !slices.Contains(w.ops, c.ran) {
			t.Errorf("%s: %q", at, w.ops)
		}
	}
}

// TestInterrupted is what a step says for the case that the machine restarts in the
// middle of it.
func TestInterrupted(t *testing.T) {
	for how, want := range map[string]string{"repeat": "a done, b done, c done", "skip": "a done, b skipped, c done", "fail": "a done, b failed, c "} {
		w := newWorld(t, "name: s\nsteps:\n  - {name: a, run-command: {command: echo}}\n  - {name: b, interrupted: "+how+", run-command: {command: middle}}\n  - {name: c, run-command: {command: echo}}\n")
		gone := false
		w.hook = func(_ int, op string) error {
			if op == "run middle" && !gone {
				gone = true
				return errPower
			}
			return nil
		}
		if _, err := w.start(); err == nil {
			t.Fatal("it ended without power")
		}
		w.orders = []protocol.Order{{Kind: protocol.OrderReboot}}
		if _, err := w.start(); err != nil {
			t.Fatal(err)
		}
		if got := w.states(); got != want {
			t.Errorf("interrupted: %s gives %q, want %q", how, got, want)
		}
	}
}

// TestRestart: the steps after a restart run after the next start.
func TestRestart(t *testing.T) {
	w := newWorld(t, "name: s\nsteps:\n  - {name: a, set-variable: {name: A, value: one}}\n  - {name: b, restart: {into: boot-image}}\n  - {name: c, run-command: {command: \"echo ${A} ${_Model}\"}}\n  - {name: d, run-command: {command: exit 3010}}\n  - {name: e, run-command: {command: echo}}\n")
	for i, want := range []string{EndRestart, EndRestart, EndSucceeded} {
		if end, err := w.start(); end != want || err != nil {
			t.Fatalf("start %d ends with %q, %v; want %q", i+1, end, err, want)
		}
	}
	if !slices.Contains(w.ops, "run echo one Model 1") || w.ends[0].Path != "3" || w.ends[0].Into != "boot-image" || w.ends[1].Path != "5" {
		t.Errorf("operations %s, ends %+v", strings.Join(w.ops, ", "), w.ends)
	}
}

func TestAsk(t *testing.T) {
	w := newWorld(t, "name: s\nsteps:\n  - ask: {questions: [{variable: Owner, prompt: Who}, {variable: Room, prompt: Where, default: \"12\"}]}\n  - run-command: {command: \"echo ${Owner} ${Room}\"}\n")
	if end, err := w.start(); end != EndSucceeded || err != nil {
		t.Fatal(end, err, w.said)
	}
	if !slices.Contains(w.ops, "run echo Ada 12") {
		t.Errorf("operations %s", strings.Join(w.ops, ", "))
	}
	// Nobody at the machine: the console answers.
	w = newWorld(t, "name: s\nsteps:\n  - ask: {at: console, questions: [{variable: Owner, prompt: Who, choices: [Ada, Bob]}]}\n  - run-command: {command: \"echo ${Owner}\"}\n")
	w.orders = []protocol.Order{{Kind: protocol.OrderAnswer, Answers: map[string]string{"Owner": "Eve"}}, {Kind: protocol.OrderAnswer, Answers: map[string]string{"Owner": "Bob"}}}
	if end, err := w.start(); end != EndSucceeded || err != nil {
		t.Fatal(end, err, w.said)
	}
	if !slices.Contains(w.ops, "run echo Bob") {
		t.Errorf("operations %s", strings.Join(w.ops, ", "))
	}
}

// TestAnswersInARow: the last answer from the console counts, and none is left for the
// questions of another step.
func TestAnswersInARow(t *testing.T) {
	e := &engine{answers: make(chan map[string]string, 1)}
	for _, owner := range []string{"Eve", "Bob"} {
		e.take(protocol.Order{Kind: protocol.OrderAnswer, Answers: map[string]string{"Owner": owner}})
	}
	if got := <-e.answers; got["Owner"] != "Bob" {
		t.Errorf("answered by %v", got)
	}

	w := newWorld(t, "name: s\nsteps:\n  - ask: {questions: [{variable: Owner, prompt: Who}]}\n  - ask: {at: console, questions: [{variable: Room, prompt: Where}]}\n  - run-command: {command: \"echo ${Owner} ${Room}\"}\n")
	w.answers = map[string]protocol.Order{"1 done": {Kind: protocol.OrderAnswer, Answers: map[string]string{"Owner": "Late", "Room": "1"}}}
	w.hook = func(_ int, name string) error {
		if name == "server: 2 started" {
			w.mu.Lock()
			w.orders = []protocol.Order{{Kind: protocol.OrderAnswer, Answers: map[string]string{"Room": "2"}}}
			w.mu.Unlock()
		}
		return nil
	}
	if end, err := w.start(); end != EndSucceeded || err != nil {
		t.Fatal(end, err, w.said)
	}
	if !slices.Contains(w.ops, "run echo Ada 2") {
		t.Errorf("operations %s", strings.Join(w.ops, ", "))
	}
}

func TestTimeout(t *testing.T) {
	w := newWorld(t, "name: s\nsteps:\n  - {timeout: 50ms, wait: {for: 1h}}\n")
	w.orders = []protocol.Order{{Kind: protocol.OrderReboot}}
	if _, err := w.start(); err != nil {
		t.Fatal(err)
	}
	if s := w.steps["1"]; s.State != protocol.StepFailed || !strings.Contains(s.Message, "time limit of 50ms") {
		t.Errorf("the step is %+v", s)
	}
}

// TestReadiness names everything that is missing.
func TestReadiness(t *testing.T) {
	w := newWorld(t, "name: s\nsteps:\n  - check-readiness: {memory: 8GiB, disk-size: 1TB, cpu-cores: 8, architecture: [arm64], firmware: bios, secure-boot: true, tpm: \"2.0\", wired: true}\n")
	w.orders = []protocol.Order{{Kind: protocol.OrderReboot}}
	if _, err := w.start(); err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{"4096 MiB of memory", "1000000 are needed", "2 cores", "amd64", "firmware is uefi", "Secure Boot", "TPM", "cable"} {
		if !strings.Contains(w.steps["1"].Message, text) {
			t.Errorf("the failure does not say %q: %s", text, w.steps["1"].Message)
		}
	}
}

// TestUnzip keeps a package inside its folder.
func TestUnzip(t *testing.T) {
	for _, name := range []string{"../out", "/etc/out", `..\out`, "a/../../out"} {
		file := filepath.Join(t.TempDir(), "p.zip")
		if err := os.WriteFile(file, zipWith(name), 0o600); err != nil {
			t.Fatal(err)
		}
		into := filepath.Join(t.TempDir(), "in")
		if err := os.Mkdir(into, 0o755); err != nil {
			t.Fatal(err)
		}
		if err := unzip(file, into); err == nil || !strings.Contains(err.Error(), "outside") {
			t.Errorf("%q: %v", name, err)
		}
		if _, err := os.Stat(filepath.Join(filepath.Dir(into), "out")); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%q was written outside", name)
		}
	}
}

// TestSecretsOfSecrets: what has the value of a secret variable in it is one, however a
// step has come to it, and so is what the sequence declares.
func TestSecretsOfSecrets(t *testing.T) {
	w := newWorld(t, `name: s
variables:
  Secret: {secret: true}
  Later: {secret: true}
  Pin: {secret: true}
steps:
  - {name: fails, continue-on-error: true, run-command: {command: "exit 3 ${Later:-}"}}
  - {name: join, set-variable: {name: Url, value: "https://ada:${Secret}@example.net"}}
  - {name: rule, set-dynamic-variables: {rules: [{variables: {Line: "-p${Secret}"}}]}}
  - {name: prints, run-command: {command: "echo ${Secret}", variable: Printed}}
  - {name: plain, set-variable: {name: Plain, value: open}}
  - {name: asks, ask: {questions: [{variable: Pin, prompt: Which}]}}
  - {name: stops, run-command: {command: "exit 4 ${Later:-}"}}
`)
	w.vars["Secret"] = protocol.VariableValue{Value: "hunter2", Secret: true}
	// The order to try again brings values that were set after the start.
	w.orders = []protocol.Order{
		{Kind: protocol.OrderRetry, Path: "1", Variables: map[string]protocol.VariableValue{"Later": {Value: "tomorrow", Secret: true}}}, {Kind: protocol.OrderReboot},
	}
	if end, err := w.start(); end != EndOrdered || err != nil {
		t.Fatal(end, err, w.said)
	}
	for name, secret := range map[string]bool{"Url": true, "Line": true, "Printed": true, "Plain": false, "Pin": true} {
		if v := w.vars[name]; v.Secret != secret || v.Value == "" {
			t.Errorf("variable %s is %+v", name, v)
		}
	}
	if !slices.Contains(w.ops, "run exit 3 tomorrow") {
		t.Errorf("the step that was tried again had no new value: %q", w.ops)
	}
	if s := w.steps["4"]; !strings.HasPrefix(s.Output, "echo ***\n") {
		t.Errorf("what is no secret is not shown: %q", s.Output)
	}
	for path, s := range w.steps {
		if strings.Contains(s.Message+s.Output, "hunter2") || strings.Contains(s.Message+s.Output, "tomorrow") {
			t.Errorf("step %s shows a secret: %s %s", path, s.Message, s.Output)
		}
	}
}
