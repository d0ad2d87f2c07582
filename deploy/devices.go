package deploy

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"go.uber.org/zap"

	"castpoint/boot"
	"castpoint/internal/event"
	"castpoint/internal/store"
)

// Config is what Devices need.
type Config struct {
	Store   *store.Store // required
	Unknown Policy       // "" is PolicyServe
	// SharedMACs are MACs, or beginnings of MACs, that identify no machine.
	SharedMACs []string
	// SharedUUIDs are UUIDs that many machines have, beside those that are known.
	SharedUUIDs []string
	// Note is told what happens to records; nil when nobody cares. It must not
	// wait.
	Note func(event.Event)
	// Steady says whether the clock may be believed: until then no record goes for its
	// age. nil: always.
	Steady func() bool
	Log    *zap.Logger
}

// Tuning.
const (
	flushEvery   = 2 * time.Second     // sightings are written so late
	maxWaiting   = 10_000              // devices that wait for approval
	waitingLife  = 30 * 24 * time.Hour // since it was seen last; then its record goes
	expireEvery  = time.Hour
	conflictLife = time.Hour // before a contradiction is told again
	maxConflicts = 1024      // contradictions that are remembered
)

// Devices are all devices on record. Close writes what was seen last.
type Devices struct {
	cfg  Config
	log  *zap.Logger
	now  func() time.Time
	stop chan struct{}
	done sync.WaitGroup
	once sync.Once

	edit sync.Mutex // held while the database is written

	mu        sync.RWMutex // guards what follows; never held while the disk works
	index     *index
	dirty     map[string]bool // ids whose sightings are not written yet
	waiting   int
	full      bool                 // told that no more can wait
	conflicts map[string]time.Time // told, by what they are about
}

// Open reads the devices of a store.
func Open(ctx context.Context, cfg Config) (*Devices, error) {
	if cfg.Store == nil {
		return nil, errors.New("devices: no store given")
	}
	if cfg.Unknown == "" {
		cfg.Unknown = PolicyServe
	}
	if err := cfg.Unknown.check(); err != nil {
		return nil, err
	}
	if cfg.Log == nil {
		cfg.Log = zap.NewNop()
	}
	if cfg.Note == nil {
		cfg.Note = func(event.Event) {}
	}
	d := &Devices{cfg: cfg, log: cfg.Log, now: time.Now, stop: make(chan struct{}), dirty: make(map[string]bool), conflicts: make(map[string]time.Time)}
	var err error
	if d.index, err = newIndex(cfg.SharedMACs, cfg.SharedUUIDs); err != nil {
		return nil, fmt.Errorf("devices: %w", err)
	}
	rows, err := cfg.Store.Devices(ctx)
	if err != nil {
		return nil, fmt.Errorf("read devices: %w", err)
	}
	for i := range rows {
		one, err := fromRow(&rows[i])
		if err != nil {
			return nil, fmt.Errorf("read device %s: %w", rows[i].ID, err)
		}
		d.index.add(one)
		if one.State == StateWaiting {
			d.waiting++
		}
	}
	d.done.Go(d.routineFlush)
	return d, nil
}

