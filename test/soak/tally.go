package main

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"
)

// mostFaults is how many faults are told in full.
const mostFaults = 30

// tally counts what machines and operators did and how it ended.
type tally struct {
	weather *weather

	mu     sync.Mutex
	counts map[string]*counts
	faults []string
	more   int // faults that were not told
}

// counts are the ends of one kind of doing.
type counts struct {
	right     int // done, and every byte as it should be
	left      int // abandoned on purpose
	stated    int // an error that the server has told
	disturbed int // an error while something disturbed
}

func newTally(w *weather) *tally { return &tally{weather: w, counts: map[string]*counts{}} }

func (t *tally) of(kind string) *counts {
	c := t.counts[kind]
	if c == nil {
		c = &counts{}
		t.counts[kind] = c
	}
	return c
}

// right counts what was done well.
func (t *tally) right(kind string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.of(kind).right++
}

// left counts what was abandoned.
func (t *tally) left(kind string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.of(kind).left++
}

// failed counts what began then and has failed: a fault, unless something disturbed.
// stated errors that are expected even in good weather are counted with refused.
func (t *tally) failed(kind string, began time.Time, err error) {
	excuse := t.weather.excuse(began, time.Now())
	if excuse == "" {
		t.fault("%s, begun %.1f s ago: %w", kind, time.Since(began).Seconds(), err)
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.of(kind).disturbed++
}

// refused counts an error that the server has told and may tell at any time.
func (t *tally) refused(kind string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.of(kind).stated++
}

// fault notes what must not happen, whatever the weather.
func (t *tally) fault(format string, args ...any) {
	text := fmt.Errorf(format, args...).Error()
	say("FAULT: %s", text)
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.faults) >= mostFaults {
		t.more++
		return
	}
	t.faults = append(t.faults, text)
}

// table is the counts for people.
func (t *tally) table() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	var b strings.Builder
	fmt.Fprintf(&b, "%-28s %8s %10s %8s %10s\n", "", "right", "abandoned", "refused", "disturbed")
	for _, kind := range slices.Sorted(maps.Keys(t.counts)) {
		c := t.counts[kind]
		fmt.Fprintf(&b, "%-28s %8d %10d %8d %10d\n", kind, c.right, c.left, c.stated, c.disturbed)
	}
	return b.String()
}

// err is all faults, nil for none.
func (t *tally) err() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.faults) == 0 {
		return nil
	}
	text := fmt.Sprintf("%d faults:\n  %s", len(t.faults)+t.more, strings.Join(t.faults, "\n  "))
	if t.more > 0 {
		text += fmt.Sprintf("\n  and %d more", t.more)
	}
	return errors.New(text)
}
