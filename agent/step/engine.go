package step

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"sync"
	"time"

	"castpoint/agent/disk"
	"castpoint/agent/protocol"
	"castpoint/deploy/sequence"
)

// engine is one run on one machine, from a start of the machine to the next.
type engine struct {
	o      Options
	leaves []sequence.Leaf
	keep   keeper
	state  *state
	now    func() time.Time
	log    *log
	hidden []string // answers to secret questions and other texts never to be shown
	last   sequence.Outcome
	// derived are variables that are secret because they have the value of a secret one in
	// theirs, since the machine has started.
	derived map[string]bool
	// patience of the step that runs; 0 for the usual.
	patience time.Duration

	mu      sync.Mutex
	percent float64
	doing   string
	order   *protocol.Order
	cancel  context.CancelCauseFunc // of the step that runs
	answers chan map[string]string
}

// leaf is a leaf that runs.
type leaf struct {
	sequence.Leaf
	kind    string
	action  sequence.Action
	attempt int
	began   time.Time
}

// Execute runs a sequence from where it is to its end, or to the next restart of
// the machine: one of the Ends. It returns an error only when the run is over for
// this machine: the server does not know it, or ctx has ended.
func Execute(ctx context.Context, o Options) (string, error) {
	e := &engine{
		o: o, leaves: o.Run.Sequence.Leaves(), now: time.Now, derived: make(map[string]bool), answers: make(chan map[string]string, 1),
		keep: keeper{machine: o.Machine, run: o.Run.ID, key: o.Run.StateKey},
	}
	var err error
	if e.log, err = openLog(o.Memory, e.logName()); err != nil {
		return "", err
	}
	defer e.log.close()
	next, failed := e.begin(ctx)
	for waits := o.Run.Waits; ; waits = false {
		if failed == nil && !waits {
			var end string
			if end, failed = e.from(ctx, next); failed == nil {
				return end, nil
			}
		}
		if ctx.Err() != nil {
			return "", context.Cause(ctx)
		}
		var over *overError
		if errors.As(failed, &over) {
			return "", over.err
		}
		var order protocol.Order
		if waits && failed == nil {
			e.say("the run has failed before, at step %d; this machine waits to be told to try again", next+1)
			order, err = e.await(ctx)
		} else {
			order, err = e.afterFailure(ctx, failed)
		}
		if err != nil {
			return "", err
		}
		if order.Kind == protocol.OrderReboot {
			return EndOrdered, e.o.Machine.Release()
		}
		next, failed = e.position(order.Path)
	}
}

// onDisk says whether the operating system on the disk runs.
func (e *engine) onDisk() bool { return sequence.OnDisk(e.o.Machine.Environment()) }

// overError is an answer of the server that ends the run for this machine.
type overError struct{ err error }

func (o *overError) Error() string { return o.err.Error() }

// stepError is a leaf that has failed for good.
type stepError struct {
	leaf *leaf
	err  error
}

func (s *stepError) Error() string { return fmt.Sprintf("step %s: %v", s.leaf.Step.Title(), s.err) }
func (s *stepError) Unwrap() error { return s.err }

// begin finds out where the run is: the server says which step is next, and the
// disk may know that it has ended already.
func (e *engine) begin(ctx context.Context) (next int, err error) {
	run := e.o.Run
	e.state = &state{Format: stateFormat, Variables: map[string]protocol.VariableValue{}}
	old, err := e.keep.find()
	if err != nil {
		e.say("look for the state of the run: %v", err)
	}
	if run.Resumed && old != nil {
		e.state = old
	}
	e.state.Restart = false // the machine has just started
	if e.state.Variables == nil {
		e.state.Variables = map[string]protocol.VariableValue{}
	}
	maps.Copy(e.state.Variables, run.Variables)
	if next, err = e.position(run.Next); err != nil {
		return 0, &overError{err}
	}
	e.say("%s: sequence %s, %d steps", run.Device, run.Sequence.Name, len(e.leaves))
	switch {
	case !run.Resumed:
		return next, nil
	case run.Next == "": // every step is over, and the server has not heard of the end
		return len(e.leaves), nil
	}
	e.say("going on with step %d", next+1)
	if run.Waits {
		return next, nil
	}
	if !run.Interrupted {
		return e.restartOnceMore(next), nil
	}
	return e.interrupted(ctx, next)
}

