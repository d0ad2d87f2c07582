package dhcp

import (
	"sync"
	"time"
)

// Tuning of the rate limit. A machine that boots sends a handful of packets in
// each of its stages (firmware, loader, boot environment); one in a loop or a
// storm sends them without end.
const (
	limitBurst   = 40   // packets a client may send at once
	limitRate    = 2    // packets per second after that
	limitClients = 8192 // clients remembered in each generation; bounds memory
)

// limiter is a token bucket for each client. Memory is bounded by two
// generations: when the young one is full it becomes the old one, and who was
// not seen since is forgotten.
type limiter struct {
	mu         sync.Mutex
	young, old map[string]*bucket
}

type bucket struct {
	tokens float64
	last   time.Time
	told   bool // the drop was reported; reset when the client is within its rate
}

func newLimiter() *limiter {
	return &limiter{young: make(map[string]*bucket)}
}

// allow takes a token. first is true for the first refusal of a series.
func (l *limiter) allow(key string, now time.Time) (ok, first bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	b := l.young[key]
	if b == nil {
		if b = l.old[key]; b == nil {
			b = &bucket{tokens: limitBurst, last: now}
		}
		if len(l.young) >= limitClients {
			l.old, l.young = l.young, make(map[string]*bucket)
		}
		l.young[key] = b
	}
	b.tokens = min(limitBurst, b.tokens+now.Sub(b.last).Seconds()*limitRate)
	b.last = now
	if b.tokens < 1 {
		first, b.told = !b.told, true
		return false, first
	}
	b.tokens--
	b.told = false
	return true, false
}