// Reload takes the policy and the lists of shared addresses of other settings. When
// they are wrong, nothing changes.
func (d *Devices) Reload(cfg Config) error {
	if cfg.Unknown == "" {
		cfg.Unknown = PolicyServe
	}
	if err := cfg.Unknown.check(); err != nil {
		return err
	}
	fresh, err := newIndex(cfg.SharedMACs, cfg.SharedUUIDs)
	if err != nil {
		return fmt.Errorf("devices: %w", err)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, one := range d.index.byID {
		fresh.add(one)
	}
	d.index, d.cfg.Unknown = fresh, cfg.Unknown
	return nil
}

// Close writes the last sightings and ends the work in the background.
func (d *Devices) Close() error {
	d.once.Do(func() { close(d.stop) })
	d.done.Wait()
	return d.flush()
}

func fromRow(r *store.Device) (*Device, error) {
	one := &Device{
		ID: r.ID, Name: r.Name, UUID: r.UUID, MACs: r.MACs, State: State(r.State), Protected: r.Protected, Notes: r.Notes,
		Groups: r.Groups, Variables: r.Variables, Created: r.Created, FirstSeen: r.FirstSeen, LastSeen: r.LastSeen,
	}
	err := json.Unmarshal(r.Settings, &one.Boot)
	err = errors.Join(err, json.Unmarshal(r.Seen, &one.Seen))
	if r.Inventory != nil {
		err = errors.Join(err, json.Unmarshal(r.Inventory, &one.Inventory))
	}
	if err == nil {
		one.change, err = boot.ParseChange(one.Boot.Settings)
	}
	return one, err
}

func (d *Device) row() (store.Device, error) {
	r := store.Device{
		ID: d.ID, Name: d.Name, UUID: d.UUID, MACs: d.MACs, State: string(d.State), Protected: d.Protected, Notes: d.Notes,
		Groups: d.Groups, Variables: d.Variables, Created: d.Created, FirstSeen: d.FirstSeen, LastSeen: d.LastSeen,
	}
	var err, seenErr, inventoryErr error
	r.Settings, err = json.Marshal(d.Boot)
	r.Seen, seenErr = json.Marshal(d.Seen)
	if d.Inventory != nil {
		r.Inventory, inventoryErr = json.Marshal(d.Inventory)
	}
	return r, errors.Join(err, seenErr, inventoryErr)
}

// put writes devices as they are in memory now. edit is held.
func (d *Devices) put(ctx context.Context, ids ...string) error {
	var rows []store.Device
	d.mu.Lock()
	for _, id := range ids {
		if one := d.index.byID[id]; one != nil {
			row, err := one.clone().row()
			if err != nil {
				d.mu.Unlock()
				return fmt.Errorf("device %s: %w", one.Label(), err)
			}
			rows = append(rows, row)
		}
		delete(d.dirty, id)
	}
	d.mu.Unlock()
	if len(rows) == 0 {
		return nil
	}
	if err := d.cfg.Store.PutDevices(ctx, rows...); err != nil {
		d.mu.Lock()
		for _, id := range ids {
			d.dirty[id] = true
		}
		d.mu.Unlock()
		return err
	}
	return nil
}

// flush writes the sightings.
func (d *Devices) flush() error {
	d.edit.Lock()
	defer d.edit.Unlock()
	d.mu.RLock()
	var ids []string
	for id := range d.dirty {
		ids = append(ids, id)
	}
	d.mu.RUnlock()
	return d.put(context.Background(), ids...)
}

func (d *Devices) routineFlush() {
	tick := time.NewTicker(flushEvery)
	defer tick.Stop()
	expire := time.NewTicker(expireEvery)
	defer expire.Stop()
	for {
		select {
		case <-d.stop:
			return
		case <-expire.C:
			d.expire()
			continue
		case <-tick.C:
		}
		if err := d.flush(); err != nil {
			d.log.Error("sightings of devices not written", zap.Error(err))
		}
	}
}

// expire takes devices off the record that nobody has approved.
func (d *Devices) expire() {
	if d.cfg.Steady != nil && !d.cfg.Steady() {
		return
	}
	for _, one := range d.expired(d.now()) {
		if err := d.Remove(context.Background(), one.ID, ""); err != nil {
			d.log.Error("device not taken off the record", zap.String("device", one.ID), zap.String("name", one.Label()), zap.Error(err))
		}
	}
}

func newID() string {
	var b [5]byte
	_, _ = rand.Read(b[:]) // never fails: see its documentation
	return hex.EncodeToString(b[:])
}

// Add puts a device on record. Of want, ID and times are made here; State may be
// left out.
func (d *Devices) Add(ctx context.Context, want Device, by string) (Device, error) {
	one := want.clone()
	one.ID, one.Created = newID(), d.now().UTC()
	one.FirstSeen, one.LastSeen, one.Seen = time.Time{}, time.Time{}, Sight{}
	if one.State == "" {
		one.State = StateKnown
	}
	if err := one.normalize(); err != nil {
		return Device{}, err
	}
	d.edit.Lock()
	defer d.edit.Unlock()
	if err := d.insert(one); err != nil {
		return Device{}, err
	}
	if err := d.put(ctx, one.ID); err != nil {
		d.drop(one)
		return Device{}, err
	}
	d.tell(one, by, "put on record as "+string(one.State))
	return *one.clone(), nil
}

// insert adds a device in memory, when nothing of it is taken.
func (d *Devices) insert(one *Device) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.index.clash(one); err != nil {
		return err
	}
	d.index.add(one)
	d.count(one.State, 1)
	return nil
}

func (d *Devices) drop(one *Device) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if now := d.index.byID[one.ID]; now != nil {
		d.index.remove(now)
		d.count(now.State, -1)
	}
	delete(d.dirty, one.ID)
}

// count keeps the number of those that wait. mu is held.
func (d *Devices) count(s State, n int) {
	if s == StateWaiting {
		d.waiting += n
		d.full = d.full && d.waiting >= maxWaiting
	}
}

