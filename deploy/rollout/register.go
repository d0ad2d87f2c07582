package rollout

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
	"castpoint/deploy/collection"
	"castpoint/deploy/named"
	"castpoint/deploy/revision"
	"castpoint/deploy/runs"
	"castpoint/deploy/secret"
	"castpoint/internal/event"
	"castpoint/internal/store"
)

// Config is what a Register needs.
type Config struct {
	Store   *store.Store    // required
	Devices *deploy.Devices // required
	Data    string          // folder of the key for secrets. Required
	// Note is told what happens to machines; nil when nobody cares. It may not wait.
	Note func(event.Event)
	Now  func() time.Time // nil: the system's clock
	Log  *zap.Logger
}

// Register is everything that is known of deployments and their runs, and of what
// they are made of.
type Register struct {
	Collections *collection.Collections
	Sequences   *revision.Sequences
	Secrets     *secret.Vault

	cfg Config
	log *zap.Logger
	now func() time.Time
	// since is when it was opened.
	since time.Time

	edit sync.Mutex // held while what people give is written

	mu          sync.RWMutex // guards what follows; never held while the disk works
	deployments map[string]*Deployment
	runs        map[string]*runEntry            // by id: the last of each device in each deployment
	entered     uint64                          // runs so far
	last        map[string]map[string]*runEntry // by device, by deployment
	tickets     map[string]*runEntry            // by hash
	onceMore    map[string]map[string]bool      // by deployment, by device
	refusals    map[string]map[string]Refusal   // by deployment, by device
	ended       []func(deployment string)
}

type runEntry struct {
	write sync.Mutex // held from reading a run to having written it
	run   *Run       // guarded by Register.mu; replaced, never changed
	order uint64     // of entering; guarded by Register.mu
	// heard is when this process has last heard the machine, by the clock that nobody
	// sets; zero when it has not. Run.Heard is of the calendar.
	heard time.Time
	// ended is when this process has seen the run end, by the same clock.
	ended time.Time
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
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Log == nil {
		cfg.Log = zap.NewNop()
	}
	g := &Register{
		cfg: cfg, log: cfg.Log, now: cfg.Now, since: cfg.Now(), deployments: make(map[string]*Deployment), runs: make(map[string]*runEntry),
		last: make(map[string]map[string]*runEntry), tickets: make(map[string]*runEntry), onceMore: make(map[string]map[string]bool),
		refusals: make(map[string]map[string]Refusal),
	}
	var err error
	if g.Secrets, err = secret.Open(ctx, cfg.Store, cfg.Data); err != nil {
		return nil, err
	}
	if g.Collections, err = collection.Open(ctx, collection.Config{Store: cfg.Store, Devices: cfg.Devices, Secrets: g.Secrets, Now: cfg.Now, Log: cfg.Log}); err != nil {
		return nil, err
	}
	if g.Sequences, err = revision.Open(ctx, revision.Config{Store: cfg.Store, Deployments: g.deploymentsOf, Running: g.revisionsOf, Now: cfg.Now}); err != nil {
		return nil, err
	}
	for _, read := range []func(context.Context) error{g.readDeployments, g.readRuns} {
		if err := read(ctx); err != nil {
			return nil, err
		}
	}
	return g, nil
}

// WhenEnded has f called with the deployment of each run that has ended. It is for the
// time before machines are served; f may not wait.
func (g *Register) WhenEnded(f func(deployment string)) { g.ended = append(g.ended, f) }

// deploymentsOf are the names of the deployments of a sequence.
func (g *Register) deploymentsOf(sequence string) (names []string) {
	g.mu.RLock()
	defer g.mu.RUnlock()
	for _, d := range g.deployments {
		if strings.EqualFold(d.Sequence, sequence) {
			names = append(names, d.Name)
		}
	}
	slices.Sort(names)
	return names
}

// revisionsOf are the revisions of a sequence that runs may go on with.
func (g *Register) revisionsOf(sequence string) map[int]bool {
	g.mu.RLock()
	defer g.mu.RUnlock()
	used := make(map[int]bool)
	for _, r := range g.runs {
		if strings.EqualFold(r.run.Sequence, sequence) && r.run.State != StateSucceeded {
			used[r.run.Revision] = true
		}
	}
	return used
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

func (g *Register) readRuns(ctx context.Context) error {
	rows, err := g.cfg.Store.LastRuns(ctx)
	if err != nil {
		return fmt.Errorf("read runs: %w", err)
	}
	for i := range rows {
		r, err := runs.Of(&rows[i])
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
	g.entered++
	e := &runEntry{run: r, order: g.entered, changed: make(chan struct{})}
	byDeployment[r.Deployment] = e
	g.runs[r.ID] = e
	if r.Ticket != "" {
		g.tickets[r.Ticket] = e
	}
	return e
}

// drop takes a run out of memory. mu is held.
func (g *Register) drop(e *runEntry) {
	delete(g.runs, e.run.ID)
	delete(g.tickets, e.run.Ticket)
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

// RemoveCollection deletes a collection and its secrets. ErrInUse: a deployment is
// for it.
func (g *Register) RemoveCollection(ctx context.Context, text string) error {
	g.edit.Lock()
	defer g.edit.Unlock()
	c, err := g.Collections.Get(text)
	if err != nil {
		return err
	}
	for _, d := range g.Deployments() {
		if d.Collection == c.ID {
			return fmt.Errorf("collection %s %w: deployment %s is for it", c.Name, named.ErrInUse, d.Name)
		}
	}
	return g.Collections.Remove(ctx, c.ID)
}

// RemoveSequence deletes a sequence. ErrInUse: a deployment or a run has it.
func (g *Register) RemoveSequence(ctx context.Context, name string) error {
	g.edit.Lock()
	defer g.edit.Unlock()
	t, err := g.Sequences.Get(name, 0)
	if err != nil {
		return err
	}
	uses := slices.Clone(t.Deployments)
	g.mu.RLock()
	for _, r := range g.runs {
		if strings.EqualFold(r.run.Sequence, t.Name) && !r.run.State.Ended() {
			uses = append(uses, "the run on "+r.run.Label)
		}
	}
	g.mu.RUnlock()
	if len(uses) > 0 {
		return fmt.Errorf("sequence %s %w: %s", t.Name, named.ErrInUse, uses[0])
	}
	return g.Sequences.Remove(ctx, t.Name)
}

// Forget deletes what belongs to a device that is off the record: its secrets and
// flags. Its runs stay, as history.
func (g *Register) Forget(ctx context.Context, device string) error {
	g.edit.Lock()
	defer g.edit.Unlock()
	if err := g.Secrets.DropDevice(ctx, device); err != nil {
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
