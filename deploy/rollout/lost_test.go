package rollout

import (
	"strings"
	"testing"
	"time"

	"castpoint/agent/protocol"
	"castpoint/deploy/sequence"
	hostclock "castpoint/test/clock"
)

const installAndGoOn = `name: install
variables:
  Role: {required: true}
steps:
  - {name: Apply, run-command: {command: apply}}
  - {name: To the disk, restart: {into: disk, within: 1h}}
  - {name: Software, run-command: {command: software}}
  - {name: More, run-command: {command: more}}
`

// onDiskBench is a machine that has restarted into its disk.
func onDiskBench(t *testing.T) (*bench, func() protocol.Run) {
	t.Helper()
	b := newBench(t)
	b.since = b.clock
	pc := b.device("pc-1", "52:54:00:00:00:01")
	b.deploy(Deployment{Name: "a", Purpose: Required}, pc)
	if _, err := b.Sequences.Put(t.Context(), installAndGoOn, "test"); err != nil {
		t.Fatal(err)
	}
	run := b.begin(pc)
	for _, path := range []string{"1", "2"} {
		b.report(run, path, protocol.StepStarted)
		b.report(run, path, protocol.StepDone)
	}
	end := protocol.RunEnd{Run: run.ID, State: protocol.RunRestart, Path: "3", Into: sequence.RestartDisk, Within: 3600}
	if err := b.End(t.Context(), run.ID, end); err != nil {
		t.Fatal(err)
	}
	// comeBack is what the agent in the system on the disk asks first.
	comeBack := func() protocol.Run {
		t.Helper()
		known, ok := b.Authorized(run.Ticket)
		if !ok {
			t.Fatal("the ticket is not known any more")
		}
		d, err := b.Deployment(known.Deployment)
		if err != nil {
			t.Fatal(err)
		}
		out, err := b.Begin(t.Context(), Begin{Device: pc, Offer: Offer{Deployment: d, Run: &known},
			Request: protocol.RunRequest{Environment: sequence.EnvironmentLinuxDisk}}, run.Ticket)
		if err != nil {
			t.Fatal(err)
		}
		return *out
	}
	b.mode(pc, ModeLocal)
	return b, comeBack
}

func (b *bench) only() Run {
	b.t.Helper()
	r, err := b.LastRun("pc-1")
	if err != nil {
		b.t.Fatal(err)
	}
	return r
}

// A machine that is between its restart and its return, or runs steps in the system
// on its disk, boots from its disk whatever its firmware asks first.
func TestRunOnTheDisk(t *testing.T) {
	b, comeBack := onDiskBench(t)
	pc, _ := b.devices.Find("pc-1")
	b.clock = b.clock.Add(30 * time.Minute)
	b.LoseDue(t.Context())
	b.mode(pc, ModeLocal)
	run := comeBack()
	if run.Next != "3" || run.Interrupted || run.Waits || !run.Resumed {
		t.Errorf("it goes on %+v", run)
	}
	b.mode(pc, ModeLocal)
	b.report(&run, "3", protocol.StepStarted, func(s *protocol.StepStatus) { s.Environment = sequence.EnvironmentLinuxDisk })
	b.mode(pc, ModeLocal)
	b.reopen()
	b.mode(pc, ModeLocal)

	// Power is lost in a step: it goes on there, in the same place.
	if run = comeBack(); run.Next != "3" || !run.Interrupted {
		t.Errorf("it goes on %+v", run)
	}

	// It fails: the machine waits, whatever restarts it, and does not netboot.
	b.report(&run, "3", protocol.StepFailed, func(s *protocol.StepStatus) { s.Environment = sequence.EnvironmentLinuxDisk })
	if err := b.End(t.Context(), run.ID, protocol.RunEnd{Run: run.ID, State: protocol.RunFailed, Message: "no"}); err != nil {
		t.Fatal(err)
	}
	if run = comeBack(); !run.Waits || run.Next != "3" {
		t.Errorf("after a failure %+v", run)
	}
	if r := b.only(); r.State != StateFailed {
		t.Errorf("it is %s when the machine is back", r.State)
	}
	b.mode(pc, ModeLocal)
	if _, err := b.Retry(t.Context(), run.ID, "", "anna", nil); err != nil {
		t.Fatal(err)
	}
	b.mode(pc, ModeLocal)
	if run = comeBack(); run.Waits || run.Next != "3" {
		t.Errorf("after an order %+v", run)
	}
	b.report(&run, "3", protocol.StepFailed)
	if err := b.End(t.Context(), run.ID, protocol.RunEnd{Run: run.ID, State: protocol.RunFailed}); err != nil {
		t.Fatal(err)
	}
	// A step from before the restart is one of the boot environment.
	if _, err := b.Retry(t.Context(), run.ID, "1", "anna", nil); err != nil {
		t.Fatal(err)
	}
	b.mode(pc, ModeRequired)
}

