package step

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strings"
	"time"

	"castpoint/agent/protocol"
)

// Tuning of reports.
const (
	firstPause = time.Second // before the server is told once more; doubles
	lastPause  = 30 * time.Second
	// heartbeat is how often a running step says that it runs, and hears orders.
	heartbeat = 5 * time.Second
	// shortestSecret is the shortest text that is taken out of outputs: less is
	// in every word.
	shortestSecret = 3
)

// tell sends something to the server until it has heard it. What the server
// refuses is not sent again.
func (e *engine) tell(ctx context.Context, what string, send func(context.Context) error) error {
	return e.tellWithin(ctx, 0, what, send)
}

// tellWithin is tell that gives up after a time, 0 for never.
func (e *engine) tellWithin(ctx context.Context, patience time.Duration, what string, send func(context.Context) error) error {
	said, began := false, time.Now()
	for pause := firstPause; ; pause = min(2*pause, lastPause) {
		err := send(ctx)
		if err == nil || ctx.Err() != nil {
			return err
		}
		var p *protocol.Problem
		if errors.As(err, &p) && p.Status < http.StatusInternalServerError && p.Status != http.StatusTooManyRequests ||
			patience > 0 && time.Since(began) > patience {
			return err
		}
		if !said {
			e.say("%s: %v; trying again", what, err)
			said = true
		}
		if !sleep(ctx, pause) {
			return context.Cause(ctx)
		}
	}
}

// status is what there is to say of a leaf.
func (e *engine) status(l *leaf, state string) protocol.StepStatus {
	s := protocol.StepStatus{
		Run: e.o.Run.ID, Path: l.Path, Number: l.Number, Total: len(e.leaves), Name: l.Step.Title(), Kind: l.kind,
		State: state, Attempt: l.attempt, Environment: e.o.Machine.Environment(), Continue: l.continues(),
	}
	if !l.began.IsZero() {
		s.Seconds = e.now().Sub(l.began).Seconds()
	}
	return s
}

// report tells the server of a step; an order that comes back is kept.
func (e *engine) report(ctx context.Context, s protocol.StepStatus) error {
	s.Message = cut(e.mask(s.Message), protocol.MaxMessage)
	s.Output = tailOf(e.mask(s.Output), protocol.MaxTail)
	return e.tell(ctx, "tell the server of step "+s.Path, func(ctx context.Context) error {
		order, err := e.o.Server.Step(ctx, s)
		if err == nil {
			e.take(order)
		}
		return err
	})
}

// beat reports progress while a step runs, once in a while, and never holds it up.
func (e *engine) beat(ctx context.Context, l *leaf) {
	tick := time.NewTicker(heartbeat)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		s := e.status(l, protocol.StepProgress)
		e.mu.Lock()
		s.Percent, s.Message = e.percent, e.doing
		e.mu.Unlock()
		if order, err := e.o.Server.Step(ctx, s); err == nil {
			e.take(order)
		}
	}
}

// dropAnswers forgets answers from the console that no question has taken. Only take
// adds some, under mu.
func (e *engine) dropAnswers() {
	select {
	case <-e.answers:
	default:
	}
}

// take acts on an order that came while a step runs: only a cancellation cannot
// wait.
func (e *engine) take(o protocol.Order) {
	if o.Kind == protocol.OrderNone {
		return
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.order = &o
	if o.Kind == protocol.OrderCancel && e.cancel != nil {
		e.cancel(errCancelled)
	}
	if o.Kind == protocol.OrderAnswer {
		e.dropAnswers() // the last word counts
		e.answers <- o.Answers
		e.order = nil
	}
}

// cancelled says whether the console has ordered the run to stop, with the answer to
// something that was said between two steps.
func (e *engine) cancelled() bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.order != nil && e.order.Kind == protocol.OrderCancel
}

// errCancelled is why a step ends that the console has cancelled.
var errCancelled = errors.New("cancelled from the console")

// progress is told by actions how far they are.
func (e *engine) progress(what string) func(float64) {
	what = e.mask(what)
	return func(percent float64) {
		e.mu.Lock()
		e.percent, e.doing = percent, what
		e.mu.Unlock()
		e.o.Person.Progress(what, percent)
	}
}

// mask takes the values of secret variables out of a text.
func (e *engine) mask(text string) string {
	var secrets []string
	for name, v := range e.state.Variables {
		// Of a derived one the secret in it is taken out, and the rest is for people.
		if v.Secret && len(v.Value) >= shortestSecret && !e.derived[name] {
			secrets = append(secrets, v.Value)
		}
	}
	secrets = append(secrets, e.hidden...)
	// The longest first: one may be part of another.
	slices.SortFunc(secrets, func(a, b string) int { return len(b) - len(a) })
	for _, s := range secrets {
		text = strings.ReplaceAll(text, s, "***")
	}
	return text
}

// hideDerived makes those variables secret that the sequence declares so, that were
// so, and that have the value of a secret one in theirs.
func (e *engine) hideDerived(vars map[string]protocol.VariableValue) {
	for name, v := range vars {
		v.Secret = v.Secret || e.secret(name)
		if e.derived[name] = !v.Secret && e.mask(v.Value) != v.Value; e.derived[name] {
			v.Secret = true
		}
		vars[name] = v
	}
}

// secret says whether a variable is never to be shown.
func (e *engine) secret(name string) bool {
	return e.o.Run.Sequence.Variables[name].Secret || e.state.Variables[name].Secret && !e.derived[name]
}

func cut(s string, limit int) string {
	if len(s) > limit {
		return strings.ToValidUTF8(s[:limit-3], "") + "..."
	}
	return s
}

func tailOf(s string, limit int) string {
	if len(s) > limit {
		return strings.ToValidUTF8(s[len(s)-limit:], "")
	}
	return s
}

// sleep waits; it is false when ctx ended first.
func sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}