// Change changes a device; what says what was done, for its timeline. A protected
// one is changed by hand only.
func (d *Devices) Change(ctx context.Context, id, by, what string, change func(*Device) error) (Device, error) {
	d.edit.Lock()
	defer d.edit.Unlock()
	old, now, err := d.replace(id, change)
	if err != nil {
		return Device{}, err
	}
	if err := d.put(ctx, id); err != nil {
		_, _, backErr := d.replace(id, func(one *Device) error { *one = *old.clone(); return nil })
		return Device{}, errors.Join(err, backErr)
	}
	d.tell(now, by, what)
	return *now, nil
}

// replace changes a device in memory.
func (d *Devices) replace(id string, change func(*Device) error) (old, now *Device, err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	old = d.index.byID[id]
	if old == nil {
		return nil, nil, fmt.Errorf("%w: %s", ErrNotFound, id)
	}
	one := old.clone()
	if err := change(one); err != nil {
		return nil, nil, err
	}
	one.ID, one.Created = old.ID, old.Created
	if err := one.normalize(); err != nil {
		return nil, nil, fmt.Errorf("device %s: %w", old.Label(), err)
	}
	if err := d.index.clash(one); err != nil {
		return nil, nil, err
	}
	d.index.remove(old)
	d.index.add(one)
	d.count(old.State, -1)
	d.count(one.State, 1)
	return old, one.clone(), nil
}

// Remove takes a device off the record. A protected one is refused.
func (d *Devices) Remove(ctx context.Context, id, by string) error {
	d.edit.Lock()
	defer d.edit.Unlock()
	one, err := d.Get(id)
	if err != nil {
		return err
	}
	if one.Protected {
		return fmt.Errorf("%w: %s", ErrProtected, one.Label())
	}
	d.drop(&one)
	if err := d.cfg.Store.DeleteDevice(ctx, one.ID); err != nil && !errors.Is(err, store.ErrNotFound) {
		return errors.Join(err, d.insert(&one))
	}
	d.tell(&one, by, "taken off the record")
	return nil
}

// Get is the device of that id.
func (d *Devices) Get(id string) (Device, error) {
	d.mu.RLock()
	defer d.mu.RUnlock()
	if one := d.index.byID[id]; one != nil {
		return *one.clone(), nil
	}
	return Device{}, fmt.Errorf("%w: %s", ErrNotFound, id)
}

// minPrefix is the shortest beginning of a name or number that stands for it.
const minPrefix = 2

// Find finds a device by what people call it: its id, name, UUID or one of its
// MACs, or the beginning of one of these when only one device has it.
func (d *Devices) Find(text string) (Device, error) {
	want := strings.ToLower(strings.TrimSpace(text))
	d.mu.RLock()
	defer d.mu.RUnlock()
	for _, exact := range []*Device{d.index.byID[want], d.index.byName[want], d.index.byUUID[want]} {
		if exact != nil {
			return *exact.clone(), nil
		}
	}
	if mac, err := ParseMAC(want); err == nil {
		if one := d.index.byMAC[mac]; one != nil {
			return *one.clone(), nil
		}
		return Device{}, fmt.Errorf("%w: %q", ErrNotFound, text)
	}
	var found []*Device
	if len(want) >= minPrefix {
		mac := strings.ReplaceAll(want, "-", ":")
		for _, one := range d.index.byID {
			if one.hasPrefix(want, mac) {
				found = append(found, one)
			}
		}
	}
	switch len(found) {
	case 0:
		return Device{}, fmt.Errorf("%w: %q", ErrNotFound, text)
	case 1:
		return *found[0].clone(), nil
	}
	return Device{}, fmt.Errorf("%w: %q is the beginning of %d of them, %s and %s among them", ErrAmbiguous, text, len(found), found[0].Label(), found[1].Label())
}

func (d *Device) hasPrefix(want, mac string) bool {
	for _, m := range d.MACs {
		if strings.HasPrefix(m, mac) {
			return true
		}
	}
	return strings.HasPrefix(d.ID, want) || strings.HasPrefix(strings.ToLower(d.Name), want) || strings.HasPrefix(d.UUID, want)
}

// tell records what was done to a device.
func (d *Devices) tell(one *Device, by, what string) {
	e := event.Event{Kind: event.KindRecord, UUID: one.UUID, Message: one.Label() + ": " + what, Details: event.Details{By: by}}
	if len(one.MACs) > 0 {
		e.MAC = one.MACs[0]
	}
	d.cfg.Note(e)
	d.log.Info("device record changed", zap.String("device", one.ID), zap.String("name", one.Label()), zap.String("mac", e.MAC), zap.String("note", what), zap.String("by", by))
}