// A run whose machine does not come back fails, and says why; it goes on when the
// machine does come back.
func TestMachineDoesNotComeBack(t *testing.T) {
	b, comeBack := onDiskBench(t)
	pc, _ := b.devices.Find("pc-1")
	b.clock = b.clock.Add(61 * time.Minute)
	// A server that was away meanwhile waits once more.
	b.since = b.clock.Add(-time.Minute)
	b.LoseDue(t.Context())
	if r := b.only(); r.State != StateRestarting {
		t.Fatalf("it is %s, %s, though the server has just started", r.State, r.Message)
	}
	b.clock = b.clock.Add(time.Hour)
	b.LoseDue(t.Context())
	r := b.only()
	if r.State != StateFailed || r.Ended.IsZero() || r.Advice == "" ||
		r.Message != "the machine has not come back from its restart into the system on its disk within 2h1m0s; it was to go on with step 3, Software" {
		t.Fatalf("it is %s: %q, advice %q", r.State, r.Message, r.Advice)
	}
	if all := strings.Join(b.events, "\n"); !strings.Contains(all, "has not come back") {
		t.Errorf("the timeline lacks it:\n%s", all)
	}
	b.mode(pc, ModeLocal)
	run := comeBack()
	if run.Waits || run.Next != "3" {
		t.Errorf("it goes on %+v", run)
	}
	if r := b.only(); r.State != StateRunning || r.Message != "" || r.Lost {
		t.Errorf("after its return %+v", r)
	}
}

// TestTicketEnds: what a machine has shown for a run is worth nothing soon after its
// end.
func TestTicketEnds(t *testing.T) {
	for state, good := range map[string]time.Duration{protocol.RunSucceeded: 15 * time.Minute, protocol.RunFailed: 7 * 24 * time.Hour} {
		b, comeBack := onDiskBench(t)
		run := comeBack()
		if err := b.End(t.Context(), run.ID, protocol.RunEnd{Run: run.ID, State: state}); err != nil {
			t.Fatal(err)
		}
		b.clock = b.clock.Add(good)
		if _, ok := b.Authorized(run.Ticket); !ok {
			t.Errorf("after a run that %s the ticket ends too early", state)
		}
		b.clock = b.clock.Add(time.Second)
		if _, ok := b.Authorized(run.Ticket); ok {
			t.Errorf("after a run that %s the ticket does not end", state)
		}
	}
}

// The same while the clock is set: it ends neither sooner nor later, in the next process
// neither later.
func TestTicketEndsWhileTheClockIsSet(t *testing.T) {
	for _, by := range []time.Duration{300 * 24 * time.Hour, -300 * 24 * time.Hour} {
		b, comeBack := onDiskBench(t)
		b.clock = time.Now()
		b.since = b.clock
		run := comeBack()
		if err := b.End(t.Context(), run.ID, protocol.RunEnd{Run: run.ID, State: protocol.RunSucceeded}); err != nil {
			t.Fatal(err)
		}
		good := func(when string, want bool) {
			t.Helper()
			if _, ok := b.Authorized(run.Ticket); ok != want {
				t.Errorf("set by %s, %s: the ticket is good: %t", by, when, ok)
			}
		}
		b.clock = hostclock.Set(b.clock.Add(time.Minute), by)
		good("after a minute", true)
		b.clock = b.clock.Add(ticketAfterSuccess)
		good("after its time", false)
		b.reopen()
		b.clock = b.clock.Add(ticketAfterSuccess + time.Second)
		good("in the next process, after its time", false)
	}
}

