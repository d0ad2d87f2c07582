package monitor

import (
	"context"
	"encoding/csv"
	"errors"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"castpoint/agent/protocol"
	"castpoint/deploy"
	"castpoint/deploy/collection"
	"castpoint/deploy/rollout"
	"castpoint/deploy/sequence"
	"castpoint/internal/store"
	hostclock "castpoint/test/clock"
)

// bench is a monitor with deployments to watch.
type bench struct {
	t        *testing.T
	devices  *deploy.Devices
	register *rollout.Register
	*Monitor
	clock   time.Time
	notices []Notice
	woken   []string
}

func newBench(t *testing.T) *bench {
	b := &bench{t: t, clock: time.Date(2026, 3, 2, 12, 0, 0, 0, time.Local)}
	dir := t.TempDir()
	s, err := store.Open(context.Background(), dir)
	if err != nil {
		t.Fatal(err)
	}
	if b.devices, err = deploy.Open(context.Background(), deploy.Config{Store: s}); err != nil {
		t.Fatal(err)
	}
	now := func() time.Time { return b.clock }
	if b.register, err = rollout.Open(context.Background(), rollout.Config{Store: s, Devices: b.devices, Data: dir, Now: now}); err != nil {
		t.Fatal(err)
	}
	b.Monitor, err = New(Config{
		Register: b.register, Devices: b.devices, Now: now, Notify: func(n Notice) { b.notices = append(b.notices, n) },
		Wake: func(mac net.HardwareAddr) error { b.woken = append(b.woken, mac.String()); return nil },
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		b.Close()
		_ = b.devices.Close()
		_ = s.Close()
	})
	return b
}

// deploy deploys two steps to some new devices.
func (b *bench) deploy(want rollout.Deployment, devices int) (rollout.Deployment, []deploy.Device) {
	b.t.Helper()
	const text = "name: install\nsteps:\n  - {name: Disk, wipe-disk: {}}\n  - {name: Apply, run-command: {command: apply}}\n"
	if _, err := b.register.Sequences.Put(b.t.Context(), text, "test"); err != nil {
		b.t.Fatal(err)
	}
	c := collection.Collection{Name: "lab"}
	var list []deploy.Device
	for i := range devices {
		d, err := b.devices.Add(b.t.Context(), deploy.Device{Name: fmt.Sprint("pc-", i), MACs: []string{fmt.Sprintf("52:54:00:00:00:%02x", i+1)}}, "test")
		if err != nil {
			b.t.Fatal(err)
		}
		list, c.Devices = append(list, d), append(c.Devices, d.ID)
	}
	c, err := b.register.Collections.Put(b.t.Context(), c)
	if err != nil {
		b.t.Fatal(err)
	}
	want.Name, want.Sequence, want.Collection = "a", "install", c.ID
	d, err := b.register.PutDeployment(b.t.Context(), want, nil, 0, "test")
	if err != nil {
		b.t.Fatal(err)
	}
	return d, list
}

func (b *bench) begin(d deploy.Device) *protocol.Run {
	b.t.Helper()
	decision := b.register.Decide(collection.Machine{Device: &d}, "")
	if len(decision.Offers) != 1 {
		b.t.Fatalf("offers %+v", decision)
	}
	run, err := b.register.Begin(b.t.Context(), rollout.Begin{Device: d, Offer: decision.Offers[0], Request: protocol.RunRequest{Environment: sequence.EnvironmentLinux}}, "")
	if err != nil {
		b.t.Fatal(err)
	}
	return run
}

func (b *bench) report(run *protocol.Run, s protocol.StepStatus) {
	b.t.Helper()
	s.Run = run.ID
	if _, err := b.register.Report(b.t.Context(), run.ID, s); err != nil {
		b.t.Fatal(err)
	}
}

func (b *bench) end(run *protocol.Run, state string) {
	b.t.Helper()
	if err := b.register.End(b.t.Context(), run.ID, protocol.RunEnd{Run: run.ID, State: state}); err != nil {
		b.t.Fatal(err)
	}
}

// fail runs the deployment on a device up to a failure in its first step.
func (b *bench) fail(d deploy.Device, message string) {
	b.t.Helper()
	run := b.begin(d)
	b.report(run, protocol.StepStatus{Path: "1", State: protocol.StepStarted})
	b.report(run, protocol.StepStatus{Path: "1", State: protocol.StepFailed, Message: message})
	b.end(run, protocol.RunFailed)
}

