package rollout

import (
	"context"
	"fmt"
	"slices"

	"castpoint/deploy/sequence"
	"castpoint/internal/store"
)

// keepSecret takes a sealed secret into memory.
func (g *Register) keepSecret(o owner, name string, sealed []byte) {
	if g.secrets[o] == nil {
		g.secrets[o] = make(map[string][]byte)
	}
	g.secrets[o][name] = sealed
}

func (o owner) place(name string) string { return o.scope + " " + o.id + " " + name }

// SetCollectionSecret sets a secret variable of a collection; "" takes it away.
func (g *Register) SetCollectionSecret(ctx context.Context, collection, name, value string) error {
	c, err := g.Collection(collection)
	if err != nil {
		return err
	}
	return g.setSecret(ctx, owner{scopeCollection, c.ID}, name, value)
}

// SetDeviceSecret sets a secret variable of a device; "" takes it away.
func (g *Register) SetDeviceSecret(ctx context.Context, device, name, value string) error {
	d, err := g.cfg.Devices.Find(device)
	if err != nil {
		return err
	}
	return g.setSecret(ctx, owner{scopeDevice, d.ID}, name, value)
}

// DeviceSecrets are the names of a device's secret variables.
func (g *Register) DeviceSecrets(device string) []string {
	g.mu.RLock()
	defer g.mu.RUnlock()
	var names []string
	for name := range g.secrets[owner{scopeDevice, device}] {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

func (g *Register) setSecret(ctx context.Context, o owner, name, value string) error {
	if err := sequence.CheckVariable(name); err != nil {
		return err
	}
	if len(value) > sequence.MaxValue {
		return invalid("secret %s: want at most %d bytes", name, sequence.MaxValue)
	}
	row := store.Secret{Scope: o.scope, Owner: o.id, Name: name}
	if value != "" {
		row.Sealed = g.sealer.seal(o.place(name), value)
	}
	g.edit.Lock()
	defer g.edit.Unlock()
	if err := g.cfg.Store.PutSecret(ctx, row); err != nil {
		return fmt.Errorf("secret %s: %w", name, err)
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if value == "" {
		delete(g.secrets[o], name)
	} else {
		g.keepSecret(o, name, row.Sealed)
	}
	return nil
}

// dropSecrets deletes all secrets of an owner that is no more. edit is held.
func (g *Register) dropSecrets(ctx context.Context, o owner) error {
	if err := g.cfg.Store.PutSecret(ctx, store.Secret{Scope: o.scope, Owner: o.id}); err != nil {
		return fmt.Errorf("remove secrets: %w", err)
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	delete(g.secrets, o)
	return nil
}

// Forget deletes what belongs to a device that is off the record: its secrets and
// flags. Its runs stay, as history.
func (g *Register) Forget(ctx context.Context, device string) error {
	g.edit.Lock()
	defer g.edit.Unlock()
	if err := g.dropSecrets(ctx, owner{scopeDevice, device}); err != nil {
		return err
	}
	g.mu.Lock()
	var flagged []string
	for deployment, devices := range g.onceMore {
		if devices[device] {
			delete(devices, device)
			flagged = append(flagged, deployment)
		}
	}
	g.mu.Unlock()
	for _, deployment := range flagged {
		if err := g.cfg.Store.DeleteAgain(ctx, deployment, device); err != nil {
			return fmt.Errorf("forget device %s: %w", device, err)
		}
	}
	return nil
}

// opened are the secrets of an owner. mu is not held.
func (g *Register) opened(o owner) (map[string]string, error) {
	g.mu.RLock()
	sealed := make(map[string][]byte, len(g.secrets[o]))
	for name, b := range g.secrets[o] {
		sealed[name] = b
	}
	g.mu.RUnlock()
	plain := make(map[string]string, len(sealed))
	for name, b := range sealed {
		value, err := g.sealer.open(o.place(name), b)
		if err != nil {
			return nil, err
		}
		plain[name] = value
	}
	return plain, nil
}
