package collection

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"go.uber.org/zap"

	"castpoint/deploy"
	"castpoint/deploy/named"
	"castpoint/deploy/secret"
	"castpoint/internal/store"
)

// Config is what Collections needs.
type Config struct {
	Store   *store.Store     // required
	Devices *deploy.Devices  // required
	Secrets *secret.Vault    // required
	Now     func() time.Time // nil: the system's clock
	Log     *zap.Logger
}

// Collections are those of a distribution point. Its methods are safe for concurrent
// use.
type Collections struct {
	cfg Config
	log *zap.Logger

	edit sync.Mutex // held while a collection is written

	mu    sync.RWMutex
	all   map[string]*Collection // by id; replaced, never changed
	sizes map[string]sizeAt      // for a moment
}

// Open reads the collections of a store.
func Open(ctx context.Context, cfg Config) (*Collections, error) {
	if cfg.Store == nil || cfg.Devices == nil || cfg.Secrets == nil {
		return nil, errors.New("collection: a store, devices and secrets are needed")
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Log == nil {
		cfg.Log = zap.NewNop()
	}
	s := &Collections{cfg: cfg, log: cfg.Log, all: make(map[string]*Collection), sizes: make(map[string]sizeAt)}
	rows, err := cfg.Store.AllNamed(ctx, store.TableCollections)
	if err != nil {
		return nil, fmt.Errorf("read collections: %w", err)
	}
	for _, row := range rows {
		c := &Collection{}
		err := json.Unmarshal(row.Body, c)
		if err == nil {
			err = c.normalize()
		}
		if err != nil {
			return nil, fmt.Errorf("read collection %s: %w", row.Name, err)
		}
		s.all[c.ID] = c
	}
	return s, nil
}

// All are all of them, by name, with the names of their secrets.
func (s *Collections) All() []Collection {
	s.mu.RLock()
	list := make([]Collection, 0, len(s.all))
	for _, c := range s.all {
		list = append(list, *c.clone())
	}
	s.mu.RUnlock()
	for i := range list {
		list[i].Secrets = s.cfg.Secrets.Names(secret.OfCollection(list[i].ID))
	}
	slices.SortFunc(list, func(a, b Collection) int { return strings.Compare(strings.ToLower(a.Name), strings.ToLower(b.Name)) })
	return list
}

// Get finds one by id or name.
func (s *Collections) Get(text string) (Collection, error) {
	s.mu.RLock()
	c, err := named.Find(s.all, text, func(c *Collection) string { return c.ID }, func(c *Collection) string { return c.Name })
	s.mu.RUnlock()
	if err != nil {
		return Collection{}, fmt.Errorf("collection: %w", err)
	}
	return s.shown(c), nil
}

func (s *Collections) shown(c *Collection) Collection {
	n := c.clone()
	n.Secrets = s.cfg.Secrets.Names(secret.OfCollection(c.ID))
	return *n
}

// ByID is the one with an id, which the caller must not change; nil for none.
func (s *Collections) ByID(id string) *Collection {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.all[id]
}

// Put makes a collection, when want has no ID, or replaces one. Its secrets stay.
// Devices and Except may name devices in any way that people do.
func (s *Collections) Put(ctx context.Context, want Collection) (Collection, error) {
	c := want.clone()
	c.Changed, c.Secrets = s.cfg.Now().UTC(), nil
	if c.ID == "" {
		c.ID = named.NewID()
	}
	for _, list := range []*[]string{&c.Devices, &c.Except} {
		for i, text := range *list {
			d, err := s.cfg.Devices.Find(text)
			if err != nil {
				return Collection{}, fmt.Errorf("%w: collection %s: %w", named.ErrInvalid, c.Name, err)
			}
			(*list)[i] = d.ID
		}
	}
	if err := c.normalize(); err != nil {
		return Collection{}, fmt.Errorf("collection: %w", err)
	}
	s.edit.Lock()
	defer s.edit.Unlock()
	if err := named.Put(ctx, s.cfg.Store, store.TableCollections, c.ID, c.Name, c.Changed, c); err != nil {
		return Collection{}, err
	}
	s.mu.Lock()
	s.all[c.ID] = c
	delete(s.sizes, c.ID)
	s.mu.Unlock()
	s.log.Info("collection changed", zap.String("collection", c.Name), zap.Int("devices", len(c.Devices)), zap.Int("rules", len(c.Rules)))
	return s.shown(c), nil
}

// Remove deletes a collection and its secrets. That nothing is deployed to it is the
// caller's to know.
func (s *Collections) Remove(ctx context.Context, id string) error {
	s.edit.Lock()
	defer s.edit.Unlock()
	c := s.ByID(id)
	if c == nil {
		return fmt.Errorf("collection: %w: %q", named.ErrNotFound, id)
	}
	if err := s.cfg.Store.DeleteNamed(ctx, store.TableCollections, id); err != nil {
		return fmt.Errorf("remove collection %s: %w", c.Name, err)
	}
	if err := s.cfg.Secrets.Drop(ctx, secret.OfCollection(id)); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.all, id)
	return nil
}

