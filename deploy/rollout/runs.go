package rollout

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"go.uber.org/zap"

	"castpoint/agent/protocol"
	"castpoint/deploy"
	"castpoint/deploy/named"
	"castpoint/deploy/runs"
	"castpoint/deploy/secret"
	"castpoint/deploy/sequence"
	"castpoint/internal/event"
	"castpoint/internal/store"
)

// sequenceOf is the sequence of an offer: the revision that its run has, or the
// newest.
func (g *Register) sequenceOf(o *Offer) *sequence.Sequence {
	name, number := o.Deployment.Sequence, 0
	if o.Run != nil {
		name, number = o.Run.Sequence, o.Run.Revision
	}
	s, _ := g.Sequences.Parsed(name, number)
	return s
}

// OfferSequence is the sequence that an offer would run.
func (g *Register) OfferSequence(o *Offer) (*sequence.Sequence, error) {
	if s := g.sequenceOf(o); s != nil {
		return s, nil
	}
	return nil, fmt.Errorf("sequence %s of deployment %s: %w", o.Deployment.Sequence, o.Deployment.Name, named.ErrNotFound)
}

// Begin is what begins a run or goes on with one.
type Begin struct {
	Device  deploy.Device
	Offer   Offer
	Request protocol.RunRequest
	Remote  string
	MACs    []string // of the machine's cards
}

// Check says what keeps an offer from being taken: its password, its confirmation.
// Offers that go on have been taken already.
func (b *Begin) Check() error {
	if b.Offer.Run != nil {
		return nil
	}
	d := &b.Offer.Deployment
	if d.NetworkOnly && sequence.OnDisk(b.Request.Environment) {
		return fmt.Errorf("%w: deployment %s is for machines that have booted from the network", ErrRefused, d.Name)
	}
	if d.Confirm && !b.Request.Confirmed {
		return fmt.Errorf("%w: deployment %s has to be confirmed at the machine", ErrRefused, d.Name)
	}
	ok, err := secret.MatchPassword(d.PasswordHash, b.Request.Password)
	if err == nil && !ok {
		err = fmt.Errorf("%w for deployment %s", ErrPassword, d.Name)
	}
	return err
}

// Variables are what the run would have, when that is enough for its sequence.
func (g *Register) Variables(b *Begin) (*sequence.Sequence, map[string]protocol.VariableValue, error) {
	seq, err := g.OfferSequence(&b.Offer)
	if err != nil {
		return nil, nil, err
	}
	if now := b.Request.Environment; b.Offer.Run == nil && seq.Environment != "" && now != "" && now != seq.Environment {
		return nil, nil, fmt.Errorf("%w: sequence %s begins in %s, and the machine runs %s: name the boot image for it in the sequence (boot-image), or give the device one (castpoint device set ID --boot-image)",
			ErrRefused, seq.Name, seq.Environment, now)
	}
	vars, err := g.variablesOf(seq, &b.Offer.Deployment, &b.Device, b.Offer.Run)
	if err != nil {
		return nil, nil, err
	}
	return seq, vars, checkRequired(seq, vars)
}

// Missing says what keeps a deployment's runs from beginning as far as that can be
// told without a device; seq is nil when the sequence is not there.
func (g *Register) Missing(d *Deployment) (names []string, seq *sequence.Sequence, vars map[string]string) {
	if seq = g.sequenceOf(&Offer{Deployment: *d}); seq != nil {
		names, vars = g.Collections.Missing(seq, d.Collection)
	}
	return names, seq, vars
}

// Begin begins a run, or goes on with it after a restart. The answer lacks contents
// and server, which this package does not know. With ticket the machine keeps the
// ticket that it has shown; else it gets a new one, and the old one ends.
func (g *Register) Begin(ctx context.Context, b Begin, ticket string) (*protocol.Run, error) {
	seq, vars, err := g.Variables(&b)
	if err != nil {
		return nil, err
	}
	if b.Offer.Run == nil {
		return g.beginNew(ctx, &b, seq, vars)
	}
	if err := g.mayGoOn(ctx, &b); err != nil {
		return nil, err
	}
	return g.resume(ctx, &b, seq, vars, ticket)
}

