package rollout

import (
	"context"
	"errors"
	"testing"
	"time"

	"castpoint/agent/protocol"
	"castpoint/deploy/runs"
	"castpoint/deploy/sequence"
)

// A run whose machine has said that a step failed has failed, even when its power went
// before it could say more, and stays so until somebody orders a retry.
func TestFailedStaysFailed(t *testing.T) {
	b, comeBack := onDiskBench(t)
	ended := 0
	b.WhenEnded(func(string) { ended++ })
	run := comeBack()
	b.report(&run, "3", protocol.StepStarted)
	b.report(&run, "3", protocol.StepFailed, func(s *protocol.StepStatus) { s.Message = "no room" })
	if r := b.only(); r.State != StateFailed || r.Ended.IsZero() || r.Message != "step Software: no room" || ended != 1 {
		t.Fatalf("%+v, %d", r, ended)
	}
	// What was lost on its way is said again.
	b.report(&run, "3", protocol.StepFailed, func(s *protocol.StepStatus) { s.Message = "no room" })
	b.reopen()
	b.since = b.clock
	if run = comeBack(); !run.Waits || run.Next != "3" {
		t.Errorf("it goes on by itself: %+v", run)
	}
	// An agent that goes on all the same is stopped, and its words change nothing.
	for _, state := range []string{protocol.StepStarted, protocol.StepProgress, protocol.StepDone} {
		if order := b.report(&run, "3", state); order.Kind != protocol.OrderCancel {
			t.Errorf("told of a step that is %s, it gets the order %q", state, order.Kind)
		}
	}
	for _, state := range []string{protocol.RunCancelled, protocol.RunRestart, protocol.RunFailed} {
		if err := b.End(t.Context(), run.ID, protocol.RunEnd{Run: run.ID, State: state, Message: "other"}); err != nil {
			t.Error(err)
		}
	}
	if err := b.Ask(t.Context(), run.ID, protocol.Questions{Run: run.ID, Path: "3", Questions: []sequence.Question{{Variable: "A"}}}); err != nil {
		t.Error(err)
	}
	if r := b.only(); r.State != StateFailed || r.Message != "step Software: no room" || r.Questions != nil {
		t.Errorf("%+v", r)
	}
	_, steps, err := b.Run(t.Context(), run.ID)
	if err != nil || steps[2].State != protocol.StepFailed {
		t.Errorf("%+v, %v", steps, err)
	}
}

// The order to try again is there until the machine has begun to: the answer with it,
// or the machine's power, may be lost.
func TestRetryIsNotLost(t *testing.T) {
	for _, end := range []string{"asks again", "comes back", "reports", "fails at once"} {
		t.Run(end, func(t *testing.T) {
			b, comeBack := onDiskBench(t)
			run := comeBack()
			b.report(&run, "3", protocol.StepFailed)
			if err := b.End(t.Context(), run.ID, protocol.RunEnd{Run: run.ID, State: protocol.RunFailed, Message: "no"}); err != nil {
				t.Fatal(err)
			}
			if _, err := b.Retry(t.Context(), run.ID, "", "anna", nil); err != nil {
				t.Fatal(err)
			}
			fetch := func() {
				t.Helper()
				order, err := b.Order(t.Context(), run.ID)
				if err != nil || order.Kind != protocol.OrderRetry || order.Path != "3" {
					t.Fatalf("%+v, %v", order, err)
				}
			}
			fetch()
			b.reopen()
			b.since = b.clock
			switch end {
			case "asks again":
				fetch()
				b.report(&run, "3", protocol.StepStarted)
			case "comes back":
				if run = comeBack(); run.Waits || run.Next != "3" {
					t.Errorf("%+v", run)
				}
			case "reports":
				b.report(&run, "3", protocol.StepStarted)
			case "fails at once":
				if err := b.End(t.Context(), run.ID, protocol.RunEnd{Run: run.ID, State: protocol.RunFailed, Message: "again"}); err != nil {
					t.Fatal(err)
				}
			}
			r := b.only()
			if want := map[bool]State{true: StateFailed, false: StateRunning}[end == "fails at once"]; r.State != want {
				t.Errorf("the run is %s", r.State)
			}
			// The order was obeyed, and is not there any more.
			ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
			defer cancel()
			if order, err := b.Order(ctx, run.ID); order.Kind != protocol.OrderNone || err != nil {
				t.Errorf("%+v, %v", order, err)
			}
			if end != "fails at once" {
				b.report(&run, "3", protocol.StepFailed)
			}
			if run = comeBack(); !run.Waits {
				t.Errorf("it goes on by itself: %+v", run)
			}
		})
	}
}

// A run that was cancelled while nothing was heard of its machine stays so when the
// machine is heard again, which is told to stop; it is tried again by order.
func TestCancelledStaysCancelled(t *testing.T) {
	b := newBench(t)
	d := b.device("pc-1", "52:54:00:00:00:01")
	b.deploy(Deployment{Name: "lab", Purpose: Required}, d)
	run := b.begin(d)
	b.report(run, "1/1", protocol.StepStarted)
	b.clock = b.clock.Add(runs.LateTime + time.Second)
	if _, err := b.Cancel(t.Context(), run.ID, "anna"); err != nil {
		t.Fatal(err)
	}
	if order := b.report(run, "1/1", protocol.StepProgress); order.Kind != protocol.OrderCancel {
		t.Errorf("it goes on: order %q", order.Kind)
	}
	b.report(run, "1/1", protocol.StepFailed, func(s *protocol.StepStatus) { s.Message = "cancelled" })
	if err := b.End(t.Context(), run.ID, protocol.RunEnd{Run: run.ID, State: protocol.RunCancelled}); err != nil {
		t.Fatal(err)
	}
	if r := b.only(); r.State != StateCancelled || r.Message != "cancelled by anna while nothing was heard of it" {
		t.Errorf("%+v", r)
	}
	known, _ := b.Authorized(run.Ticket)
	deployment, err := b.Deployment(known.Deployment)
	if err != nil {
		t.Fatal(err)
	}
	_, err = b.Begin(t.Context(), Begin{Device: d, Offer: Offer{Deployment: deployment, Run: &known}}, run.Ticket)
	if !errors.Is(err, ErrRefused) {
		t.Errorf("by its ticket it goes on: %v", err)
	}
	// It stopped at a step that it was not heard to end: there it goes on.
	if _, err := b.Retry(t.Context(), run.ID, "", "anna", nil); err != nil {
		t.Fatal(err)
	}
	if order, err := b.Order(t.Context(), run.ID); err != nil || order.Kind != protocol.OrderRetry || order.Path != "1/1" {
		t.Errorf("%+v, %v", order, err)
	}
	if order := b.report(run, "1/1", protocol.StepDone); order.Kind != protocol.OrderNone {
		t.Errorf("order %q", order.Kind)
	}
	if r := b.only(); r.State != StateRunning {
		t.Errorf("%+v", r)
	}
}
