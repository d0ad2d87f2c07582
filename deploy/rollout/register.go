package rollout

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"
	"time"

	"go.uber.org/zap"

	"castpoint/boot"
	"castpoint/deploy"
	"castpoint/deploy/sequence"
	"castpoint/internal/event"
	"castpoint/internal/store"
)

// Config is what a Register needs.
type Config struct {
	Store   *store.Store    // required
	Devices *deploy.Devices // required
	Data    string          // folder of the key for secrets. Required
	// Note is told what happens to machines, Notify what people are to be told;
	// nil when nobody cares. Neither may wait.
	Note   func(event.Event)
	Notify func(Notice)
	// Wake sends a Wake-on-LAN packet; nil sends none.
	Wake func(net.HardwareAddr) error
	Log  *zap.Logger
}

// Register is everything that is known of collections, sequences, deployments and
// runs.
type Register struct {
	cfg    Config
	log    *zap.Logger
	now    func() time.Time
	sealer *sealer
	stop   chan struct{}
	done   sync.WaitGroup
	once   sync.Once

	edit sync.Mutex // held while what people give is written

	mu          sync.RWMutex // guards what follows; never held while the disk works
	collections map[string]*Collection
	deployments map[string]*Deployment
	sequences   map[string]*sequenceEntry // by name, lower case
	secrets     map[owner]map[string][]byte
	runs        map[string]*runEntry            // by id: the last of each device in each deployment
	last        map[string]map[string]*runEntry // by device, by deployment
	tickets     map[string]*runEntry            // by hash
	onceMore    map[string]map[string]bool      // by deployment, by device
	alerted     map[string]bool                 // deployments that people were told of
	woken       map[string]time.Time            // by deployment and device
	sizes       map[string]sizeAt               // of collections, for a moment
}

// owner is whose a secret is.
type owner struct{ scope, id string }

// Scopes of secrets.
const (
	scopeCollection = "collection"
	scopeDevice     = "device"
)

type runEntry struct {
	write sync.Mutex // held from reading a run to having written it
	run   *Run       // guarded by Register.mu; replaced, never changed
	// changed is closed, and replaced, when the run has an order.
	changed chan struct{}
}

// Open reads what a store has.
func Open(ctx context.Context, cfg Config) (*Register, error) {
	if cfg.Store == nil || cfg.Devices == nil || cfg.Data == "" {
		return nil, errors.New("rollout: a store, devices and a data folder are needed")
	}
	if cfg.Note == nil {
		cfg.Note = func(event.Event) {}
	}
	if cfg.Notify == nil {
		cfg.Notify = func(Notice) {}
	}
	if cfg.Log == nil {
		cfg.Log = zap.NewNop()
	}
	g := &Register{
		cfg: cfg, log: cfg.Log, now: time.Now, stop: make(chan struct{}),
		collections: make(map[string]*Collection), deployments: make(map[string]*Deployment), sequences: make(map[string]*sequenceEntry),
		secrets: make(map[owner]map[string][]byte), runs: make(map[string]*runEntry), last: make(map[string]map[string]*runEntry),
		tickets: make(map[string]*runEntry), onceMore: make(map[string]map[string]bool), alerted: make(map[string]bool),
		woken: make(map[string]time.Time), sizes: make(map[string]sizeAt),
	}
	var err error
	if g.sealer, err = openKey(cfg.Data); err != nil {
		return nil, err
	}
	for _, read := range []func(context.Context) error{g.readCollections, g.readSequences, g.readDeployments, g.readSecrets, g.readRuns} {
		if err := read(ctx); err != nil {
			return nil, err
		}
	}
	g.done.Go(g.routineWake)
	return g, nil
}

// Close ends the work in the background.
func (g *Register) Close() {
	g.once.Do(func() { close(g.stop) })
	g.done.Wait()
}

func (g *Register) readCollections(ctx context.Context) error {
	rows, err := g.cfg.Store.AllNamed(ctx, store.TableCollections)
	if err != nil {
		return fmt.Errorf("read collections: %w", err)
	}
	for _, row := range rows {
		c := &Collection{}
		err := json.Unmarshal(row.Body, c)
		if err == nil {
			err = c.normalize()
		}
		if err != nil {
			return fmt.Errorf("read collection %s: %w", row.Name, err)
		}
		g.collections[c.ID] = c
	}
	return nil
}

func (g *Register) readDeployments(ctx context.Context) error {
	rows, err := g.cfg.Store.AllNamed(ctx, store.TableDeployments)
	if err != nil {
		return fmt.Errorf("read deployments: %w", err)
	}
	for _, row := range rows {
		var r record
		if err := json.Unmarshal(row.Body, &r); err != nil {
			return fmt.Errorf("read deployment %s: %w", row.Name, err)
		}
		d := r.Deployment
		d.PasswordHash = r.Hash
		g.deployments[d.ID] = &d
	}
	onceMore, err := g.cfg.Store.OnceMore(ctx)
	if err != nil {
		return fmt.Errorf("read deployments: %w", err)
	}
	for _, a := range onceMore {
		g.flag(a.Deployment, a.Device)
	}
	return nil
}

