package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"castpoint/agent/protocol"
	"castpoint/internal/lab"
	"castpoint/test/client"
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

// rollout is a server with a required deployment for so many simulated machines.
func rollout(t *testing.T, machines int) (*point.Point, []*client.Agent) {
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
	var all []*client.Agent
	for i := range machines {
		mac := net.HardwareAddr{0x52, 0x54, 1, byte(i >> 16), byte(i >> 8), byte(i)}.String()
		table += fmt.Sprintf("sim-%d,%s,simulated\n", i, mac)
		all = append(all, client.NewAgent(p.Network.Clients[0], mac))
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
			if err := m.Run(ctx); err != nil {
				failed <- fmt.Errorf("%s: %w", m.MAC, err)
			}
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
		times = append(times, m.Took...)
		for _, err := range m.Repeated {
			// A request may get lost on a busy host; the server must not fail.
			if refused := (*protocol.Problem)(nil); errors.As(err, &refused) {
				t.Errorf("%s: %v", m.MAC, err)
			}
		}
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
		m.Before = func(number int) {
			gates[number].here.Done()
			select {
			case <-gates[number].open:
			case <-ctx.Done():
			}
		}
		group.Go(func() {
			if err := m.Run(ctx); err != nil {
				failed <- fmt.Errorf("%s: %w", m.MAC, err)
				cancel()
			}
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
		lost += len(m.Repeated)
		out, err := p.Run(t.Context(), "run", "show", m.MAC, "--json", "--data", p.Data)
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
			t.Errorf("%s: %+v", m.MAC, run)
		}
		for i, s := range run.Steps {
			if s.Number != i+1 || s.State != protocol.StepDone {
				t.Errorf("%s: %+v", m.MAC, s)
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
