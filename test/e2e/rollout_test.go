package e2e

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"castpoint/agent/protocol"
	"castpoint/deploy/sequence"
	"castpoint/internal/lab"
	"castpoint/multicast"
	"castpoint/test/point"
)

// rolloutSequence is what simulated machines run: %s is a content.
const rolloutSequence = `name: simulated
steps:
  - name: Prepare
    steps:
      - {name: Ready, check-readiness: {memory: 1GiB}}
      - {name: Disk, partition-disk: {layout: linux}}
  - {name: Image, apply-image: {content: %s, target: Root}}
  - {name: Loader, install-bootloader: {kind: grub, os: Root}}
  - {name: Log, copy-log: {}}
  - {name: End, restart: {into: disk}}
`

// simulated is a machine without a body: it says what an agent says.
type simulated struct {
	mac  string
	http *http.Client
	// before is called when a step has been reported as started; nil for nothing.
	before func(number int)
	took   []time.Duration // of its requests
	lost   int             // requests that were repeated
}

var tokenWord = regexp.MustCompile(`castpoint\.token=(\S+)`)

// boot boots the machine and begins its run, or goes on with it.
func (m *simulated) boot(ctx context.Context) (run protocol.Run, err error) {
	script, err := m.ask(ctx, http.MethodGet, "http://"+lab.ServerAddr.String()+":8080/ipxe/efi-x64/"+strings.ReplaceAll(m.mac, ":", "-"), "", nil)
	if err != nil {
		return run, err
	}
	token := tokenWord.FindSubmatch(script)
	if token == nil {
		return run, fmt.Errorf("no token in the script:\n%s", script)
	}
	secret := string(token[1])
	var policy protocol.Policy
	if err := m.call(ctx, http.MethodGet, protocol.PathPolicy, secret, nil, &policy); err != nil {
		return run, err
	}
	if policy.Action != protocol.ActionRun {
		return run, fmt.Errorf("policy %+v", policy)
	}
	req := protocol.RunRequest{Nonce: rand.Text(), Environment: sequence.EnvironmentLinux, Facts: sequence.Facts{Manufacturer: "castpoint", Model: "simulated", Memory: 4096, Architecture: "amd64"}}
	return run, m.call(ctx, http.MethodPost, protocol.PathRun, secret, req, &run)
}

// run boots the machine and runs its sequence to the end.
func (m *simulated) run(ctx context.Context) error {
	run, err := m.boot(ctx)
	if err != nil {
		return err
	}
	leaves := run.Sequence.Leaves()
	for _, l := range leaves {
		kind, _ := l.Step.Action()
		say := func(state string, percent float64) error {
			return m.call(ctx, http.MethodPost, protocol.PathStep, run.Ticket, protocol.StepStatus{
				Run: run.ID, Path: l.Path, Number: l.Number, Total: len(leaves), Kind: kind, State: state, Percent: percent, Output: "what it printed\n",
			}, nil)
		}
		if err := say(protocol.StepStarted, 0); err != nil {
			return err
		}
		if m.before != nil {
			m.before(l.Number)
		}
		switch kind {
		case "apply-image":
			f := run.Contents[0].Files[0]
			got, err := m.ask(ctx, http.MethodGet, point.JoinURL+multicast.PathObject+f.SHA256, run.Ticket, nil)
			if err != nil || int64(len(got)) != f.Size {
				return fmt.Errorf("image: %d of %d bytes, %w", len(got), f.Size, err)
			}
		case "copy-log":
			if _, err := m.ask(ctx, http.MethodPut, point.JoinURL+protocol.PathLog+"sequence.log", run.Ticket, bytes.Repeat([]byte("line of a log\n"), 500)); err != nil {
				return err
			}
		}
		if err := say(protocol.StepProgress, 50); err != nil {
			return err
		}
		if err := say(protocol.StepDone, 100); err != nil {
			return err
		}
	}
	return m.call(ctx, http.MethodPost, protocol.PathEnd, run.Ticket, protocol.RunEnd{Run: run.ID, State: protocol.RunSucceeded}, nil)
}

func (m *simulated) call(ctx context.Context, method, path, secret string, body, answer any) error {
	var send []byte
	if body != nil {
		var err error
		if send, err = json.Marshal(body); err != nil {
			return err
		}
	}
	got, err := m.ask(ctx, method, point.JoinURL+path, secret, send)
	if err != nil || answer == nil {
		return err
	}
	return json.Unmarshal(got, answer)
}