func (g *Register) beginNew(ctx context.Context, b *Begin, seq *sequence.Sequence, vars map[string]protocol.VariableValue) (*protocol.Run, error) {
	d := &b.Offer.Deployment
	now := g.now().UTC()
	var stateKey [secret.KeySize]byte
	_, _ = rand.Read(stateKey[:]) // never fails: see its documentation
	ticket, hash := runs.NewTicket()
	r := &Run{
		ID: named.NewID(), Deployment: d.ID, Device: b.Device.ID, Label: b.Device.Label(), Sequence: seq.Name, Revision: g.Sequences.NumberOf(seq), State: StateRunning,
		Started: now, Heard: now, Total: len(seq.Leaves()), Environment: environment(b.Request.Environment), Remote: b.Remote, MACs: b.MACs, Ticket: hash,
	}
	r.Key = g.Secrets.Seal("run "+r.ID, string(stateKey[:]))
	row, err := r.Row()
	if err == nil {
		err = g.cfg.Store.PutRun(ctx, row, nil)
	}
	if err == nil {
		err = g.cfg.Store.DeleteAgain(ctx, d.ID, b.Device.ID)
	}
	if err == nil {
		err = g.replaced(ctx, d.ID, b.Device.ID)
	}
	if err != nil {
		return nil, fmt.Errorf("begin deployment %s on %s: %w", d.Name, r.Label, err)
	}
	g.mu.Lock()
	g.enter(r).heard = g.now()
	delete(g.onceMore[d.ID], b.Device.ID)
	delete(g.refusals[d.ID], b.Device.ID)
	g.mu.Unlock()
	g.tell(&b.Device, r.ID, false, "", fmt.Sprintf("deployment %s begins: sequence %s (revision %d), %d steps", d.Name, seq.Name, r.Revision, r.Total))
	return &protocol.Run{
		ID: r.ID, Ticket: ticket, Deployment: d.Name, Device: r.Label, Sequence: seq, Variables: vars, StateKey: stateKey[:], After: d.After,
	}, nil
}

// replaced ends the run that a device was in the middle of when it begins another one
// of the same deployment.
func (g *Register) replaced(ctx context.Context, deployment, device string) error {
	g.mu.RLock()
	id := ""
	if e := g.last[device][deployment]; e != nil {
		id = e.run.ID
	}
	g.mu.RUnlock()
	if id == "" {
		return nil
	}
	return g.update(ctx, id, func(r *Run) (*StepRecord, error) {
		if r.State.Ended() {
			return nil, errInMemory
		}
		r.State, r.Ended, r.Order, r.Questions, r.Message = StateCancelled, g.now().UTC(), nil, nil, "another run has begun"
		return nil, nil
	})
}

// sameTime is how long after a machine was heard of another one with its UUID cannot
// be the same machine with another card.
const sameTime = 5 * time.Minute

// mayGoOn says what keeps a machine from going on with a run.
func (g *Register) mayGoOn(ctx context.Context, b *Begin) error {
	r := b.Offer.Run
	switch {
	case r.Cancelling():
		by := r.Order.By
		err := g.update(ctx, r.ID, func(r *Run) (*StepRecord, error) {
			r.State, r.Ended, r.Order, r.Questions, r.Message = StateCancelled, g.now().UTC(), nil, nil, "cancelled by "+by
			return nil, nil
		})
		if err != nil {
			return err
		}
		return fmt.Errorf("%w: the run on %s was cancelled by %s", ErrRefused, r.Label, by)
	case r.State == StateCancelled && r.Order == nil:
		return fmt.Errorf("%w: the run on %s was cancelled: castpoint run retry %s has it go on", ErrRefused, r.Label, r.ID)
	case !r.State.Ended() && len(b.MACs) > 0 && len(r.MACs) > 0 && !slices.ContainsFunc(r.MACs, func(mac string) bool { return slices.Contains(b.MACs, mac) }) && g.now().Sub(r.Heard) < sameTime:
		return fmt.Errorf("%w: the run on %s is that of a machine with the cards %s, which was heard of at %s; this one has the same UUID, and none of these cards: put the UUID into devices-shared-uuids",
			ErrRefused, r.Label, strings.Join(r.MACs, " "), r.Heard.Local().Format(time.DateTime))
	}
	return nil
}

