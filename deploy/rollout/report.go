package rollout

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"castpoint/agent/protocol"
	"castpoint/deploy"
	"castpoint/deploy/sequence"
	"castpoint/internal/store"
)

// Report takes what a machine says of a step, and gives the order that waits for it.
func (g *Register) Report(ctx context.Context, run string, s protocol.StepStatus) (protocol.Order, error) {
	var order protocol.Order
	var told func()
	err := g.update(ctx, run, func(r *Run) (*StepRecord, error) {
		if r.State == StateSucceeded {
			return nil, fmt.Errorf("%w: run %s has succeeded already", ErrRefused, r.ID)
		}
		seq, err := g.OfferSequence(&Offer{Deployment: Deployment{Sequence: r.Sequence}, Run: r})
		if err != nil {
			return nil, err
		}
		leaf, err := seq.Leaf(s.Path)
		if err != nil {
			return nil, err
		}
		now := g.now().UTC()
		before := r.Step
		step := stepOf(&s, &leaf, &before, now)
		r.Heard, r.Step = now, step
		r.Step.Output = ""
		if s.Environment != "" {
			r.Environment = s.Environment
		}
		r.Into = ""
		if !r.State.Ended() || s.State != protocol.StepProgress {
			r.State, r.Ended = StateRunning, time.Time{}
		}
		if r.Questions != nil && s.State != protocol.StepProgress {
			r.Questions = nil
		}
		if r.Questions != nil {
			r.State = StateAsking
		}
		g.setVariables(r, s.Variables)
		order = takeOrder(r)
		if s.State == protocol.StepProgress && before.Path == s.Path && order.Kind == "" {
			return nil, errInMemory
		}
		told = g.stepEvent(r, &step)
		return &step, nil
	})
	if err == nil && told != nil {
		told()
	}
	return order, err
}

// stepOf is what is kept of a status.
func stepOf(s *protocol.StepStatus, leaf *sequence.Leaf, before *StepRecord, now time.Time) StepRecord {
	kind, _ := leaf.Step.Action()
	step := StepRecord{
		Path: s.Path, Number: leaf.Number, Name: leaf.Step.Title(), Kind: kind, State: s.State, Attempt: max(1, s.Attempt),
		Percent: min(100, max(0, s.Percent)), ExitCode: s.ExitCode, Message: line(s.Message), Advice: line(s.Advice),
		Output: cut(strings.ToValidUTF8(s.Output, "?"), protocol.MaxTail), Continue: s.Continue, Started: now,
	}
	if before.Path == s.Path && !before.Started.IsZero() && !before.over() && before.State != protocol.StepFailed {
		step.Started = before.Started
	} else if s.Seconds > 0 {
		step.Started = now.Add(-time.Duration(s.Seconds * float64(time.Second)))
	}
	if s.State == protocol.StepDone || s.State == protocol.StepFailed || s.State == protocol.StepSkipped {
		step.Ended = now
	}
	return step
}

// line makes a machine's text fit for one line.
func line(s string) string {
	s = strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(s, "?"))
	if s = strings.TrimSpace(s); len(s) > protocol.MaxMessage {
		s = strings.ToValidUTF8(s[:protocol.MaxMessage], "")
	}
	return s
}

// setVariables keeps what steps have set.
func (g *Register) setVariables(r *Run, vars map[string]protocol.VariableValue) {
	for name, v := range vars {
		if sequence.CheckVariable(name) != nil || len(v.Value) > sequence.MaxValue {
			continue // an agent checks them too
		}
		delete(r.Variables, name)
		delete(r.secrets, name)
		if v.Secret {
			if r.secrets == nil {
				r.secrets = make(map[string][]byte)
			}
			r.secrets[name] = g.sealer.seal("run "+r.ID+" "+name, v.Value)
			continue
		}
		if r.Variables == nil {
			r.Variables = make(map[string]string)
		}
		r.Variables[name] = v.Value
	}
}

