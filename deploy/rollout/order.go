package rollout

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"castpoint/agent/protocol"
	"castpoint/deploy/named"
	"castpoint/deploy/runs"
	"castpoint/deploy/sequence"
)

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
				return nil, named.Invalid("nothing was asked about %s", name)
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
		g.setVariables(r, seq, vars) // they count for all that follows, whatever happens to the machine
		r.Fetched = false
		r.Order = &protocol.Order{Kind: protocol.OrderRetry, Path: leaf.Path, By: by, Time: g.now().UTC()}
		shown = *r
		return nil, nil
	})
	if err != nil {
		return Run{}, err
	}
	g.tellRun(&shown, false, by, "deployment "+g.deploymentName(shown.Deployment)+" is to be tried again from step "+shown.Order.Path)
	return shown.Shown(g.now()), nil
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
	return sequence.Leaf{}, named.Invalid("sequence %s has no step %q: want a path as in 2/1, a number or a name", seq.Name, text)
}

// Cancel has a machine stop its run, when it hears of it.
func (g *Register) Cancel(ctx context.Context, run, by string) (Run, error) {
	var shown Run
	err := g.update(ctx, run, func(r *Run) (*StepRecord, error) {
		if r.State.Ended() {
			return nil, fmt.Errorf("%w: the run on %s has ended: %s", ErrRefused, r.Label, r.State)
		}
		now := g.now().UTC()
		if now.Sub(r.Heard) > runs.LateTime || r.State == StateRestarting || r.Cancelling() {
			// Nobody is there who could say that it has stopped.
			r.State, r.Ended, r.Order, r.Questions, r.Message = StateCancelled, now, nil, nil, "cancelled by "+by+" while nothing was heard of it"
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
	return shown.Shown(g.now()), nil
}

// takeOrder takes the order of a run away from it, for its machine.
func (g *Register) takeOrder(r *Run) (protocol.Order, error) {
	r.Fetched = false
	if r.Order == nil {
		return protocol.Order{}, nil
	}
	o, err := g.forMachine(r.Order, r)
	if err != nil {
		return o, err
	}
	r.Order = nil
	return o, nil
}

// forMachine is an order as the machine of a run gets it. One to try again brings the
// variables as they are now: what kept the step from succeeding may have been the value
// of one.
func (g *Register) forMachine(o *protocol.Order, r *Run) (protocol.Order, error) {
	c := *o
	if c.Kind != protocol.OrderRetry {
		return c, nil
	}
	var err error
	c.Variables, err = g.variablesNow(r)
	return c, err
}

// variablesNow are the variables of a run that has begun, as collections, the device
// and its steps have them now.
func (g *Register) variablesNow(r *Run) (map[string]protocol.VariableValue, error) {
	seq, err := g.OfferSequence(&Offer{Run: r, Deployment: Deployment{Sequence: r.Sequence}})
	if err != nil {
		return nil, err
	}
	d, err := g.Deployment(r.Deployment)
	if err != nil {
		return nil, err
	}
	device, err := g.cfg.Devices.Get(r.Device)
	if err != nil {
		return nil, fmt.Errorf("device of run %s: %w", r.ID, err)
	}
	return g.variablesOf(seq, &d, &device, r)
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
			return protocol.Order{}, fmt.Errorf("run %s: %w", run, named.ErrNotFound)
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
	err := g.update(context.WithoutCancel(ctx), run, func(r *Run) (_ *StepRecord, err error) {
		r.Heard = g.now().UTC()
		if r.Retrying() {
			r.Fetched = true
			order, err = g.forMachine(r.Order, r)
			return nil, err
		}
		order, err = g.takeOrder(r)
		return nil, err
	})
	return order, err
}