func (g *Register) readSecrets(ctx context.Context) error {
	rows, err := g.cfg.Store.Secrets(ctx)
	if err != nil {
		return fmt.Errorf("read secret variables: %w", err)
	}
	for _, row := range rows {
		g.keepSecret(owner{row.Scope, row.Owner}, row.Name, row.Sealed)
	}
	return nil
}

func (g *Register) readRuns(ctx context.Context) error {
	rows, err := g.cfg.Store.LastRuns(ctx)
	if err != nil {
		return fmt.Errorf("read runs: %w", err)
	}
	for i := range rows {
		r, err := runOf(&rows[i])
		if err != nil {
			return fmt.Errorf("read run %s: %w", rows[i].ID, err)
		}
		g.enter(r)
	}
	return nil
}

// enter takes a run into memory as the last one of its device and deployment. mu is
// held, or nobody else has the register yet.
func (g *Register) enter(r *Run) *runEntry {
	byDeployment := g.last[r.Device]
	if byDeployment == nil {
		byDeployment = make(map[string]*runEntry)
		g.last[r.Device] = byDeployment
	}
	if old := byDeployment[r.Deployment]; old != nil {
		g.drop(old)
	}
	e := &runEntry{run: r, changed: make(chan struct{})}
	byDeployment[r.Deployment] = e
	g.runs[r.ID] = e
	if r.ticket != "" {
		g.tickets[r.ticket] = e
	}
	return e
}

// drop takes a run out of memory. mu is held.
func (g *Register) drop(e *runEntry) {
	delete(g.runs, e.run.ID)
	delete(g.tickets, e.run.ticket)
	if by := g.last[e.run.Device]; by[e.run.Deployment] == e {
		delete(by, e.run.Deployment)
	}
}

// flag notes that a deployment is to run again on a device.
func (g *Register) flag(deployment, device string) {
	if g.onceMore[deployment] == nil {
		g.onceMore[deployment] = make(map[string]bool)
	}
	g.onceMore[deployment][device] = true
}

func newID() string {
	var b [5]byte
	_, _ = rand.Read(b[:]) // never fails: see its documentation
	return hex.EncodeToString(b[:])
}

// find finds one of many by its id, its name, or the beginning of either when only
// one has it.
func find[T any](all map[string]T, text string, id, name func(T) string) (T, error) {
	want := strings.ToLower(strings.TrimSpace(text))
	var none T
	var found []T
	for _, one := range all {
		switch {
		case id(one) == want, strings.ToLower(name(one)) == want:
			return one, nil
		case want != "" && (strings.HasPrefix(id(one), want) || strings.HasPrefix(strings.ToLower(name(one)), want)):
			found = append(found, one)
		}
	}
	switch len(found) {
	case 0:
		return none, fmt.Errorf("%w: %q", ErrNotFound, text)
	case 1:
		return found[0], nil
	}
	return none, fmt.Errorf("%w: %q is the beginning of %s and %s", ErrAmbiguous, text, name(found[0]), name(found[1]))
}

// Collections are all of them, by name, with the names of their secrets.
func (g *Register) Collections() []Collection {
	g.mu.RLock()
	defer g.mu.RUnlock()
	list := make([]Collection, 0, len(g.collections))
	for _, c := range g.collections {
		list = append(list, *g.shownCollection(c))
	}
	slices.SortFunc(list, func(a, b Collection) int { return strings.Compare(strings.ToLower(a.Name), strings.ToLower(b.Name)) })
	return list
}

func (g *Register) shownCollection(c *Collection) *Collection {
	n := c.clone()
	n.Secrets = nil
	for name := range g.secrets[owner{scopeCollection, c.ID}] {
		n.Secrets = append(n.Secrets, name)
	}
	slices.Sort(n.Secrets)
	return n
}

// Collection finds one by id or name.
func (g *Register) Collection(text string) (Collection, error) {
	g.mu.RLock()
	defer g.mu.RUnlock()
	c, err := find(g.collections, text, func(c *Collection) string { return c.ID }, func(c *Collection) string { return c.Name })
	if err != nil {
		return Collection{}, fmt.Errorf("collection: %w", err)
	}
	return *g.shownCollection(c), nil
}