// resume goes on with a run: at the step that was ordered, else at the first one that
// is not over.
func (g *Register) resume(ctx context.Context, b *Begin, seq *sequence.Sequence, vars map[string]protocol.VariableValue, ticket string) (*protocol.Run, error) {
	steps, err := g.Steps(ctx, b.Offer.Run.ID)
	if err != nil {
		return nil, err
	}
	out := &protocol.Run{
		Deployment: b.Offer.Deployment.Name, Device: b.Device.Label(), Sequence: seq, Variables: vars, Resumed: true, After: b.Offer.Deployment.After,
	}
	err = g.update(ctx, b.Offer.Run.ID, func(r *Run) (*StepRecord, error) {
		key, err := g.Secrets.Unseal("run "+r.ID, r.Key)
		if err != nil {
			return nil, err
		}
		out.ID, out.StateKey, out.Ticket = r.ID, []byte(key), ticket
		if ticket == "" {
			out.Ticket, r.Ticket = runs.NewTicket()
		}
		out.Next, out.Interrupted = runs.Next(seq, steps)
		// A machine that comes back by itself, and not because somebody has ordered
		// it, waits after a failure. One that was only late goes on.
		if ticket != "" && r.State.Ended() && !r.Lost && !r.Retrying() {
			r.Ending = false
			r.Heard, r.Environment, r.Remote = g.now().UTC(), environment(b.Request.Environment), b.Remote
			out.Waits = true
			return nil, nil
		}
		if r.Retrying() {
			out.Next, out.Interrupted = r.Order.Path, false
		}
		if r.Order != nil && r.Order.Kind != protocol.OrderCancel { // which is still to be heard
			r.Order = nil
		}
		r.Questions, r.Fetched, r.Ending = nil, false, false
		r.State, r.Ended, r.Heard, r.Message, r.Advice = StateRunning, time.Time{}, g.now().UTC(), "", ""
		r.Environment, r.Remote, r.Into = environment(b.Request.Environment), b.Remote, ""
		if len(b.MACs) > 0 {
			r.MACs = b.MACs
		}
		r.Next, r.Until, r.Lost = "", time.Time{}, false
		return nil, nil
	})
	if err != nil {
		return nil, err
	}
	if out.Waits {
		g.tell(&b.Device, out.ID, false, "", "deployment "+out.Deployment+": the machine is back, and waits to be told to try again")
		return out, nil
	}
	where := "at its beginning"
	if l, err := seq.Leaf(out.Next); err == nil {
		where = fmt.Sprintf("at step %d, %s", l.Number, l.Step.Title())
	}
	g.tell(&b.Device, out.ID, false, "", "deployment "+out.Deployment+" goes on "+where)
	return out, nil
}

// How long a ticket is good after the end of its run: when that has failed, for being
// tried again; when it has succeeded, for an end that is told twice because the answer
// was lost.
const (
	ticketAfter        = 7 * 24 * time.Hour
	ticketAfterSuccess = 15 * time.Minute
)

// Authorized is the run that a ticket is of.
func (g *Register) Authorized(ticket string) (Run, bool) {
	g.mu.RLock()
	defer g.mu.RUnlock()
	e := g.tickets[runs.HashTicket(ticket)]
	if e == nil || ticket == "" {
		return Run{}, false
	}
	r := e.run
	after := ticketAfter
	if r.State == StateSucceeded {
		after = ticketAfterSuccess
	}
	if !r.Ended.IsZero() && g.over(e) > after {
		return Run{}, false
	}
	return *r, true
}

// over is for how long a run has ended: by the calendar when it ended in another process,
// whose clock may have been another. g.mu is held.
func (g *Register) over(e *runEntry) time.Duration {
	now := g.now()
	if !e.ended.IsZero() {
		return now.Sub(e.ended)
	}
	return max(now.Sub(e.run.Ended), now.Sub(g.since))
}

