package main

import (
	"sync"
	"time"
)

// afterglow is how long a disturbance still excuses silence after its end: senders
// that met it wait for their next repetition, and TCP's come ever more rarely.
const afterglow = 20 * time.Second

// weather knows when the server could not be reached, or could not work.
type weather struct {
	mu   sync.Mutex
	past []spell
}

// spell is one disturbance.
type spell struct {
	what     string
	from, to time.Time // to is zero while it lasts
}

// begin notes the beginning of a disturbance; the caller calls end.
func (w *weather) begin(what string) (end func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	i := len(w.past)
	w.past = append(w.past, spell{what: what, from: time.Now()})
	return func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.past[i].to = time.Now()
	}
}

// excuse is a disturbance that may have met what happened from then until now, ""
// for none.
func (w *weather) excuse(from, until time.Time) string {
	w.mu.Lock()
	defer w.mu.Unlock()
	for i := len(w.past) - 1; i >= 0; i-- {
		s := &w.past[i]
		if s.from.Before(until) && (s.to.IsZero() || s.to.Add(afterglow).After(from)) {
			return s.what
		}
	}
	return ""
}