// PutCollection makes a collection, when want has no ID, or replaces one. Its
// secrets stay. Devices and Except may name devices in any way that people do.
func (g *Register) PutCollection(ctx context.Context, want Collection) (Collection, error) {
	c := want.clone()
	c.Changed, c.Secrets = g.now().UTC(), nil
	if c.ID == "" {
		c.ID = newID()
	}
	for _, list := range []*[]string{&c.Devices, &c.Except} {
		for i, text := range *list {
			d, err := g.cfg.Devices.Find(text)
			if err != nil {
				return Collection{}, fmt.Errorf("%w: collection %s: %w", ErrInvalid, c.Name, err)
			}
			(*list)[i] = d.ID
		}
	}
	if err := c.normalize(); err != nil {
		return Collection{}, fmt.Errorf("collection: %w", err)
	}
	g.edit.Lock()
	defer g.edit.Unlock()
	if err := g.putNamed(ctx, store.TableCollections, c.ID, c.Name, c); err != nil {
		return Collection{}, err
	}
	g.mu.Lock()
	g.collections[c.ID] = c
	delete(g.sizes, c.ID)
	shown := *g.shownCollection(c)
	g.mu.Unlock()
	g.log.Info("collection changed", zap.String("collection", c.Name), zap.Int("devices", len(c.Devices)), zap.Int("rules", len(c.Rules)))
	return shown, nil
}

func (g *Register) putNamed(ctx context.Context, t store.Table, id, name string, body any) error {
	b, err := json.Marshal(body)
	if err == nil {
		err = g.cfg.Store.PutNamed(ctx, t, store.Named{ID: id, Name: name, Body: b, Changed: g.now().UTC()})
	}
	if errors.Is(err, store.ErrExists) {
		return fmt.Errorf("%w: a %s is called %s", ErrExists, t, name)
	}
	if err != nil {
		return fmt.Errorf("%s %s: %w", t, name, err)
	}
	return nil
}

// RemoveCollection deletes a collection and its secrets. ErrInUse: a deployment is
// for it.
func (g *Register) RemoveCollection(ctx context.Context, text string) error {
	c, err := g.Collection(text)
	if err != nil {
		return err
	}
	g.edit.Lock()
	defer g.edit.Unlock()
	for _, d := range g.Deployments() {
		if d.Collection == c.ID {
			return fmt.Errorf("collection %s %w: deployment %s is for it", c.Name, ErrInUse, d.Name)
		}
	}
	if err := g.cfg.Store.DeleteNamed(ctx, store.TableCollections, c.ID); err != nil {
		return fmt.Errorf("remove collection %s: %w", c.Name, err)
	}
	if err := g.dropSecrets(ctx, owner{scopeCollection, c.ID}); err != nil {
		return err
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	delete(g.collections, c.ID)
	return nil
}

// Members are the devices of a collection, those that are protected among them, and
// how many cannot be told yet because their inventory is missing.
func (g *Register) Members(text string) (list []deploy.Device, untold int, err error) {
	c, err := g.Collection(text)
	if err != nil {
		return nil, 0, err
	}
	for _, d := range g.cfg.Devices.All() {
		switch v, _ := c.holdsDevice(&d); v {
		case yes:
			list = append(list, d)
		case maybe:
			untold++
		}
	}
	return list, untold, nil
}

func (c *Collection) holdsDevice(d *deploy.Device) (verdict, string) {
	return c.holds(&Machine{Device: d})
}

// ArchOf are processor and firmware of the machines of an architecture of option 93,
// in the words of facts; "" for what is not known.
func ArchOf(a boot.Arch) (arch, firmware string) {
	switch a {
	case boot.ArchBIOS, boot.ArchBIOSHTTP:
		return "amd64", sequence.FirmwareBIOS // or older: the boot environment does not start there
	case boot.ArchEFIX64, boot.ArchEFIBC, boot.ArchEFIX64HTTP, boot.ArchEFIBCHTTP:
		return "amd64", sequence.FirmwareUEFI
	case boot.ArchEFIARM64, boot.ArchEFIARM64HTTP:
		return "arm64", sequence.FirmwareUEFI
	}
	return "", ""
}

// sizeAt is how many devices a collection had at a time.
type sizeAt struct {
	n  int
	at time.Time
}

// sizeLife is how long a count of devices is good for decisions.
const sizeLife = 10 * time.Second

// size is how many devices that are not protected a collection has, as of a moment
// ago.
func (g *Register) size(c *Collection) int {
	now := g.now()
	g.mu.RLock()
	known, ok := g.sizes[c.ID]
	g.mu.RUnlock()
	if ok && now.Sub(known.at) < sizeLife {
		return known.n
	}
	n := 0
	for _, d := range g.cfg.Devices.All() {
		if v, _ := c.holdsDevice(&d); v == yes && !d.Protected {
			n++
		}
	}
	g.mu.Lock()
	g.sizes[c.ID] = sizeAt{n, now}
	g.mu.Unlock()
	return n
}
