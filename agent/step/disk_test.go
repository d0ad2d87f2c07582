package step

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"castpoint/agent/disk"
	"castpoint/agent/protocol"
	"castpoint/deploy/sequence"
)

// goOn is a sequence that goes on in the system that it has installed, and from there
// in the boot environment once more.
const goOn = `
name: goOn
variables:
  Secret: {secret: true}
contents: [windows, drivers]
steps:
  - {name: disk, partition-disk: {layout: linux}}
  - {name: image, apply-image: {content: windows, target: Root}}
  - {name: to disk, restart: {into: disk, within: 3m}}
  - {name: package, when: environment == "linux-disk", install-package: {content: drivers, command: "exit 3010"}}
  - {name: variable, set-variable: {name: Set, value: "${_Environment}"}}
  - {name: command, run-command: {command: "echo ${Set}", variable: Said}}
  - {name: data, download-content: {contents: [drivers], folder: /kept}}
  - {name: once more, restart: {into: boot-image}}
  - {name: last, set-variable: {name: Last, value: "${_Environment}"}}
`

const wentOn = "disk done, image done, to disk done, package done, variable done, command done, data done, once more done, last done"

func newGoOn(t *testing.T) *world {
	w := newWorld(t, strings.Replace(goOn, "/kept", filepath.ToSlash(filepath.Join(tempDir(t), "kept")), 1))
	w.vars["Secret"] = protocol.VariableValue{Value: "very secret", Secret: true}
	return w
}

// TestGoOnInTheSystem restarts into the disk, again because a program wants it, and
// into the boot image.
func TestGoOnInTheSystem(t *testing.T) {
	w := newGoOn(t)
	var ends []string
	for range 4 {
		end, err := w.afterRestart()
		if err != nil {
			t.Fatalf("%v; it said:\n%s", err, strings.Join(w.said, "\n"))
		}
		ends = append(ends, end)
	}
	if got := strings.Join(ends, " "); got != "restart restart restart succeeded" {
		t.Errorf("ends %s", got)
	}
	if got := w.states(); got != wentOn {
		t.Errorf("steps %s\nwant %s", got, wentOn)
	}
	if w.vars["Set"].Value != "linux-disk" || w.vars["Last"].Value != "linux" {
		t.Errorf("variables %+v", w.vars)
	}
	want := []protocol.RunEnd{
		{Run: "run1", State: protocol.RunRestart, Path: "4", Into: sequence.RestartDisk, Within: 180},
		{Run: "run1", State: protocol.RunRestart, Path: "5", Into: sequence.RestartDisk},
		{Run: "run1", State: protocol.RunRestart, Path: "9", Into: sequence.RestartBootImage},
		{Run: "run1", State: protocol.RunSucceeded},
	}
	if !slices.Equal(w.ends, want) {
		t.Errorf("ends %+v\nwant %+v", w.ends, want)
	}
	// The agent was settled once: in the system it is there already.
	var done []string
	for _, op := range w.ops {
		if strings.HasPrefix(op, "settle") || strings.HasPrefix(op, "boot network") || strings.HasPrefix(op, "receive") || strings.HasPrefix(op, "server: log") {
			done = append(done, op)
		}
	}
	if got := strings.Join(done, ", "); got != "receive os1, settle /volumes/Root, server: log sequence.log, receive drv1, server: log sequence-disk.log, "+
		"receive drv1, boot network 52:54:00:00:00:01, server: log sequence-disk.log, server: log sequence.log" {
		t.Errorf("it did %s", got)
	}
	if _, err := os.Stat(filepath.Join(w.dir, "volumes/Root/castpoint")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("what was fetched is still there: %v", err)
	}
	if run := FindRun((*fakeMachine)(w)); run != "" {
		t.Errorf("the disk still has the state of run %s", run)
	}
}

// TestPowerLossOnTheWay pulls the power at every operation, in the boot environment and
// in the system on the disk. Where the machine starts then is decided as the server
// does it.
func TestPowerLossOnTheWay(t *testing.T) {
	whole := newGoOn(t)
	for range 4 {
		if _, err := whole.afterRestart(); err != nil {
			t.Fatal(err)
		}
	}
	for cut := 1; cut <= len(whole.ops); cut++ {
		w := newGoOn(t)
		w.hook = func(n int, _ string) error {
			if n == cut {
				return errPower
			}
			return nil
		}
		end := ""
		for starts := 0; end != EndSucceeded; starts++ {
			if starts > 6 {
				t.Fatalf("cut %d (%s): it does not end; it said:\n%s", cut, whole.ops[cut-1], strings.Join(w.said, "\n"))
			}
			// The end that the power kept from the server is not one.
			end, _ = w.afterRestart()
		}
		if got := w.states(); got != wentOn {
			t.Errorf("cut %d (%s): steps %s", cut, whole.ops[cut-1], got)
		}
		if w.vars["Set"].Value != "linux-disk" || w.vars["Last"].Value != "linux" {
			t.Errorf("cut %d (%s): steps ran elsewhere: %+v", cut, whole.ops[cut-1], w.vars)
		}
	}
}