// SetSecret sets a secret variable of a collection; "" takes it away.
func (s *Collections) SetSecret(ctx context.Context, text, name, value string) error {
	c, err := s.Get(text)
	if err != nil {
		return err
	}
	return s.cfg.Secrets.Set(ctx, secret.OfCollection(c.ID), name, value)
}

// Members are the devices of a collection, those that are protected among them, and
// how many cannot be told yet because their inventory is missing.
func (s *Collections) Members(text string) (list []deploy.Device, untold int, err error) {
	c, err := s.Get(text)
	if err != nil {
		return nil, 0, err
	}
	list = s.cfg.Devices.Where(func(d *deploy.Device) bool {
		v, _ := c.Holds(&Machine{Device: d})
		if v == Maybe {
			untold++
		}
		return v == Yes
	})
	return list, untold, nil
}

// EachMember shows the devices of a collection to f, as deploy.Devices.Each does.
func (s *Collections) EachMember(text string, f func(*deploy.Device)) (untold int, err error) {
	c, err := s.Get(text)
	if err != nil {
		return 0, err
	}
	s.cfg.Devices.Each(func(d *deploy.Device) {
		switch v, _ := c.Holds(&Machine{Device: d}); v {
		case Yes:
			f(d)
		case Maybe:
			untold++
		}
	})
	return untold, nil
}

// Of are the collections that a device is in, by name, and the one with the id last,
// which is the last of the list whether the device is in it or not. The caller must
// not change them.
func (s *Collections) Of(device *deploy.Device, last string) []*Collection {
	s.mu.RLock()
	all := make([]*Collection, 0, len(s.all))
	for _, c := range s.all {
		all = append(all, c)
	}
	s.mu.RUnlock()
	list := slices.DeleteFunc(all, func(c *Collection) bool {
		v, _ := c.Holds(&Machine{Device: device})
		return v != Yes && c.ID != last
	})
	slices.SortFunc(list, func(a, b *Collection) int {
		if (a.ID == last) != (b.ID == last) {
			return map[bool]int{true: 1, false: -1}[a.ID == last]
		}
		return strings.Compare(strings.ToLower(a.Name), strings.ToLower(b.Name))
	})
	return list
}

// sizeAt is how many devices a collection had at a time.
type sizeAt struct {
	n  int
	at time.Time
}

// sizeLife is how long a count of devices is good for decisions.
const sizeLife = 10 * time.Second

// Size is how many devices that are not protected a collection has, as of a moment
// ago.
func (s *Collections) Size(c *Collection) int {
	now := s.cfg.Now()
	s.mu.RLock()
	known, ok := s.sizes[c.ID]
	s.mu.RUnlock()
	if ok && now.Sub(known.at) < sizeLife {
		return known.n
	}
	n := 0
	s.cfg.Devices.Each(func(d *deploy.Device) {
		if v, _ := c.Holds(&Machine{Device: d}); v == Yes && !d.Protected {
			n++
		}
	})
	s.mu.Lock()
	s.sizes[c.ID] = sizeAt{n, now}
	s.mu.Unlock()
	return n
}
