package step

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"

	"castpoint/agent/machine"
	"castpoint/agent/protocol"
)

// reportFailure tells the server why a leaf has failed for good.
func (e *engine) reportFailure(ctx context.Context, l *leaf, err error) error {
	e.state.ended(l.Path, protocol.StepFailed, exitCode(err), nil)
	if kept := e.keep.write(e.state); kept != nil {
		e.say("%v", kept)
	}
	s := e.status(l, protocol.StepFailed)
	code := exitCode(err)
	s.ExitCode, s.Message, s.Output, s.Advice = &code, err.Error(), outputOf(err), advice(err)
	return e.over(e.report(ctx, s))
}

func exitCode(err error) int {
	var exit *machine.ExitError
	if errors.As(err, &exit) {
		return exit.Code
	}
	return -1
}

func outputOf(err error) string {
	var exit *machine.ExitError
	if errors.As(err, &exit) {
		return exit.Tail
	}
	return ""
}

// advice says what a person can do about a failure.
func advice(err error) string {
	switch {
	case errors.Is(err, machine.ErrSpace):
		return "make the partition larger, or take a machine with a larger disk; then run the sequence from the partition-disk step"
	case errors.Is(err, machine.ErrNotWindows):
		return "add a restart into the disk before the step, and a condition that lets it run in Windows only: environment == \"windows\""
	case errors.Is(err, errCancelled):
		return "run again from this step when it is wanted"
	case errors.Is(err, fs.ErrNotExist):
		return "look whether the image or package is the right one"
	}
	return "see the output of the step and the log; run again from this step when the cause is gone"
}

// afterFailure tells everybody that the run has failed and waits for what the
// console wants: a retry, or a restart of the machine.
func (e *engine) afterFailure(ctx context.Context, failed error) (protocol.Order, error) {
	end := protocol.RunEnd{Run: e.o.Run.ID, State: protocol.RunFailed, Message: cut(e.mask(failed.Error()), protocol.MaxMessage)}
	var one *stepError
	if errors.As(failed, &one) {
		end.Path = one.leaf.Path
	}
	if errors.Is(failed, errCancelled) {
		end.State = protocol.RunCancelled
	}
	e.o.Person.Progress("failed", -1)
	e.trouble(failed)
	e.sendLog(ctx)
	e.mu.Lock()
	e.order = nil
	e.mu.Unlock()
	if err := e.tell(ctx, "tell the server of the failure", func(ctx context.Context) error { return e.o.Server.End(ctx, end) }); err != nil {
		return protocol.Order{}, err
	}
	return e.await(ctx)
}

// trouble shows a person that the run has failed, where and why, and what to do.
func (e *engine) trouble(failed error) {
	lines := []string{"FAILED: " + e.mask(failed.Error())}
	how := "On the server: castpoint run retry " + e.o.Run.ID
	if one, ok := errors.AsType[*stepError](failed); ok {
		l := one.leaf
		lines[0] = fmt.Sprintf("FAILED: step %d of %d, %s: %s", l.Number, len(e.leaves), l.Step.Title(), e.mask(one.err.Error()))
		how += fmt.Sprintf(" goes on from step %d (or the device's page in the console)", l.Number)
		lines = append(lines, "What to do: "+advice(one.err)+".")
	}
	lines = append(lines, how+". This machine, "+e.o.Run.Device+", stays on and waits for that; it may be switched off.")
	for _, line := range lines {
		e.log.write(e.now(), line)
	}
	e.o.Person.Trouble(lines)
}

// await waits for an order to go on.
func (e *engine) await(ctx context.Context) (protocol.Order, error) {
	for {
		var order protocol.Order
		err := e.tell(ctx, "ask the server for orders", func(ctx context.Context) (err error) {
			order, err = e.o.Server.Order(ctx)
			return err
		})
		if err != nil {
			return order, err
		}
		switch order.Kind {
		case protocol.OrderRetry:
			e.o.Person.Trouble(nil)
			e.say("order from the console: run again from step %s", order.Path)
			maps.Copy(e.state.Variables, order.Variables)
			return order, nil
		case protocol.OrderReboot:
			e.say("order from the console: restart")
			return order, nil
		}
	}
}
