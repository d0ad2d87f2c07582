package rollout

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"go.uber.org/zap"

	"castpoint/deploy/collection"
	"castpoint/deploy/named"
	"castpoint/deploy/runs"
	"castpoint/deploy/secret"
	"castpoint/internal/store"
)

// Deployments are all of them, by name.
func (g *Register) Deployments() []Deployment {
	g.mu.RLock()
	defer g.mu.RUnlock()
	list := make([]Deployment, 0, len(g.deployments))
	for _, d := range g.deployments {
		list = append(list, *d)
	}
	slices.SortFunc(list, func(a, b Deployment) int { return strings.Compare(strings.ToLower(a.Name), strings.ToLower(b.Name)) })
	return list
}

// Deployment finds one by id or name.
func (g *Register) Deployment(text string) (Deployment, error) {
	g.mu.RLock()
	defer g.mu.RUnlock()
	d, err := named.Find(g.deployments, text, func(d *Deployment) string { return d.ID }, func(d *Deployment) string { return d.Name })
	if err != nil {
		return Deployment{}, fmt.Errorf("deployment: %w", err)
	}
	return *d, nil
}

// PutDeployment makes a deployment, when want has no ID, or replaces one. password,
// when not nil, is the new PXE password; "" takes it away. confirm is the number of
// devices that somebody has confirmed, 0 for nobody. ErrSize: it is required, and
// for more devices than that.
func (g *Register) PutDeployment(ctx context.Context, want Deployment, password *string, confirm int, by string) (Deployment, error) {
	d := want
	if err := d.normalize(); err != nil {
		return Deployment{}, fmt.Errorf("deployment: %w", err)
	}
	g.edit.Lock()
	defer g.edit.Unlock()
	c, err := g.Collections.Get(d.Collection)
	if err != nil {
		return Deployment{}, err
	}
	s, err := g.Sequences.Get(d.Sequence, 0)
	if err != nil {
		return Deployment{}, err
	}
	d.Collection, d.Sequence, d.Changed = c.ID, s.Name, g.now().UTC()
	d.Start, d.End = d.Start.UTC(), d.End.UTC() // of the calendar alone: clocks are set
	if d.ID == "" {
		d.ID, d.Created, d.By, d.ConfirmedSize, d.PasswordHash = named.NewID(), d.Changed, by, 0, ""
	} else {
		old, err := g.Deployment(d.ID)
		if err != nil {
			return Deployment{}, err
		}
		d.Created, d.By, d.PasswordHash = old.Created, old.By, old.PasswordHash
		if d.ConfirmedSize = old.ConfirmedSize; d.Collection != old.Collection {
			d.ConfirmedSize = 0 // it was confirmed for others
		}
	}
	if password != nil {
		if d.PasswordHash, err = secret.HashPassword(*password); err != nil {
			return Deployment{}, err
		}
	}
	d.Password = d.PasswordHash != ""
	d.ConfirmedSize = max(d.ConfirmedSize, confirm)
	if err := g.checkSize(&d, &c, false); err != nil && !d.Disabled {
		return Deployment{}, err
	}
	if err := named.Put(ctx, g.cfg.Store, store.TableDeployments, d.ID, d.Name, d.Changed, record{d, d.PasswordHash}); err != nil {
		return Deployment{}, err
	}
	g.mu.Lock()
	g.deployments[d.ID] = &d
	g.mu.Unlock()
	g.log.Info("deployment changed", zap.String("deployment", d.Name), zap.String("sequence", d.Sequence), zap.String("collection", c.Name),
		zap.String("purpose", string(d.Purpose)), zap.Bool("disabled", d.Disabled), zap.String("by", by))
	return d, nil
}

// checkSize refuses a required deployment for more devices than somebody confirmed.
// Machines that were not on record count when they have begun it; stranger says that it
// is asked about one more of them.
func (g *Register) checkSize(d *Deployment, c *collection.Collection, stranger bool) error {
	if d.Purpose != Required {
		return nil
	}
	n := g.Collections.Size(c) + g.strangers(d, c)
	if stranger {
		n++
	}
	if n > max(d.MaxSize, d.ConfirmedSize) {
		return fmt.Errorf("%w: collection %s has %d devices, and a required deployment may be for %d: --confirm-size %d says that all of them are meant",
			ErrSize, c.Name, n, max(d.MaxSize, d.ConfirmedSize), n)
	}
	return nil
}