// The clock is set while machines restart: none is lost before its time has passed, by
// the clock that nobody sets, and none is waited for longer. Nor is one of a server that
// has just started lost for what its disk says.
func TestRestartWhileTheClockIsSet(t *testing.T) {
	for _, by := range []time.Duration{5 * time.Hour, -5 * time.Hour, 300 * 24 * time.Hour, -300 * 24 * time.Hour} {
		for _, restart := range []bool{false, true} {
			b, comeBack := onDiskBench(t)
			b.clock = time.Now()
			b.since = b.clock
			comeBack()
			r := b.only()
			if err := b.End(t.Context(), r.ID, protocol.RunEnd{Run: r.ID, State: protocol.RunRestart, Path: "3", Into: sequence.RestartDisk, Within: 3600}); err != nil {
				t.Fatal(err)
			}
			b.clock = hostclock.Set(b.clock.Add(time.Minute), by)
			if restart {
				b.reopen()
			}
			b.clock = b.clock.Add(57 * time.Minute)
			b.LoseDue(t.Context())
			if r := b.only(); r.State != StateRestarting {
				t.Errorf("set by %s, restart %v: it is %s: %s", by, restart, r.State, r.Message)
			}
			b.clock = b.clock.Add(5 * time.Minute)
			b.LoseDue(t.Context())
			if r := b.only(); r.State != StateFailed || !restart && !strings.Contains(r.Message, "within 1h3m0s") {
				t.Errorf("set by %s, restart %v: after an hour it is %s: %s", by, restart, r.State, r.Message)
			}
			b.close()
		}
	}
}

// A deployment's window is of the calendar: it opens and closes when the clock says so,
// however it came to say so, and what has run does not run again.
func TestWindowWhileTheClockIsSet(t *testing.T) {
	b := newBench(t)
	b.clock = time.Now()
	pc := b.device("pc-1", "52:54:00:00:00:01")
	b.deploy(Deployment{Name: "a", Purpose: Required, Start: b.clock.Add(2 * time.Hour), End: b.clock.Add(10 * time.Hour)}, pc)
	b.mode(pc, ModeLocal)
	b.clock = hostclock.Set(b.clock, 3*time.Hour)
	b.mode(pc, ModeRequired)
	b.clock = hostclock.Set(b.clock, -2*time.Hour)
	b.mode(pc, ModeLocal)
	b.clock = hostclock.Set(b.clock, 20*time.Hour)
	b.mode(pc, ModeLocal)
	b.clock = hostclock.Set(b.clock, -17*time.Hour)
	b.mode(pc, ModeRequired)
	run := b.begin(pc)
	// It goes on, whatever the clock says and whether the window is over.
	for _, by := range []time.Duration{20 * time.Hour, -40 * time.Hour, 20 * time.Hour} {
		b.clock = hostclock.Set(b.clock, by)
		b.mode(pc, ModeRequired)
		if _, ok := b.Authorized(run.Ticket); !ok {
			t.Errorf("set by %s: the run's ticket is not known", by)
		}
	}
	if err := b.End(t.Context(), run.ID, protocol.RunEnd{Run: run.ID, State: protocol.RunSucceeded}); err != nil {
		t.Fatal(err)
	}
	for _, by := range []time.Duration{-4 * time.Hour, 4 * time.Hour, 20 * time.Hour, -20 * time.Hour} {
		b.clock = hostclock.Set(b.clock, by)
		b.mode(pc, ModeLocal)
		b.reopen()
		b.mode(pc, ModeLocal)
	}
}

// The last run of a device is the one that began last, though the clock was put back
// between them.
func TestLastRunWhileTheClockIsSet(t *testing.T) {
	b := newBench(t)
	pc := b.device("pc-1", "52:54:00:00:00:01")
	b.deploy(Deployment{Name: "a", Purpose: Required, Rerun: RerunAlways}, pc)
	first := b.begin(pc)
	if err := b.End(t.Context(), first.ID, protocol.RunEnd{Run: first.ID, State: protocol.RunSucceeded}); err != nil {
		t.Fatal(err)
	}
	b.clock = b.clock.Add(-5 * time.Hour)
	second := b.begin(pc)
	for range 2 {
		if r := b.only(); r.ID != second.ID {
			t.Errorf("the last run is %s, want %s", r.ID, second.ID)
		}
		b.reopen()
	}
}
