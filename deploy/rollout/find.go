package rollout

import (
	"context"
	"errors"
	"fmt"
	"maps"

	"castpoint/deploy"
	"castpoint/deploy/named"
	"castpoint/deploy/runs"
	"castpoint/internal/store"
)

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
				err = fmt.Errorf("%w: there is no run %q, and no device of that name", named.ErrNotFound, id)
			}
			return Run{}, nil, err
		}
		if r, err = runs.Of(&row); err != nil {
			return Run{}, nil, err
		}
	}
	steps, err := g.Steps(ctx, r.ID)
	return r.Shown(g.now()), steps, err
}

// LastRun is the last run of a device, in whichever deployment.
func (g *Register) LastRun(device string) (Run, error) {
	d, err := g.cfg.Devices.Find(device)
	if err != nil {
		return Run{}, err
	}
	g.mu.RLock()
	defer g.mu.RUnlock()
	var best *runEntry
	for _, e := range g.last[d.ID] {
		if best == nil || e.order > best.order { // not by time: clocks are set
			best = e
		}
	}
	if best == nil {
		return Run{}, fmt.Errorf("%w: device %s has run no deployment", named.ErrNotFound, d.Label())
	}
	return best.run.Shown(g.now()), nil
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
		r, err := runs.Of(&rows[i])
		if err != nil {
			return nil, fmt.Errorf("run %s: %w", rows[i].ID, err)
		}
		g.mu.RLock()
		if e := g.runs[r.ID]; e != nil {
			r = e.run // newer: how far a step is stays in memory
		}
		g.mu.RUnlock()
		list = append(list, r.Shown(g.now()))
	}
	return list, nil
}

// Progress are the last runs of a deployment by device, and the devices that it is to
// run on again.
func (g *Register) Progress(deployment string) (runs map[string]Run, again map[string]bool) {
	now := g.now()
	runs = make(map[string]Run)
	g.mu.RLock()
	defer g.mu.RUnlock()
	for _, e := range g.runs {
		if e.run.Deployment == deployment {
			runs[e.run.Device] = e.run.Shown(now)
		}
	}
	return runs, maps.Clone(g.onceMore[deployment])
}