// restartOnceMore is the step to begin with. A machine that lost its power between
// the end of a step that restarts it and the restart is not yet where the next step
// runs, and has to go there first.
func (e *engine) restartOnceMore(next int) int {
	if next > 0 && e.state.Ended == e.leaves[next-1].Path && e.state.EndState == protocol.StepDone && e.leaf(next-1).leadsElsewhere(e.onDisk()) {
		return next - 1
	}
	return next
}

// leadsElsewhere says whether a leaf restarts the machine into another system than the
// one that runs: that of the disk, or the boot environment.
func (l *leaf) leadsElsewhere(onDisk bool) bool {
	r := l.restart()
	return r != nil && (r.Into == sequence.RestartDisk) != onDisk
}

// restart is the action of a leaf that restarts the machine, nil for others.
func (l *leaf) restart() *sequence.Restart {
	r, _ := l.action.(*sequence.Restart)
	return r
}

// interrupted decides about the leaf that had begun when the machine restarted.
func (e *engine) interrupted(ctx context.Context, next int) (int, error) {
	l := e.leaf(next)
	if e.state.Ended == l.Path && e.state.Running == "" && e.state.EndState == protocol.StepDone && l.leadsElsewhere(e.onDisk()) {
		return next, nil
	}
	if e.state.Ended == l.Path && e.state.Running == "" && (e.state.EndState == protocol.StepDone || l.continues()) {
		s := e.status(l, e.state.EndState)
		s.ExitCode, s.Variables = &e.state.ExitCode, e.state.EndVariables
		maps.Copy(e.state.Variables, e.state.EndVariables)
		s.Message = "it had ended before the machine restarted"
		return next + 1, e.over(e.report(ctx, s))
	}
	switch l.Step.Interrupted {
	case sequence.InterruptedSkip:
		s := e.status(l, protocol.StepSkipped)
		s.Message = "the machine restarted in the middle of it"
		return next + 1, e.over(e.report(ctx, s))
	case sequence.InterruptedFail:
		err := errors.New("the machine restarted in the middle of it")
		if told := e.reportFailure(ctx, l, err); told != nil {
			return 0, told
		}
		return 0, &stepError{l, err}
	}
	return next, nil
}

// position is the index of the leaf with that path; "" is the first.
func (e *engine) position(path string) (int, error) {
	if path == "" {
		return 0, nil
	}
	for i, l := range e.leaves {
		if l.Path == path {
			return i, nil
		}
	}
	return 0, fmt.Errorf("sequence %s has no step %q", e.o.Run.Sequence.Name, path)
}

func (e *engine) leaf(i int) *leaf {
	l := &leaf{Leaf: e.leaves[i]}
	l.kind, l.action = l.Step.Action()
	return l
}

// from runs the leaves from next on.
func (e *engine) from(ctx context.Context, next int) (end string, err error) {
	for ; next < len(e.leaves); next++ {
		l := e.leaf(next)
		if e.cancelled() {
			return "", &stepError{l, errCancelled}
		}
		restart, err := e.run(ctx, l)
		if err != nil {
			return "", err
		}
		if restart == "" && e.state.Restart {
			restart = sequence.RestartBootImage
			if e.onDisk() {
				restart = sequence.RestartDisk
			}
		}
		e.state.Restart = false
		if restart != "" && next+1 < len(e.leaves) && !e.cancelled() {
			return EndRestart, e.restart(ctx, restart, next+1)
		}
	}
	// A restart that is the last step needs no run to go on with.
	last := e.leaf(len(e.leaves) - 1)
	if r := last.restart(); r != nil && (e.state.Ended == last.Path || e.o.Run.Resumed && e.o.Run.Next == "") {
		if r.Into == sequence.RestartBootImage {
			e.bootNetwork(ctx)
		}
		return EndReboot, e.succeed(ctx)
	}
	return EndSucceeded, e.succeed(ctx)
}