func TestAlert(t *testing.T) {
	b := newBench(t)
	dep, all := b.deploy(rollout.Deployment{Purpose: rollout.Required, AlertBelow: 80, AlertAfter: 3}, 8)
	b.end(b.begin(all[0]), protocol.RunSucceeded)
	b.fail(all[1], "no")
	if len(b.notices) != 0 {
		t.Errorf("people are told after 2: %+v", b.notices)
	}
	b.fail(all[2], "no")
	if len(b.notices) != 1 || !strings.Contains(b.notices[0].Text, "33% of 3 devices") || !strings.Contains(b.notices[0].Text, "2 of them failed in step 1, Disk") {
		t.Errorf("%+v", b.notices)
	}
	b.fail(all[3], "no")
	if len(b.notices) != 1 {
		t.Errorf("people are told twice: %+v", b.notices)
	}
	// Who changes the deployment wants to hear of it.
	b.clock = b.clock.Add(time.Second)
	if _, err := b.register.PutDeployment(t.Context(), dep, nil, 0, "test"); err != nil {
		t.Fatal(err)
	}
	b.fail(all[4], "no")
	if len(b.notices) != 2 {
		t.Errorf("%+v", b.notices)
	}
	// The rate is right again, and then not.
	dep.AlertBelow = 30
	b.clock = b.clock.Add(time.Second)
	if _, err := b.register.PutDeployment(t.Context(), dep, nil, 0, "test"); err != nil {
		t.Fatal(err)
	}
	b.end(b.begin(all[5]), protocol.RunSucceeded) // 2 of 6
	b.fail(all[6], "no")                          // 2 of 7
	b.fail(all[7], "no")
	if len(b.notices) != 3 || !strings.Contains(b.notices[2].Text, "29% of 7") {
		t.Errorf("%+v", b.notices)
	}
}