// stepEvent is what tells the timeline of a step; nil when that is not worth it.
func (g *Register) stepEvent(r *Run, s *StepRecord) func() {
	text := fmt.Sprintf("step %d of %d, %s: %s", s.Number, r.Total, s.Name, s.State)
	if s.State == protocol.StepProgress {
		return nil
	}
	if s.State == protocol.StepDone && !s.Ended.IsZero() {
		text += fmt.Sprintf(" after %s", s.Ended.Sub(s.Started).Round(time.Second))
	}
	if s.ExitCode != nil && *s.ExitCode != 0 {
		text += fmt.Sprintf(" with exit code %d", *s.ExitCode)
	}
	if s.Message != "" {
		text += ": " + s.Message
	}
	trouble := s.State == protocol.StepFailed
	run := *r
	return func() { g.tellRun(&run, trouble, "", text) }
}

// End takes how a run has ended.
func (g *Register) End(ctx context.Context, run string, e protocol.RunEnd) error {
	states := map[string]State{
		protocol.RunSucceeded: StateSucceeded, protocol.RunFailed: StateFailed, protocol.RunCancelled: StateCancelled, protocol.RunRestart: StateRestarting,
	}
	state, ok := states[e.State]
	if !ok {
		return invalid("state %q: want %s, %s, %s or %s", e.State, protocol.RunSucceeded, protocol.RunFailed, protocol.RunCancelled, protocol.RunRestart)
	}
	var done Run
	err := g.update(ctx, run, func(r *Run) (*StepRecord, error) {
		if r.State == StateSucceeded && state != StateSucceeded {
			return nil, fmt.Errorf("%w: run %s has succeeded already", ErrRefused, r.ID)
		}
		now := g.now().UTC()
		r.State, r.Heard, r.Message, r.Questions, r.Into = state, now, line(e.Message), nil, ""
		if state == StateRestarting {
			r.Into = line(e.Into)
		}
		if state.Ended() {
			r.Ended = now
		}
		done = *r
		return nil, nil
	})
	if err != nil {
		return err
	}
	text := "deployment " + g.deploymentName(done.Deployment) + ": " + string(state)
	if state == StateRestarting && e.Into != "" {
		text += " into the " + strings.ReplaceAll(e.Into, "-", " ")
	}
	if state == StateSucceeded {
		text += " after " + done.Ended.Sub(done.Started).Round(time.Second).String()
	}
	if done.Message != "" {
		text += ": " + done.Message
	}
	g.tellRun(&done, state == StateFailed, "", text)
	if state.Ended() {
		g.checkAlert(done.Deployment)
	}
	return nil
}

func (g *Register) deploymentName(id string) string {
	g.mu.RLock()
	defer g.mu.RUnlock()
	if d := g.deployments[id]; d != nil {
		return d.Name
	}
	return id
}

// takeOrder takes the order of a run away from it.
func takeOrder(r *Run) protocol.Order {
	if r.Order == nil {
		return protocol.Order{}
	}
	o := *r.Order
	r.Order = nil
	return o
}

// Order waits until a run has an order, or ctx ends, and gives it to the machine.
func (g *Register) Order(ctx context.Context, run string) (protocol.Order, error) {
	for {
		g.mu.RLock()
		e := g.runs[run]
		var changed chan struct{}
		waiting := false
		if e != nil {
			changed, waiting = e.changed, e.run.Order != nil
		}
		g.mu.RUnlock()
		if e == nil {
			return protocol.Order{}, fmt.Errorf("run %s: %w", run, ErrNotFound)
		}
		if waiting {
			break
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return protocol.Order{}, g.heard(run)
		}
	}
	var order protocol.Order
	err := g.update(context.WithoutCancel(ctx), run, func(r *Run) (*StepRecord, error) {
		// A run that is to be tried again is what it was until the machine reports a
		// step: the answer may be lost, and the order given once more.
		r.Heard, order = g.now().UTC(), takeOrder(r)
		return nil, nil
	})
	return order, err
}