// succeed ends the run.
func (e *engine) succeed(ctx context.Context) error {
	e.say("done: %d steps", len(e.leaves))
	e.tidy(ctx)
	e.sendLog(ctx)
	if err := e.o.Machine.Release(); err != nil {
		e.say("%v", err)
	}
	// The server has heard of all steps, so the disk knows nothing that it does not. A
	// machine that loses its power after the end does not come back to this.
	if err := e.keep.erase(); err != nil {
		e.say("%v", err)
	}
	err := e.tell(ctx, "tell the server of the end", func(ctx context.Context) error {
		return e.o.Server.End(ctx, protocol.RunEnd{Run: e.o.Run.ID, State: protocol.RunSucceeded})
	})
	if err != nil {
		return &overError{err}
	}
	return nil
}

// restart gets everything ready for the machine's restart.
func (e *engine) restart(ctx context.Context, into string, next int) error {
	end := protocol.RunEnd{Run: e.o.Run.ID, State: protocol.RunRestart, Path: e.leaves[next].Path, Into: into}
	if r := e.leaf(next - 1).restart(); r != nil {
		end.Within = int(time.Duration(r.Within).Seconds())
	}
	if into == sequence.RestartBootImage {
		e.bootNetwork(ctx)
	} else if err := e.prepareDisk(ctx); err != nil {
		return &stepError{e.leaf(next - 1), err}
	}
	e.sendLog(ctx)
	err := e.tell(ctx, "tell the server of the restart", func(ctx context.Context) error { return e.o.Server.End(ctx, end) })
	if err != nil {
		return &overError{err}
	}
	return e.o.Machine.Release()
}

// bootNetwork has the firmware boot from the network next, where it can be told. A
// machine whose firmware cannot does it by its own order, or stays in the system on
// its disk: then the run fails when its time is over.
func (e *engine) bootNetwork(ctx context.Context) {
	entry, err := e.o.Machine.BootNetwork(ctx, e.o.MAC)
	if err != nil {
		e.say("the firmware is not told to boot from the network: %v", err)
		return
	}
	e.say("the firmware boots %s next", entry)
}

// prepareDisk has the operating system on the disk go on with the run.
func (e *engine) prepareDisk(ctx context.Context) error {
	if e.o.Resident {
		return nil
	}
	folder := pathOfSystem()
	if !e.onDisk() {
		if e.state.Applied == "" {
			return errors.New("restart into the disk: no operating system has been applied")
		}
		_, v, err := e.volume(e.state.Applied)
		if err != nil {
			return err
		}
		if folder, err = e.o.Machine.Folder(ctx, v); err != nil {
			return err
		}
	}
	if e.o.Continue == nil {
		return errors.New("restart into the disk: this agent cannot have the system on the disk go on with the sequence; let the restart be its last step")
	}
	e.say("the system on the disk is to go on with the sequence")
	if err := e.o.Continue(ctx, folder); err != nil {
		return fmt.Errorf("have the system on the disk go on with the sequence: %w", err)
	}
	return nil
}

// run runs one leaf. restart is where the machine restarts to before the next.
func (e *engine) run(ctx context.Context, l *leaf) (restart string, err error) {
	ok, why, err := l.Holds(e.scope(ctx))
	if err == nil && !ok {
		e.say("[%d/%d] %s: skipped, %s", l.Number, len(e.leaves), l.Step.Title(), why)
		s := e.status(l, protocol.StepSkipped)
		s.Message = "condition does not hold: " + why
		e.last = sequence.Outcome{State: protocol.StepSkipped}
		return "", e.over(e.report(ctx, s))
	}
	if err == nil {
		restart, err = e.tries(ctx, l)
	}
	if err == nil {
		return restart, nil
	}
	var over *overError
	if errors.As(err, &over) || ctx.Err() != nil {
		return "", err
	}
	e.last = sequence.Outcome{State: protocol.StepFailed, ExitCode: exitCode(err)}
	if told := e.reportFailure(ctx, l, err); told != nil {
		return "", told
	}
	if l.continues() && !errors.Is(err, errCancelled) {
		e.say("[%d/%d] %s failed, going on: %v", l.Number, len(e.leaves), l.Step.Title(), e.mask(err.Error()))
		return "", nil
	}
	return "", &stepError{l, err}
}

// continues says whether a failure of the leaf is one of the run.
func (l *leaf) continues() bool {
	if l.Step.ContinueOnError {
		return true
	}
	for _, g := range l.Groups {
		if g.ContinueOnError {
			return true
		}
	}
	return false
}