func TestStatusAndReport(t *testing.T) {
	b := newBench(t)
	dep, all := b.deploy(rollout.Deployment{Purpose: rollout.Required}, 8)
	ended := b.begin(all[0])
	b.clock = b.clock.Add(90 * time.Second)
	b.end(ended, protocol.RunSucceeded)
	b.fail(all[1], "=cmd|x")
	b.end(b.begin(all[2]), protocol.RunCancelled)
	b.begin(all[3]) // and is silent
	b.clock = b.clock.Add(time.Hour)
	run := b.begin(all[4])
	b.report(run, protocol.StepStatus{Path: "2", State: protocol.StepProgress, Percent: 50})
	asks := b.begin(all[5])
	b.report(asks, protocol.StepStatus{Path: "1", State: protocol.StepStarted})
	if err := b.register.Ask(t.Context(), asks.ID, protocol.Questions{Run: asks.ID, Path: "1"}); err != nil {
		t.Fatal(err)
	}
	// One is protected meanwhile, one leaves the collection and is history.
	if _, err := b.devices.Change(t.Context(), all[7].ID, "", "", func(d *deploy.Device) error { d.Protected = true; return nil }); err != nil {
		t.Fatal(err)
	}
	if _, err := b.register.Again(t.Context(), dep.ID, []string{"pc-0"}, "anna"); err != nil {
		t.Fatal(err)
	}
	c, err := b.register.Collections.Get("lab")
	if err != nil {
		t.Fatal(err)
	}
	c.Devices = append(c.Devices[:0:0], all[0].ID, all[1].ID, all[3].ID, all[4].ID, all[5].ID, all[6].ID, all[7].ID)
	if _, err := b.register.Collections.Put(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	_, counts, targets, err := b.Status(dep.ID)
	want := Counts{
		Targets: 6, Protected: 1, Waiting: 2, Running: 2, Asking: 1, Failed: 1, Unknown: 1, Percent: 75.0 / 6,
		FailedBy: []StepCount{{1, "Disk", 1}}, At: []StepCount{{1, "Disk", 1}, {2, "Apply", 1}},
	}
	if diff := cmp.Diff(want, counts); err != nil || diff != "" {
		t.Error(err, diff)
	}
	var states []string
	for _, one := range targets {
		states = append(states, fmt.Sprint(one.Label, " ", one.State, " ", one.Again, " ", one.Gone))
	}
	if diff := cmp.Diff([]string{
		"pc-0 succeeded true false", "pc-1 failed false false", "pc-2 cancelled false true", "pc-3 unknown false false",
		"pc-4 running false false", "pc-5 asking false false", "pc-6 waiting false false",
	}, states); diff != "" {
		t.Error(diff)
	}
	var table strings.Builder
	if err := WriteCSV(&table, targets); err != nil {
		t.Fatal(err)
	}
	rows, err := csv.NewReader(strings.NewReader(table.String())).ReadAll()
	if err != nil || len(rows) != 8 {
		t.Fatalf("%v in\n%s", err, table.String())
	}
	column := func(row int, name string) string {
		for i, n := range rows[0] {
			if n == name {
				return rows[row][i]
			}
		}
		return "no column " + name
	}
	for i, want := range []map[string]string{
		nil, {"device": "pc-0", "mac": "52:54:00:00:00:01", "state": "succeeded", "percent": "100", "seconds": "90"},
		{"state": "failed", "message": "'=cmd|x", "step": "1", "step name": "Disk"}, // no formula
	} {
		for name, text := range want {
			if got := column(i, name); got != text {
				t.Errorf("row %d, %s: %q, want %q", i, name, got, text)
			}
		}
	}
	if _, _, _, err := b.Status("nothing"); err == nil {
		t.Error("a deployment that is not there has a status")
	}
}

// TestWakeDue: two minutes before the start, and each five minutes for half an hour
// those that have not begun.
func TestWakeDue(t *testing.T) {
	b := newBench(t)
	start := b.clock.Add(time.Hour)
	_, all := b.deploy(rollout.Deployment{Purpose: rollout.Required, Wake: true, Start: start}, 2)
	at := func(after time.Duration, want ...string) {
		t.Helper()
		b.woken, b.clock = nil, start.Add(after)
		b.wakeDue()
		b.wakeDue() // not twice
		if diff := cmp.Diff(want, b.woken); diff != "" {
			t.Errorf("%s: %s", after, diff)
		}
	}
	first, second := "52:54:00:00:00:01", "52:54:00:00:00:02"
	at(-time.Hour)
	at(-3 * time.Minute)
	at(-2*time.Minute, first, second)
	at(2 * time.Minute)
	b.begin(all[0])
	at(4*time.Minute, second)
	at(29*time.Minute, second)
	at(31 * time.Minute)
}

func TestWake(t *testing.T) {
	b := newBench(t)
	two, err := b.devices.Add(t.Context(), deploy.Device{Name: "two", MACs: []string{"52:54:00:00:00:11", "52:54:00:00:00:12"}}, "test")
	if err != nil {
		t.Fatal(err)
	}
	if macs, err := b.Wake(two.ID, "anna"); err != nil || fmt.Sprint(macs) != fmt.Sprint(b.woken) || len(macs) != 2 {
		t.Errorf("%v, %v, %v", macs, b.woken, err)
	}
	if _, err := b.devices.Add(t.Context(), deploy.Device{Name: "none", UUID: "11111111-2222-3333-4444-555555555555"}, "test"); err != nil {
		t.Fatal(err)
	}
	if _, err := b.Wake("none", "anna"); !errors.Is(err, rollout.ErrRefused) || !strings.Contains(err.Error(), "no MAC") {
		t.Error(err)
	}
	b.cfg.Wake = nil
	if _, err := b.Wake("two", "anna"); !errors.Is(err, rollout.ErrRefused) || !strings.Contains(err.Error(), "castpoint serve") {
		t.Error(err)
	}
}

// TestWakeWhileTheClockIsSet: a start that the clock jumps over is none that was missed,
// and a start that comes again wakes those that have not begun.
func TestWakeWhileTheClockIsSet(t *testing.T) {
	b := newBench(t)
	b.clock = time.Now()
	start := b.clock.Add(time.Hour)
	_, all := b.deploy(rollout.Deployment{Purpose: rollout.Required, Wake: true, Start: start}, 2)
	look := func(when string, want ...string) {
		t.Helper()
		b.woken = nil
		b.wakeDue()
		b.wakeDue()
		if diff := cmp.Diff(want, b.woken); diff != "" {
			t.Errorf("%s: %s", when, diff)
		}
	}
	first, second := "52:54:00:00:00:01", "52:54:00:00:00:02"
	look("an hour before")
	b.clock = hostclock.Set(b.clock.Add(tick), 5*time.Hour)
	look("put forward over the start", first, second)
	b.begin(all[0])
	b.clock = b.clock.Add(tick)
	look("four hours after the start")
	b.clock = hostclock.Set(b.clock, -4*time.Hour-time.Minute)
	look("put back, half a minute after they were woken")
	b.clock = b.clock.Add(wakeEvery)
	look("five minutes later", second)
}