// ask sends a request until it is answered, as an agent does.
func (m *simulated) ask(ctx context.Context, method, url, secret string, body []byte) ([]byte, error) {
	for {
		began := time.Now()
		got, err := m.once(ctx, method, url, secret, body)
		var answered *protocol.Problem
		if err == nil || errors.As(err, &answered) || ctx.Err() != nil {
			m.took = append(m.took, time.Since(began))
			return got, err
		}
		m.lost++
		select {
		case <-time.After(200 * time.Millisecond):
		case <-ctx.Done():
		}
	}
}

func (m *simulated) once(ctx context.Context, method, url, secret string, body []byte) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, method, url, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Authorization", "Bearer "+secret)
	req.Header.Set(protocol.HeaderMAC, m.mac)
	res, err := m.http.Do(req)
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	got, err := io.ReadAll(res.Body)
	if err == nil && res.StatusCode >= 300 {
		p := &protocol.Problem{Detail: string(got)}
		_ = json.Unmarshal(got, p) // what is no problem is its text
		p.Status = res.StatusCode
		return nil, fmt.Errorf("%s %s: status %d: %w", method, url, res.StatusCode, p)
	}
	return got, err
}

// rollout is a server with a required deployment for so many simulated machines.
func rollout(t *testing.T, machines int) (*point.Point, []*simulated) {
	t.Helper()
	p := newPoint(t, lab.Config{Clients: 1})
	dir := p.Network.Dir
	run := func(args ...string) {
		t.Helper()
		if _, err := p.Run(t.Context(), append(args, "--data", p.Data)...); err != nil {
			t.Fatal(err)
		}
	}
	file := func(name string, text []byte) string {
		t.Helper()
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, text, 0o644); err != nil {
			t.Fatal(err)
		}
		return path
	}
	if _, err := p.AddBootEnvironment(t.Context()); err != nil {
		t.Fatal(err)
	}
	package1 := filepath.Join(dir, "package")
	if err := os.Mkdir(package1, 0o755); err != nil {
		t.Fatal(err)
	}
	file("package/image.bin", bytes.Repeat([]byte("image"), 13_000))
	run("content", "add", "package", package1, "--name", "image")
	table := "name,mac,groups\n"
	var all []*simulated
	// Sockets stay in the namespace that they were made in.
	dial := func(ctx context.Context, network, address string) (conn net.Conn, err error) {
		err = p.Network.Clients[0].Do(func() error {
			conn, err = (&net.Dialer{}).DialContext(ctx, network, address)
			return err
		})
		return conn, err
	}
	for i := range machines {
		mac := net.HardwareAddr{0x52, 0x54, 1, byte(i >> 16), byte(i >> 8), byte(i)}.String()
		table += fmt.Sprintf("sim-%d,%s,simulated\n", i, mac)
		all = append(all, &simulated{mac: mac, http: &http.Client{Transport: &http.Transport{
			DialContext: dial, TLSClientConfig: &tls.Config{InsecureSkipVerify: true, MinVersion: tls.VersionTLS13}, // the pin is the agent's business
		}}})
	}
	run("device", "import", file("devices.csv", []byte(table)))
	run("sequence", "add", file("sequence.yaml", fmt.Appendf(nil, rolloutSequence, "image")))
	run("collection", "add", "simulated", "--rule", "group=simulated")
	run("deployment", "add", "simulated", "--sequence", "simulated", "--collection", "simulated", "--purpose", "required", "--confirm-size", fmt.Sprint(machines))
	return p, all
}

// deploymentCounts are the numbers of a deployment.
func deploymentCounts(t *testing.T, p *point.Point) (c struct{ Targets, Succeeded, Failed, Running int }) {
	t.Helper()
	out, err := p.Run(t.Context(), "deployment", "show", "simulated", "--json", "--data", p.Data)
	if err != nil {
		t.Fatal(err)
	}
	answer := struct{ Counts any }{&c}
	if err := json.Unmarshal([]byte(out), &answer); err != nil {
		t.Fatal(err)
	}
	return c
}