// heard notes that a machine is there.
func (g *Register) heard(run string) error {
	return g.update(context.Background(), run, func(r *Run) (*StepRecord, error) {
		r.Heard = g.now().UTC()
		return nil, errInMemory
	})
}

// Ask shows questions in the console.
func (g *Register) Ask(ctx context.Context, run string, q protocol.Questions) error {
	return g.update(ctx, run, func(r *Run) (*StepRecord, error) {
		r.Heard, r.Questions, r.State = g.now().UTC(), &q, StateAsking
		return nil, nil
	})
}

// Answered takes questions back: they were answered at the machine.
func (g *Register) Answered(ctx context.Context, run string) error {
	return g.update(ctx, run, func(r *Run) (*StepRecord, error) {
		if r.Heard, r.Questions = g.now().UTC(), nil; r.State == StateAsking {
			r.State = StateRunning
		}
		return nil, nil
	})
}

// Answer answers a run's questions from the console.
func (g *Register) Answer(ctx context.Context, run string, answers map[string]string, by string) error {
	return g.update(ctx, run, func(r *Run) (*StepRecord, error) {
		if r.Questions == nil {
			return nil, fmt.Errorf("%w: the run on %s asks nothing", ErrRefused, r.Label)
		}
		for i := range r.Questions.Questions {
			q := &r.Questions.Questions[i]
			answer, given := answers[q.Variable]
			if !given {
				answer = q.Default
			}
			if err := q.Accept(answer); err != nil {
				return nil, err
			}
		}
		for name := range answers {
			if !slices.ContainsFunc(r.Questions.Questions, func(q sequence.Question) bool { return q.Variable == name }) {
				return nil, invalid("nothing was asked about %s", name)
			}
		}
		r.Order = &protocol.Order{Kind: protocol.OrderAnswer, Path: r.Questions.Path, By: by, Answers: answers, Time: g.now().UTC()}
		r.Questions, r.State = nil, StateRunning
		return nil, errInMemory // answers may be secret; after a crash the question is there again
	})
}

// Retry has a run go on from a step: the one that has failed without a path. It is
// for runs that have failed or were cancelled; the machine goes on within seconds
// when it waits, else at its next network boot.
func (g *Register) Retry(ctx context.Context, run, path, by string, vars map[string]protocol.VariableValue) (Run, error) {
	var shown Run
	err := g.update(ctx, run, func(r *Run) (*StepRecord, error) {
		if r.State != StateFailed && r.State != StateCancelled {
			return nil, fmt.Errorf("%w: the run on %s is %s: only one that has failed or was cancelled is tried again", ErrRefused, r.Label, r.State)
		}
		seq, err := g.OfferSequence(&Offer{Run: r, Deployment: Deployment{Sequence: r.Sequence}})
		if err != nil {
			return nil, err
		}
		if path == "" {
			if path = r.Step.Path; path == "" {
				path = seq.Leaves()[0].Path
			}
		}
		leaf, err := stepByText(seq, path)
		if err != nil {
			return nil, err
		}
		r.Order = &protocol.Order{Kind: protocol.OrderRetry, Path: leaf.Path, By: by, Variables: vars, Time: g.now().UTC()}
		shown = *r
		return nil, nil
	})
	if err != nil {
		return Run{}, err
	}
	g.tellRun(&shown, false, by, "deployment "+g.deploymentName(shown.Deployment)+" is to be tried again from step "+shown.Order.Path)
	return shown.shown(g.now()), nil
}

// stepByText finds a step by its path, its number or its name.
func stepByText(seq *sequence.Sequence, text string) (sequence.Leaf, error) {
	for _, l := range seq.Leaves() {
		if l.Path == text || strings.EqualFold(l.Step.Title(), text) {
			return l, nil
		}
	}
	for _, l := range seq.Leaves() {
		if fmt.Sprint(l.Number) == text {
			return l, nil
		}
	}
	return sequence.Leaf{}, invalid("sequence %s has no step %q: want a path as in 2/1, a number or a name", seq.Name, text)
}