func (e *engine) over(err error) error {
	if err != nil {
		return &overError{err}
	}
	return nil
}

// tries runs the action until it succeeds or has been tried often enough.
func (e *engine) tries(ctx context.Context, l *leaf) (restart string, err error) {
	l.began, e.patience = e.now(), time.Duration(l.Step.Patience)
	most := 1
	if l.Step.Retry != nil {
		most += l.Step.Retry.Count
	}
	for l.attempt = 1; ; l.attempt++ {
		e.state.Running, e.state.Attempt = l.Path, l.attempt
		if err := e.keep.write(e.state); err != nil {
			return "", err
		}
		e.say("[%d/%d] %s", l.Number, len(e.leaves), l.Step.Title())
		e.o.Person.Progress(fmt.Sprintf("step %d of %d: %s", l.Number, len(e.leaves), l.Step.Title()), -1)
		if err := e.report(ctx, e.status(l, protocol.StepStarted)); err != nil {
			return "", &overError{err}
		}
		var done outcome
		done, err = e.attempt(ctx, l)
		if err == nil {
			return done.restart, e.ended(ctx, l, done)
		}
		if l.attempt >= most || ctx.Err() != nil || errors.Is(err, errCancelled) {
			return "", err
		}
		s := e.status(l, protocol.StepRetry)
		s.Message, s.Output = err.Error(), outputOf(err)
		if told := e.report(ctx, s); told != nil {
			return "", &overError{told}
		}
		e.say("%s; trying again", e.mask(err.Error()))
		if !sleep(ctx, time.Duration(l.Step.Retry.Delay)) {
			return "", context.Cause(ctx)
		}
	}
}

// outcome is what an action leaves.
type outcome struct {
	restart   string // one of sequence.Restart...
	code      int
	output    string
	message   string
	variables map[string]protocol.VariableValue // that it sets
}

// ended notes that a leaf is done.
func (e *engine) ended(ctx context.Context, l *leaf, done outcome) error {
	// First what it did, then that it did it.
	if err := e.o.Machine.Flush(e.volumes()); err != nil {
		return err
	}
	e.hideDerived(done.variables)
	maps.Copy(e.state.Variables, done.variables)
	e.last = sequence.Outcome{State: protocol.StepDone, ExitCode: done.code}
	e.state.ended(l.Path, protocol.StepDone, done.code, done.variables)
	if err := e.keep.write(e.state); err != nil {
		return err
	}
	s := e.status(l, protocol.StepDone)
	s.Percent, s.ExitCode, s.Output, s.Message, s.Variables = 100, &done.code, done.output, done.message, done.variables
	if err := e.report(ctx, s); err != nil {
		return &overError{err}
	}
	return nil
}

// volumes are those that steps may have written to.
func (e *engine) volumes() (list []disk.Volume) {
	for _, p := range e.state.Plans {
		list = append(list, p.Volumes...)
	}
	if _, v, err := e.volume(e.state.Applied); err == nil && len(e.state.Plans) == 0 {
		list = append(list, v) // one that was there before
	}
	return list
}

// attempt runs the action once, within the step's time.
func (e *engine) attempt(ctx context.Context, l *leaf) (done outcome, err error) {
	action, err := sequence.ExpandAction(l.action, e.lookup)
	if err != nil {
		return done, err
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	if limit := time.Duration(l.Step.Timeout); limit > 0 {
		var stop context.CancelFunc
		ctx, stop = context.WithTimeoutCause(ctx, limit, fmt.Errorf("it took longer than its time limit of %s", limit))
		defer stop()
	}
	e.mu.Lock()
	e.cancel, e.percent, e.doing = cancel, 0, ""
	e.mu.Unlock()
	if e.cancelled() {
		cancel(errCancelled) // since the step was announced
	}
	var beating sync.WaitGroup
	beats, still := context.WithCancel(ctx)
	beating.Go(func() { e.beat(beats, l) })
	done, err = e.do(ctx, action)
	still()
	beating.Wait()
	e.mu.Lock()
	e.cancel = nil
	e.mu.Unlock()
	if cause := context.Cause(ctx); err != nil && cause != nil {
		err = cause
	}
	return done, err
}
