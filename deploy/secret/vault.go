package secret

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	"castpoint/deploy/named"
	"castpoint/deploy/sequence"
	"castpoint/internal/store"
)

// Owner is whose a secret is.
type Owner struct{ Scope, ID string }

// Scopes of secrets.
const (
	scopeCollection = "collection"
	scopeDevice     = "device"
)

// OfCollection and OfDevice are owners by their ids.
func OfCollection(id string) Owner { return Owner{scopeCollection, id} }

// OfDevice is a device that owns secrets.
func OfDevice(id string) Owner { return Owner{scopeDevice, id} }

// place is what a secret is sealed for.
func (o Owner) place(name string) string { return o.Scope + " " + o.ID + " " + name }

// Vault has all secrets. Its methods are safe for concurrent use.
type Vault struct {
	store  *store.Store
	sealer *sealer

	edit sync.Mutex // held while a secret is written

	mu     sync.RWMutex
	sealed map[Owner]map[string][]byte
}

// Open reads the secrets of a store. The key is in the data folder, where it is made
// when there is none.
func Open(ctx context.Context, s *store.Store, data string) (*Vault, error) {
	if s == nil || data == "" {
		return nil, errors.New("secret: a store and a data folder are needed")
	}
	v := &Vault{store: s, sealed: make(map[Owner]map[string][]byte)}
	var err error
	if v.sealer, err = openKey(data); err != nil {
		return nil, err
	}
	rows, err := s.Secrets(ctx)
	if err != nil {
		return nil, fmt.Errorf("read secret variables: %w", err)
	}
	for _, row := range rows {
		v.keep(Owner{row.Scope, row.Owner}, row.Name, row.Sealed)
	}
	return v, nil
}

func (v *Vault) keep(o Owner, name string, sealed []byte) {
	if v.sealed[o] == nil {
		v.sealed[o] = make(map[string][]byte)
	}
	v.sealed[o][name] = sealed
}

// Seal seals a text for a place: it cannot be opened for another one.
func (v *Vault) Seal(place, text string) []byte { return v.sealer.seal(place, text) }

// Unseal opens what was sealed for a place.
func (v *Vault) Unseal(place string, sealed []byte) (string, error) {
	return v.sealer.open(place, sealed)
}

// Set sets a secret; "" takes it away.
func (v *Vault) Set(ctx context.Context, o Owner, name, value string) error {
	if err := sequence.CheckVariable(name); err != nil {
		return err
	}
	if len(value) > sequence.MaxValue {
		return named.Invalid("secret %s: want at most %d bytes", name, sequence.MaxValue)
	}
	row := store.Secret{Scope: o.Scope, Owner: o.ID, Name: name}
	if value != "" {
		row.Sealed = v.Seal(o.place(name), value)
	}
	v.edit.Lock()
	defer v.edit.Unlock()
	if err := v.store.PutSecret(ctx, row); err != nil {
		return fmt.Errorf("secret %s: %w", name, err)
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	if value == "" {
		delete(v.sealed[o], name)
	} else {
		v.keep(o, name, row.Sealed)
	}
	return nil
}

// Drop deletes all secrets of an owner that is no more.
func (v *Vault) Drop(ctx context.Context, o Owner) error {
	v.edit.Lock()
	defer v.edit.Unlock()
	if err := v.store.PutSecret(ctx, store.Secret{Scope: o.Scope, Owner: o.ID}); err != nil {
		return fmt.Errorf("remove secrets: %w", err)
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	delete(v.sealed, o)
	return nil
}

// Names are the names of an owner's secrets.
func (v *Vault) Names(o Owner) []string {
	v.mu.RLock()
	defer v.mu.RUnlock()
	var names []string
	for name := range v.sealed[o] {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// Values are the secrets of an owner, by name.
func (v *Vault) Values(o Owner) (map[string]string, error) {
	v.mu.RLock()
	sealed := make(map[string][]byte, len(v.sealed[o]))
	for name, b := range v.sealed[o] {
		sealed[name] = b
	}
	v.mu.RUnlock()
	plain := make(map[string]string, len(sealed))
	for name, b := range sealed {
		value, err := v.Unseal(o.place(name), b)
		if err != nil {
			return nil, err
		}
		plain[name] = value
	}
	return plain, nil
}