// A thousand machines run a sequence at once.
func TestThousandMachines(t *testing.T) {
	const machines = 1000
	const mostMemory = 400 << 10 // KiB
	p, all := rollout(t, machines)
	serve(t, p, "--dhcp", "off", "--tftp=false")
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	began := time.Now()
	var group sync.WaitGroup
	failed := make(chan error, machines)
	for _, m := range all {
		group.Go(func() {
			if err := m.run(ctx); err != nil {
				failed <- fmt.Errorf("%s: %w", m.mac, err)
			}
			m.http.CloseIdleConnections()
		})
	}
	group.Wait()
	took := time.Since(began)
	close(failed)
	for err := range failed {
		t.Error(err)
	}
	c := deploymentCounts(t, p)
	if c.Targets != machines || c.Succeeded != machines {
		t.Errorf("%+v", c)
	}
	var times []time.Duration
	for _, m := range all {
		times = append(times, m.took...)
	}
	slices.Sort(times)
	peak, processor := spent(t, p.Server.Pid())
	t.Logf("%d machines, %d requests in %.1f s; half within %s, 99 of 100 within %s; server: peak %d MiB, %.1f s of processor",
		machines, len(times), took.Seconds(), times[len(times)/2].Round(time.Millisecond), times[len(times)*99/100].Round(time.Millisecond), peak>>10, processor)
	if peak > mostMemory {
		t.Errorf("the server took %d KiB, more than %d", peak, mostMemory)
	}
}

// spent is the most memory that a process has had, in KiB, and its processor time in
// seconds.
func spent(t *testing.T, pid int) (peak int, seconds float64) {
	t.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		t.Fatal(err)
	}
	if m := regexp.MustCompile(`VmHWM:\s+(\d+) kB`).FindSubmatch(status); m == nil {
		t.Fatal("no VmHWM in the status of the server")
	} else if _, err := fmt.Sscan(string(m[1]), &peak); err != nil {
		t.Fatal(err)
	}
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		t.Fatal(err)
	}
	fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
	var user, system float64
	if _, err := fmt.Sscan(fields[11]+" "+fields[12], &user, &system); err != nil {
		t.Fatal(err)
	}
	const ticks = 100 // a second (sysconf(_SC_CLK_TCK) on Linux)
	return peak, (user + system) / ticks
}

// The server is killed in each step, and started again: every machine ends right, and
// every step is on record once.
func TestServerKilledInEachStep(t *testing.T) {
	const machines, steps = 5, 6
	p, all := rollout(t, machines)
	start := func() { serve(t, p, "--dhcp", "off", "--tftp=false") }
	start()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	var gates [steps + 1]struct {
		here sync.WaitGroup
		open chan struct{}
	}
	for i := range gates {
		gates[i].here.Add(machines)
		gates[i].open = make(chan struct{})
	}
	var group sync.WaitGroup
	failed := make(chan error, machines)
	for _, m := range all {
		m.before = func(number int) {
			gates[number].here.Done()
			select {
			case <-gates[number].open:
			case <-ctx.Done():
			}
		}
		group.Go(func() {
			if err := m.run(ctx); err != nil {
				failed <- fmt.Errorf("%s: %w", m.mac, err)
				cancel()
			}
			m.http.CloseIdleConnections()
		})
	}
	for number := 1; number <= steps; number++ {
		arrived := make(chan struct{})
		go func() { gates[number].here.Wait(); close(arrived) }()
		select {
		case <-arrived:
		case <-ctx.Done():
			t.Fatalf("not all machines are in step %d: %v", number, errors.Join(ctx.Err(), firstOf(failed)))
		}
		p.Server.Kill()
		<-p.Server.Done()
		close(gates[number].open) // they go on while nobody is there
		start()
	}
	group.Wait()
	close(failed)
	for err := range failed {
		t.Error(err)
	}
	if c := deploymentCounts(t, p); c.Succeeded != machines {
		t.Errorf("%+v", c)
	}
	lost := 0
	for _, m := range all {
		lost += m.lost
		out, err := p.Run(t.Context(), "run", "show", m.mac, "--json", "--data", p.Data)
		if err != nil {
			t.Fatal(err)
		}
		var run struct {
			State string
			Steps []struct {
				Number, Attempt int
				State           string
			}
			Logs []struct{ Size int64 }
		}
		if err := json.Unmarshal([]byte(out), &run); err != nil {
			t.Fatal(err)
		}
		if run.State != "succeeded" || len(run.Steps) != steps || len(run.Logs) != 1 || run.Logs[0].Size != 7000 {
			t.Errorf("%s: %+v", m.mac, run)
		}
		for i, s := range run.Steps {
			if s.Number != i+1 || s.State != protocol.StepDone {
				t.Errorf("%s: %+v", m.mac, s)
			}
		}
	}
	if lost == 0 {
		t.Error("no request met the server while it was away")
	}
	t.Logf("%d requests were repeated", lost)
}

func firstOf(errs <-chan error) error {
	select {
	case err := <-errs:
		return err
	default:
		return nil
	}
}