// update changes a run: f gets a copy, and a step that has changed is written with
// it.
func (g *Register) update(ctx context.Context, id string, f func(*Run) (*StepRecord, error)) error {
	g.mu.RLock()
	e := g.runs[id]
	g.mu.RUnlock()
	if e == nil {
		return fmt.Errorf("run %s: %w", id, named.ErrNotFound)
	}
	e.write.Lock()
	defer e.write.Unlock()
	g.mu.RLock()
	r := e.run.Clone()
	g.mu.RUnlock()
	oldTicket := r.Ticket
	step, err := f(r)
	if errors.Is(err, errInMemory) {
		err = nil
	} else if err == nil {
		err = g.write(ctx, r, step)
	}
	if err != nil {
		return err
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.runs[id] != e {
		return fmt.Errorf("run %s: %w", id, named.ErrNotFound) // a newer one has begun
	}
	if !r.Heard.Equal(e.run.Heard) {
		e.heard = g.now()
	}
	if !r.Ended.Equal(e.run.Ended) {
		e.ended = g.now()
	}
	e.run = r
	if r.Ticket != oldTicket {
		delete(g.tickets, oldTicket)
		g.tickets[r.Ticket] = e
	}
	if r.Order != nil {
		close(e.changed)
		e.changed = make(chan struct{})
	}
	return nil
}

// errInMemory says that a change is not worth the disk: how far a step is.
var errInMemory = errors.New("in memory")

func (g *Register) write(ctx context.Context, r *Run, step *StepRecord) error {
	row, err := r.Row()
	if err != nil {
		return err
	}
	var stepRow *store.RunStep
	if step != nil {
		body, err := json.Marshal(step)
		if err != nil {
			return err
		}
		stepRow = &store.RunStep{Run: r.ID, Path: step.Path, Number: step.Number, Body: body}
	}
	if err := g.cfg.Store.PutRun(ctx, row, stepRow); err != nil {
		return fmt.Errorf("run of %s: %w", r.Label, err)
	}
	return nil
}

// Tell records what somebody has done to a device.
func (g *Register) Tell(d *deploy.Device, by, message string) { g.tell(d, "", false, by, message) }

// tell records what has happened to a device, in a run unless it is "".
func (g *Register) tell(d *deploy.Device, run string, trouble bool, by, message string) {
	e := event.Event{Time: g.now().UTC(), UUID: d.UUID, Kind: event.KindStep, Trouble: trouble, Message: message, Details: event.Details{By: by}}
	if len(d.MACs) > 0 {
		e.MAC = d.MACs[0]
	}
	g.cfg.Note(e)
	fields := []zap.Field{zap.String("device", d.ID), zap.String("name", d.Label()), zap.String("mac", e.MAC), zap.String("note", message)}
	if run != "" {
		fields = append(fields, zap.String("run", run))
	}
	if by != "" {
		fields = append(fields, zap.String("by", by))
	}
	if trouble {
		g.log.Warn("trouble with a deployment", fields...)
		return
	}
	g.log.Info("deployment goes on", fields...)
}

func (g *Register) tellRun(r *Run, trouble bool, by, message string) {
	d, err := g.cfg.Devices.Get(r.Device)
	if err != nil {
		d = deploy.Device{ID: r.Device, Name: r.Label}
	}
	g.tell(&d, r.ID, trouble, by, message)
}

// Steps are what is known of the steps of a run.
func (g *Register) Steps(ctx context.Context, run string) ([]StepRecord, error) {
	rows, err := g.cfg.Store.RunSteps(ctx, run)
	if err != nil {
		return nil, fmt.Errorf("steps of run %s: %w", run, err)
	}
	list := make([]StepRecord, len(rows))
	for i, row := range rows {
		if err := json.Unmarshal(row.Body, &list[i]); err != nil {
			return nil, fmt.Errorf("step %s of run %s: %w", row.Path, run, err)
		}
	}
	runs.SortSteps(list)
	return list, nil
}
