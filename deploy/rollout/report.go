package rollout

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"go.uber.org/zap"

	"castpoint/agent/protocol"
	"castpoint/deploy/named"
	"castpoint/deploy/runs"
	"castpoint/deploy/secret"
	"castpoint/deploy/sequence"
)

// Report takes what a machine says of a step, and gives the order that waits for it.
func (g *Register) Report(ctx context.Context, run string, s protocol.StepStatus) (protocol.Order, error) {
	var order protocol.Order
	var told func()
	failed := "" // the deployment of a run that has failed
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
		if r.Stays() {
			// A machine that was not heard of when its run was cancelled is there again,
			// or one goes on by itself: it has to wait for the order to.
			r.Heard, order = now, protocol.Order{Kind: protocol.OrderCancel, By: "castpoint", Time: now}
			return nil, errInMemory
		}
		if r.Fetched {
			r.Order, r.Fetched = nil, false // it has begun to do what was ordered
		}
		before := r.Step
		step := runs.StepOf(&s, &leaf, &before, now)
		r.Heard, r.Step = now, step
		r.Step.Output = ""
		if s.Environment != "" {
			r.Environment = environment(s.Environment)
		}
		r.Into, r.Next, r.Until, r.Lost = "", "", time.Time{}, false
		if r.State.Ended() {
			r.Message, r.Advice = "", "" // of the failure that is being mended
		}
		r.State, r.Ended, r.Ending = StateRunning, time.Time{}, false
		if r.Questions != nil && s.State != protocol.StepProgress {
			r.Questions = nil
		}
		if r.Questions != nil {
			r.State = StateAsking
		}
		if v := s.Variables[protocol.VariableRecovery]; v.Secret && v.Value != "" {
			// Before the machine is told that it was heard: nobody else has it.
			if err := g.Secrets.KeepRecovery(ctx, r.Device, secret.Recovery{Time: now, Run: r.ID, Step: step.Name, Password: runs.Line(v.Value)}); err != nil {
				return nil, err
			}
			g.tellRun(r, false, "", "its recovery password is kept: castpoint device recovery "+r.Device)
		}
		g.setVariables(r, seq, s.Variables)
		if order, err = g.takeOrder(r); err != nil {
			return nil, err
		}
		if s.State == protocol.StepFailed && !step.Over() {
			// It says so itself in a moment, unless it loses its power before.
			r.State, r.Ended, r.Ending, failed = StateFailed, now, true, r.Deployment
			r.Message = "step " + step.Name + ": " + step.Message
		}
		if s.State == protocol.StepProgress && before.Path == s.Path && order.Kind == "" {
			return nil, errInMemory
		}
		told = g.stepEvent(r, &step)
		return &step, nil
	})
	if err == nil && told != nil {
		told()
	}
	if err == nil && failed != "" {
		for _, f := range g.ended {
			f(failed)
		}
	}
	return order, err
}

// maxVariables is how much is kept of what steps have set, in bytes of names and values.
// All of it is written with each step.
const maxVariables = 512 << 10

// setVariables keeps what steps have set. What the sequence declares as secret is kept
// so, whatever has set it.
func (g *Register) setVariables(r *Run, seq *sequence.Sequence, vars map[string]protocol.VariableValue) {
	total := 0
	for name, value := range r.Variables {
		total += len(name) + len(value)
	}
	for name, sealed := range r.Secrets {
		total += len(name) + len(sealed)
	}
	for _, name := range slices.Sorted(maps.Keys(vars)) {
		v := vars[name]
		if sequence.CheckVariable(name) != nil || len(v.Value) > sequence.MaxValue {
			continue // an agent checks them too
		}
		if total += len(name) + len(v.Value); total > maxVariables {
			g.log.Warn("variables of a run are not kept", zap.String("run", r.ID), zap.String("device", r.Label), zap.Int("bytes", total))
			return
		}
		delete(r.Variables, name)
		delete(r.Secrets, name)
		if v.Secret || seq.Variables[name].Secret {
			if r.Secrets == nil {
				r.Secrets = make(map[string][]byte)
			}
			r.Secrets[name] = g.Secrets.Seal("run "+r.ID+" "+name, v.Value)
			continue
		}
		if r.Variables == nil {
			r.Variables = make(map[string]string)
		}
		r.Variables[name] = v.Value
	}
}

// environment is where a machine says that it is: a word.
func environment(s string) string {
	const longest = 64
	if s = runs.Line(s); len(s) > longest {
		s = strings.ToValidUTF8(s[:longest], "")
	}
	return s
}

// Limits of what a machine asks: its step has a dialog for it.
const (
	maxQuestions = 64
	maxChoices   = 1000
)

// questions are those that a machine asks, fit to be shown.
func questions(q protocol.Questions) (*protocol.Questions, error) {
	if len(q.Questions) > maxQuestions {
		return nil, named.Invalid("%d questions: want at most %d", len(q.Questions), maxQuestions)
	}
	q.Path = runs.Line(q.Path)
	q.Questions = slices.Clone(q.Questions)
	for i := range q.Questions {
		one := &q.Questions[i]
		if len(one.Choices) > maxChoices {
			return nil, named.Invalid("question %s has %d choices: want at most %d", runs.Line(one.Variable), len(one.Choices), maxChoices)
		}
		one.Variable, one.Prompt = runs.Line(one.Variable), runs.Line(one.Prompt)
	}
	return &q, nil
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
		return named.Invalid("state %q: want %s, %s, %s or %s", e.State, protocol.RunSucceeded, protocol.RunFailed, protocol.RunCancelled, protocol.RunRestart)
	}
	var done Run
	kept := false
	err := g.update(ctx, run, func(r *Run) (*StepRecord, error) {
		if r.State == StateSucceeded && state != StateSucceeded {
			return nil, fmt.Errorf("%w: run %s has succeeded already", ErrRefused, r.ID)
		}
		now := g.now().UTC()
		if r.Stays() && state != StateSucceeded {
			kept, r.Heard = true, now
			return nil, errInMemory
		}
		if r.Fetched {
			r.Order, r.Fetched = nil, false
		}
		r.Ending = false
		r.State, r.Heard, r.Message, r.Questions, r.Into = state, now, runs.Line(e.Message), nil, ""
		r.Lost, r.Until, r.Next = false, time.Time{}, ""
		if state == StateRestarting {
			g.restarts(r, &e)
		}
		if state.Ended() {
			r.Ended = now
		}
		done = *r
		return nil, nil
	})
	if err != nil || kept {
		return err
	}
	text := "deployment " + g.deploymentName(done.Deployment) + ": " + string(state)
	if state == StateRestarting && e.Into != "" {
		text += " into the " + strings.ReplaceAll(done.Into, "-", " ")
	}
	if state == StateSucceeded {
		text += " after " + done.Ended.Sub(done.Started).Round(time.Second).String()
	}
	if done.Message != "" {
		text += ": " + done.Message
	}
	g.tellRun(&done, state == StateFailed, "", text)
	if state.Ended() {
		for _, f := range g.ended {
			f(done.Deployment)
		}
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
		if r.Heard = g.now().UTC(); r.State.Ended() {
			return nil, errInMemory
		}
		asked, err := questions(q)
		if err != nil {
			return nil, err
		}
		r.Questions, r.State = asked, StateAsking
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