// strangers is how many devices have begun a deployment for machines that are not on
// record. They are on record since, and not in its collection any more.
func (g *Register) strangers(d *Deployment, c *collection.Collection) (n int) {
	if !slices.ContainsFunc(c.Rules, func(r collection.MemberRule) bool { return r.Unknown }) {
		return 0
	}
	var devices []string
	g.mu.RLock()
	for device, by := range g.last {
		if by[d.ID] != nil {
			devices = append(devices, device)
		}
	}
	g.mu.RUnlock()
	for _, id := range devices {
		one, err := g.cfg.Devices.Get(id)
		if err != nil {
			continue
		}
		if v, _ := c.Holds(&collection.Machine{Device: &one}); v == collection.No {
			n++
		}
	}
	return n
}

// RemoveDeployment deletes a deployment with the history of its runs. ErrInUse: a
// device is in the middle of it; cancel the run first.
func (g *Register) RemoveDeployment(ctx context.Context, text string) error {
	d, err := g.Deployment(text)
	if err != nil {
		return err
	}
	g.edit.Lock()
	defer g.edit.Unlock()
	now := g.now()
	g.mu.RLock()
	for _, e := range g.runs {
		if r := e.run; r.Deployment == d.ID && !r.State.Ended() && now.Sub(r.Heard) < runs.LateTime {
			g.mu.RUnlock()
			return fmt.Errorf("deployment %s %w: %s is running it; castpoint run cancel %s", d.Name, named.ErrInUse, r.Label, r.ID)
		}
	}
	g.mu.RUnlock()
	if err := g.cfg.Store.DeleteNamed(ctx, store.TableDeployments, d.ID); err != nil {
		return fmt.Errorf("remove deployment %s: %w", d.Name, err)
	}
	if err := g.cfg.Store.DeleteAgain(ctx, d.ID, ""); err != nil {
		return fmt.Errorf("remove deployment %s: %w", d.Name, err)
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	delete(g.deployments, d.ID)
	delete(g.onceMore, d.ID)
	delete(g.refusals, d.ID)
	for _, e := range g.runs {
		if e.run.Deployment == d.ID {
			g.drop(e)
		}
	}
	return nil
}

// Again has a deployment run once more on devices, whatever its rerun says. It says
// on which.
func (g *Register) Again(ctx context.Context, deployment string, devices []string, by string) ([]string, error) {
	d, err := g.Deployment(deployment)
	if err != nil {
		return nil, err
	}
	g.edit.Lock()
	defer g.edit.Unlock()
	var rows []store.Again
	var labels []string
	c, err := g.Collections.Get(d.Collection)
	if err != nil {
		return nil, err
	}
	for _, text := range devices {
		one, err := g.cfg.Devices.Find(text)
		if err != nil {
			return nil, err
		}
		switch v, _ := c.Holds(&collection.Machine{Device: &one}); {
		case one.Protected:
			return nil, fmt.Errorf("%w: device %s is protected: nothing is deployed to it", ErrRefused, one.Label())
		case v == collection.No:
			return nil, named.Invalid("device %s is not in collection %s, which deployment %s is for", one.Label(), c.Name, d.Name)
		}
		rows = append(rows, store.Again{Deployment: d.ID, Device: one.ID, By: by, Time: g.now().UTC()})
		labels = append(labels, one.Label())
	}
	if len(rows) == 0 {
		return nil, named.Invalid("say on which devices it is to run again")
	}
	if err := g.cfg.Store.PutAgain(ctx, rows...); err != nil {
		return nil, fmt.Errorf("deploy again: %w", err)
	}
	g.mu.Lock()
	for _, row := range rows {
		g.flag(row.Deployment, row.Device)
	}
	g.mu.Unlock()
	for _, row := range rows {
		if one, err := g.cfg.Devices.Get(row.Device); err == nil {
			g.tell(&one, "", false, by, "deployment "+d.Name+" runs again at its next network boot")
		}
	}
	return labels, nil
}
