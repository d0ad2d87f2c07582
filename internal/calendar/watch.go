package calendar

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"sync"
	"time"

	"go.uber.org/zap"

	"castpoint/internal/atomicfile"
)

// Tuning.
const (
	steadyTime = 24 * time.Hour   // without a jump, before anything is deleted for its age
	leap       = time.Minute      // and more is a jump: time servers move clocks in smaller steps
	mostAway   = 24 * time.Hour   // of a host that was off: after longer nobody knows whether its clock is right
	lookEvery  = time.Minute      // for jumps
	writeEvery = 10 * time.Minute // what a kill loses
)

// A Watch tells whether the clock has gone on evenly for a day. A clock that was set a
// year ahead makes everything old; what was deleted then would not come back with the
// right time. It is safe for concurrent use.
type Watch struct {
	path string
	log  *zap.Logger
	now  func() time.Time

	mu      sync.Mutex
	last    time.Time // of the last look
	since   time.Time // of the calendar: evenly since then
	written time.Time
	told    bool // that the file cannot be written
}

// record is the file.
type record struct {
	Seen  time.Time `json:"seen"` // the last time that the clock showed
	Stamp Stamp     `json:"stamp,omitempty"`
	Since time.Time `json:"since"`
}

// OpenWatch reads what the last process knew of the clock. A missing file, or one that is
// damaged, begins the day anew.
func OpenWatch(path string, log *zap.Logger) (*Watch, error) { return openWatch(path, log, time.Now) }

func openWatch(path string, log *zap.Logger, now func() time.Time) (*Watch, error) {
	if log == nil {
		log = zap.NewNop()
	}
	w := &Watch{path: path, log: log, now: now, last: now()}
	w.since = w.last.Round(0)
	data, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return w, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read what was known of the clock: %w", err)
	}
	var r record
	if err := json.Unmarshal(data, &r); err != nil {
		log.Warn("nothing is known of the clock", zap.String("file", path), zap.Error(err))
		return w, nil
	}
	by := w.last.Round(0).Sub(r.Seen)
	seen, known := r.Stamp.moment(w.last)
	if known {
		by -= w.last.Sub(seen)
	}
	switch {
	case by < -leap, known && by > leap:
		w.jumped(by)
	case known, by <= mostAway:
		w.since = r.Since
	}
	return w, nil
}

// jumped begins the day anew.
func (w *Watch) jumped(by time.Duration) {
	w.since = w.last.Round(0)
	w.log.Warn("the clock was set: nothing is deleted for its age within the next day", zap.Duration("jump", by))
}

// Steady says whether the clock may be believed: it has not jumped for a day.
func (w *Watch) Steady() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.look()
	return w.last.Round(0).Sub(w.since) >= steadyTime
}

// look compares the calendar with the time that has passed since the last look. A host
// that slept in between looks like one whose clock was set.
func (w *Watch) look() {
	now := w.now()
	by := now.Round(0).Sub(w.last.Round(0)) - now.Sub(w.last)
	w.last = now
	if by.Abs() > leap {
		w.jumped(by)
		w.written = time.Time{}
	}
}

// Run looks at the clock, and writes down what it has seen, until ctx ends.
func (w *Watch) Run(ctx context.Context) {
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	for {
		w.write(false)
		select {
		case <-ctx.Done():
			w.write(true)
			return
		case <-tick.C:
		}
	}
}

// write writes the file when it is due, or at once.
func (w *Watch) write(atOnce bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.look()
	if !atOnce && !w.written.IsZero() && w.last.Sub(w.written) < writeEvery {
		return
	}
	data, err := json.Marshal(record{Seen: w.last.UTC(), Stamp: NewStamp(w.last, w.last), Since: w.since.UTC()})
	if err == nil {
		err = atomicfile.Write(w.path, data)
	}
	if err == nil {
		w.written, w.told = w.last, false
	} else if !w.told {
		w.told = true
		w.log.Warn("what is known of the clock is not written", zap.Error(err))
	}
}
