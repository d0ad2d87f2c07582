package rollout

import (
	"context"
	"errors"
	"fmt"
	"time"

	"go.uber.org/zap"

	"castpoint/agent/protocol"
	"castpoint/deploy/runs"
	"castpoint/deploy/sequence"
)

// deadline is when the machine of a run that restarts has to be back. A server that
// was away could not hear it: its start begins the time anew.
// heard is that of the run's entry.
func (g *Register) deadline(r *Run, heard time.Time) time.Time {
	within := sequence.ReturnTime
	if !r.Until.IsZero() {
		within = r.Until.Sub(r.Heard)
	}
	from := g.since
	if heard.After(from) {
		from = heard
	}
	return from.Add(within)
}

// absence is for how long the machine of a run was not heard: by the calendar as long as
// it was heard by another process, whose clock may have been another.
func (g *Register) absence(r *Run, heard, now time.Time) time.Duration {
	if !heard.IsZero() {
		return now.Sub(heard)
	}
	return max(now.Sub(r.Heard), now.Sub(g.since))
}

// LoseDue fails the runs whose machines have not come back from a restart in time.
// They go on when they come back after all.
func (g *Register) LoseDue(ctx context.Context) {
	now := g.now()
	var due []string
	g.mu.RLock()
	for id, e := range g.runs {
		if e.run.State == StateRestarting && now.After(g.deadline(e.run, e.heard)) {
			due = append(due, id)
		}
	}
	g.mu.RUnlock()
	for _, id := range due {
		if err := g.lose(ctx, id, now); err != nil {
			g.log.Warn("run of a machine that has not come back", zap.String("run", id), zap.Error(err))
		}
	}
}

func (g *Register) lose(ctx context.Context, id string, now time.Time) error {
	var done Run
	g.mu.RLock()
	var heard time.Time
	if e := g.runs[id]; e != nil {
		heard = e.heard
	}
	g.mu.RUnlock()
	err := g.update(ctx, id, func(r *Run) (*StepRecord, error) {
		if r.State != StateRestarting || !now.After(g.deadline(r, heard)) {
			return nil, errBack
		}
		where := "the boot environment"
		r.Advice = "see whether it asks the network when it starts; it goes on when it comes back"
		if r.Into == sequence.RestartDisk {
			where = "the system on its disk"
			r.Advice = "look at its screen: its firmware may start something else, Windows may wait in its setup, or the system has no network; it goes on when it comes back, and castpoint run retry --step has it begin again from another step"
		}
		r.Message = fmt.Sprintf("the machine has not come back from its restart into %s within %s", where, g.absence(r, heard, now).Round(time.Second))
		if l, err := g.leafOf(r, r.Next); err == nil {
			r.Message += fmt.Sprintf("; it was to go on with step %d, %s", l.Number, l.Step.Title())
		}
		r.State, r.Ended, r.Lost = StateFailed, now.UTC(), true
		done = *r
		return nil, nil
	})
	if errors.Is(err, errBack) {
		return nil
	}
	if err != nil {
		return err
	}
	g.tellRun(&done, true, "", "deployment "+g.deploymentName(done.Deployment)+": "+string(StateFailed)+": "+done.Message)
	for _, f := range g.ended {
		f(done.Deployment)
	}
	return nil
}

// errBack says that a machine came back while its run was looked at.
var errBack = errors.New("the machine is back")

// leafOf is the step of a run with that path.
func (g *Register) leafOf(r *Run, path string) (sequence.Leaf, error) {
	seq, err := g.OfferSequence(&Offer{Deployment: Deployment{Sequence: r.Sequence}, Run: r})
	if err != nil {
		return sequence.Leaf{}, err
	}
	return seq.Leaf(path)
}

// onDisk says whether a run goes on in the system on the machine's disk, which then
// must not boot from the network. A step that was ordered says it by its place: what
// comes after the restart into the disk runs there.
func (g *Register) onDisk(r *Run) bool {
	if r.Order == nil || r.Order.Path == "" {
		return r.OnDisk()
	}
	l, err := g.leafOf(r, r.Order.Path)
	return err == nil && r.DiskFrom > 0 && l.Number >= r.DiskFrom
}

// restarts notes that the machine of a run restarts, and when it has to be back.
func (g *Register) restarts(r *Run, e *protocol.RunEnd) {
	within := sequence.ReturnTime
	if e.Within > 0 {
		within = time.Duration(e.Within) * time.Second
	}
	r.Into, r.Next, r.Until, r.DiskFrom = environment(e.Into), runs.Line(e.Path), r.Heard.Add(within), 0
	if l, err := g.leafOf(r, r.Next); err == nil && r.Into == sequence.RestartDisk {
		r.DiskFrom = l.Number
	}
}
