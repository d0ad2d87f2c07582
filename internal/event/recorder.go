package event

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"castpoint/internal/store"
)

// Defaults of the settings.
const (
	DefaultAge   = 90 * 24 * time.Hour
	DefaultCount = 1_000_000
)

// Tuning.
const (
	queueLength = 8192                   // events that wait to be written
	batchLength = 1024                   // events of one transaction
	batchTime   = 100 * time.Millisecond // how long an event waits for company
	trimEvery   = 5 * time.Minute
	maxMessage  = 1000 // bytes
)

// Config is what a Recorder needs.
type Config struct {
	Store *store.Store // required
	// Age and Count are how long and how many events are kept; 0 means the
	// default.
	Age   time.Duration
	Count int64
	// Steady says whether the clock may be believed: until then events are not deleted
	// for their age. nil: always.
	Steady func() bool
	Log    *zap.Logger
}

// Recorder takes events without ever waiting. Close writes what it has.
type Recorder struct {
	cfg     Config
	log     *zap.Logger
	queue   chan Event
	flush   chan chan struct{}
	stop    chan struct{}
	done    chan struct{}
	closing sync.Once
	dropped atomic.Uint64
	keep    atomic.Pointer[retention]

	mu        sync.Mutex
	followers map[*Follower]struct{} // nil when the recorder is closed
}

// New starts a recorder.
func New(cfg Config) (*Recorder, error) {
	if cfg.Store == nil {
		return nil, errors.New("events: no store given")
	}
	keep, err := cfg.keep()
	if err != nil {
		return nil, err
	}
	if cfg.Log == nil {
		cfg.Log = zap.NewNop()
	}
	r := &Recorder{
		cfg: cfg, log: cfg.Log, queue: make(chan Event, queueLength), flush: make(chan chan struct{}),
		stop: make(chan struct{}), done: make(chan struct{}), followers: make(map[*Follower]struct{}),
	}
	r.keep.Store(&keep)
	go r.routineWrite()
	return r, nil
}

// retention is how long and how many events are kept.
type retention struct {
	age   time.Duration
	count int64
}

func (c *Config) keep() (retention, error) {
	k := retention{c.Age, c.Count}
	if k.age == 0 {
		k.age = DefaultAge
	}
	if k.count == 0 {
		k.count = DefaultCount
	}
	if k.age < time.Minute || k.count < 1 {
		return k, fmt.Errorf("events: keep %s and %d of them: want at least 1m and 1", k.age, k.count)
	}
	return k, nil
}

// Keep changes how long and how many events are kept; 0 means the default.
func (r *Recorder) Keep(age time.Duration, count int64) error {
	keep, err := (&Config{Age: age, Count: count}).keep()
	if err == nil {
		r.keep.Store(&keep)
	}
	return err
}

// Close writes the events that wait and ends the followers.
func (r *Recorder) Close() {
	r.closing.Do(func() { close(r.stop) })
	<-r.done
}

// Record takes an event. It never waits: when the queue is full, the event is
// dropped and counted.
func (r *Recorder) Record(e Event) {
	if e.Time.IsZero() {
		e.Time = time.Now()
	}
	e.Time = e.Time.UTC().Truncate(time.Millisecond)
	e.MAC, e.UUID = strings.ToLower(e.MAC), strings.ToLower(e.UUID)
	if len(e.Message) > maxMessage {
		e.Message = strings.ToValidUTF8(e.Message[:maxMessage], "")
	}
	select {
	case r.queue <- e:
	default:
		r.dropped.Add(1)
	}
}

// Dropped counts the events that were lost because they came too fast, or because
// the store did not take them.
func (r *Recorder) Dropped() uint64 { return r.dropped.Load() }

// Flush returns when everything that was recorded before is in the store, or ctx
// ends.
func (r *Recorder) Flush(ctx context.Context) error {
	written := make(chan struct{})
	select {
	case r.flush <- written:
	case <-r.done:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
	select {
	case <-written:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Page is a piece of a timeline, oldest first.
type Page struct {
	Events []Event `json:"events"`
	// Before is what the next query's Before is for the page of older events; 0
	// when there are none.
	Before int64 `json:"before,omitempty"`
}

// Query asks for a page: at most limit events with numbers below before (0: the
// newest) and above after.
func (r *Recorder) Query(ctx context.Context, f Filter, before, after int64, limit int) (Page, error) {
	if limit <= 0 {
		limit = store.DefaultLimit
	}
	q := store.EventQuery{MACs: f.MACs, UUIDs: f.UUIDs, Before: before, After: after, Limit: limit + 1}
	for _, k := range f.Kinds {
		q.Kinds = append(q.Kinds, string(k))
	}
	rows, err := r.cfg.Store.Events(ctx, q)
	if err != nil {
		return Page{}, err
	}
	p := Page{Events: []Event{}}
	if len(rows) > limit {
		rows = rows[1:]
		p.Before = rows[0].ID
	}
	for i := range rows {
		e, err := fromRow(&rows[i])
		if err != nil {
			return Page{}, err
		}
		p.Events = append(p.Events, e)
	}
	return p, nil
}

// routineWrite owns the queue: it writes batches, trims, and tells followers.
func (r *Recorder) routineWrite() {
	defer close(r.done)
	defer r.endFollowers()
	r.trim()
	trim := time.NewTicker(trimEvery)
	defer trim.Stop()
	var batch []Event
	wait := time.NewTimer(time.Hour)
	defer wait.Stop()
	write := func() {
		r.write(batch)
		batch = batch[:0]
	}
	drain := func() {
		for {
			select {
			case e := <-r.queue:
				if batch = append(batch, e); len(batch) == batchLength {
					write()
				}
			default:
				write()
				return
			}
		}
	}
	for {
		select {
		case e := <-r.queue:
			if batch = append(batch, e); len(batch) == 1 {
				wait.Reset(batchTime)
			}
			if len(batch) == batchLength {
				write()
			}
		case <-wait.C:
			write()
		case written := <-r.flush:
			drain()
			close(written)
		case <-trim.C:
			r.trim()
		case <-r.stop:
			drain()
			return
		}
	}
}

// write stores a batch and passes it on. What the store does not take is lost: it
// would not take it the next time either, and memory is bounded.
func (r *Recorder) write(batch []Event) {
	if len(batch) == 0 {
		return
	}
	rows := make([]store.Event, len(batch))
	var err error
	for i := range batch {
		if rows[i], err = batch[i].row(); err != nil {
			break
		}
	}
	if err == nil {
		err = r.cfg.Store.AddEvents(context.Background(), rows)
	}
	if err != nil {
		r.dropped.Add(uint64(len(batch)))
		r.log.Error("events not stored", zap.Int("events", len(batch)), zap.Error(err))
		return
	}
	for i := range batch {
		batch[i].ID = rows[i].ID
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for f := range r.followers {
		f.offer(batch)
	}
}

func (r *Recorder) trim() {
	keep := r.keep.Load()
	now := time.Now()
	var before time.Time
	if r.cfg.Steady == nil || r.cfg.Steady() {
		before = now.Add(-keep.age)
	}
	gone, err := r.cfg.Store.TrimEvents(context.Background(), before, now, keep.count)
	if err != nil {
		r.log.Error("old events not deleted", zap.Error(err))
	} else if gone > 0 {
		r.log.Info("old events deleted", zap.Int64("events", gone))
	}
}