// Cancel has a machine stop its run, when it hears of it.
func (g *Register) Cancel(ctx context.Context, run, by string) (Run, error) {
	var shown Run
	err := g.update(ctx, run, func(r *Run) (*StepRecord, error) {
		if r.State.Ended() {
			return nil, fmt.Errorf("%w: the run on %s has ended: %s", ErrRefused, r.Label, r.State)
		}
		now := g.now().UTC()
		if now.Sub(r.Heard) > lateTime {
			// Nobody is there who could say that it has stopped.
			r.State, r.Ended, r.Message = StateCancelled, now, "cancelled by "+by+" while nothing was heard of it"
		} else {
			r.Order = &protocol.Order{Kind: protocol.OrderCancel, By: by, Time: now}
		}
		shown = *r
		return nil, nil
	})
	if err != nil {
		return Run{}, err
	}
	g.tellRun(&shown, false, by, "deployment "+g.deploymentName(shown.Deployment)+" is cancelled")
	return shown.shown(g.now()), nil
}

// FindRun is the id of a run that is named by its id, or by its device, whose last
// one is meant then.
func (g *Register) FindRun(text string) (string, error) {
	g.mu.RLock()
	_, ok := g.runs[text]
	g.mu.RUnlock()
	if ok {
		return text, nil
	}
	r, err := g.LastRun(text)
	if errors.Is(err, deploy.ErrNotFound) {
		return text, nil // an older run, which only the database has
	}
	return r.ID, err
}

// Run finds a run by its id, with its steps.
func (g *Register) Run(ctx context.Context, id string) (Run, []StepRecord, error) {
	g.mu.RLock()
	e := g.runs[id]
	g.mu.RUnlock()
	var r *Run
	if e != nil {
		g.mu.RLock()
		r = e.run
		g.mu.RUnlock()
	} else {
		row, err := g.cfg.Store.RunByID(ctx, id)
		if err != nil {
			if errors.Is(err, store.ErrNotFound) {
				err = fmt.Errorf("%w: there is no run %q, and no device of that name", ErrNotFound, id)
			}
			return Run{}, nil, err
		}
		if r, err = runOf(&row); err != nil {
			return Run{}, nil, err
		}
	}
	steps, err := g.Steps(ctx, r.ID)
	return r.shown(g.now()), steps, err
}

// LastRun is the last run of a device, in whichever deployment.
func (g *Register) LastRun(device string) (Run, error) {
	d, err := g.cfg.Devices.Find(device)
	if err != nil {
		return Run{}, err
	}
	g.mu.RLock()
	defer g.mu.RUnlock()
	var best *Run
	for _, e := range g.last[d.ID] {
		if best == nil || e.run.Started.After(best.Started) {
			best = e.run
		}
	}
	if best == nil {
		return Run{}, fmt.Errorf("%w: device %s has run no deployment", ErrNotFound, d.Label())
	}
	return best.shown(g.now()), nil
}

// RunsOf are all runs of a device, oldest first.
func (g *Register) RunsOf(ctx context.Context, device string) ([]Run, error) {
	d, err := g.cfg.Devices.Find(device)
	if err != nil {
		return nil, err
	}
	rows, err := g.cfg.Store.RunsOf(ctx, "", d.ID)
	if err != nil {
		return nil, fmt.Errorf("runs of %s: %w", d.Label(), err)
	}
	list := make([]Run, 0, len(rows))
	for i := range rows {
		r, err := runOf(&rows[i])
		if err != nil {
			return nil, fmt.Errorf("run %s: %w", rows[i].ID, err)
		}
		g.mu.RLock()
		if e := g.runs[r.ID]; e != nil {
			r = e.run // newer: how far a step is stays in memory
		}
		g.mu.RUnlock()
		list = append(list, r.shown(g.now()))
	}
	return list, nil
}