// TestWaitsAfterFailure: a machine that starts again after its run has failed waits for
// an order, and does not try by itself.
func TestWaitsAfterFailure(t *testing.T) {
	w := newWorld(t, "name: s\nsteps:\n  - {name: first, run-command: {command: one}}\n  - {name: second, run-command: {command: exit 3}}\n")
	w.env = sequence.EnvironmentLinuxDisk
	w.orders = []protocol.Order{{Kind: protocol.OrderReboot}}
	if end, err := w.start(); end != EndOrdered || err != nil {
		t.Fatalf("end %q, %v", end, err)
	}
	w.waits, w.ops = true, nil
	w.orders = []protocol.Order{{Kind: protocol.OrderReboot}}
	if end, err := w.start(); end != EndOrdered || err != nil || len(w.ops) != 0 {
		t.Fatalf("end %q, %v; it did %v", end, err, w.ops)
	}
	w.hook = func(_ int, name string) error {
		if strings.HasPrefix(name, "run exit") {
			w.seq.Steps[1].RunCommand.Command = "two" // the cause is gone
		}
		return nil
	}
	w.orders = []protocol.Order{{Kind: protocol.OrderRetry, Path: "2"}, {Kind: protocol.OrderRetry, Path: "2"}}
	if end, err := w.start(); end != EndSucceeded || err != nil || w.states() != "first done, second done" {
		t.Fatalf("end %q, %v, %s", end, err, w.states())
	}
}

// TestFlushed: what a step has done is on the disk before the step is said to be done,
// and one whose work cannot be written has failed.
func TestFlushed(t *testing.T) {
	w := newWorld(t, "name: s\ncontents: [windows]\nsteps:\n  - {name: disk, partition-disk: {layout: linux}}\n  - {name: image, apply-image: {content: windows, target: Root}, patience: 20s}\n")
	w.hook = func(_ int, name string) error {
		if strings.HasSuffix(name, " done") && len(w.flushed) == 0 {
			t.Errorf("%s before anything was flushed", name)
		}
		return nil
	}
	if end, err := w.start(); end != EndSucceeded || err != nil {
		t.Fatalf("end %q, %v", end, err)
	}
	if len(w.flushed) != 2 || !strings.Contains(w.flushed[0], "Root") || w.flushed[1] != w.flushed[0] {
		t.Errorf("flushed %q", w.flushed)
	}
	if !slices.Contains(w.ops, "receive os1 within 20s") {
		t.Errorf("it did %q", w.ops)
	}
	w = newWorld(t, "name: s\nsteps:\n  - {name: disk, partition-disk: {layout: linux}}\n")
	w.flush = errors.New("input/output error")
	w.orders = []protocol.Order{{Kind: protocol.OrderReboot}}
	if end, err := w.start(); end != EndOrdered || err != nil || w.states() != "disk failed" {
		t.Fatalf("end %q, %v, %s", end, err, w.states())
	}
}

// TestLogsWait: logs are sent to a server that is away when it is there again, and given
// up when the step's patience ends.
func TestLogsWait(t *testing.T) {
	w := newWorld(t, "name: s\nsteps:\n  - {name: log, copy-log: {}}\n")
	tries := 0
	w.hook = func(_ int, name string) error {
		if strings.HasPrefix(name, "server: log ") {
			if tries++; tries < 3 {
				return unavailable
			}
		}
		return nil
	}
	if end, err := w.start(); end != EndSucceeded || err != nil || tries < 3 {
		t.Fatalf("end %q, %v after %d tries", end, err, tries)
	}
	w = newWorld(t, "name: s\nsteps:\n  - {name: log, copy-log: {}}\n")
	w.seq.Steps[0].Patience = 1 // shorter than Check allows
	w.hook = func(_ int, name string) error {
		if strings.HasPrefix(name, "server: log ") {
			return unavailable
		}
		return nil
	}
	w.orders = []protocol.Order{{Kind: protocol.OrderReboot}}
	if end, err := w.start(); end != EndOrdered || err != nil || w.states() != "log failed" {
		t.Fatalf("end %q, %v, %s", end, err, w.states())
	}
}

// TestNoDisks: a machine whose disks cannot be listed runs what needs none.
func TestNoDisks(t *testing.T) {
	w := newWorld(t, "name: s\nsteps:\n  - {name: first, run-command: {command: one}}\n")
	w.machine = blind{(*fakeMachine)(w)}
	if end, err := w.start(); end != EndSucceeded || err != nil {
		t.Fatalf("end %q, %v", end, err)
	}
	if !strings.Contains(strings.Join(w.said, "\n"), "no disks today") {
		t.Errorf("it does not say why: %q", w.said)
	}
}

type blind struct{ *fakeMachine }

func (blind) Disks() ([]disk.Disk, error) { return nil, errors.New("no disks today") }
