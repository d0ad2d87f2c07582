package join

import (
	"net/http"
	"net/netip"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"castpoint/agent/protocol"
	"castpoint/web/api"
)

// Failed proofs of identity that one address may present: a burst for people
// who mistype, then one in some seconds. 128 random bits cannot be guessed; the
// limit keeps the log and the processor free.
const (
	failBurst = 10
	failEvery = 3 * time.Second
	// failAddrs bounds the table; when it is full it starts anew.
	failAddrs = 4096
)

// failures counts refused tokens and tickets by address.
type failures struct {
	mu   sync.Mutex
	from map[netip.Addr]*rate.Limiter
}

// source is what the address counts as: an IPv6 host has a whole /64.
func source(a netip.Addr) netip.Addr {
	a = a.Unmap().WithZone("")
	if a.Is6() {
		if p, err := a.Prefix(64); err == nil {
			return p.Addr()
		}
	}
	return a
}

// blocked says whether the address has failed too often lately.
func (f *failures) blocked(a netip.Addr) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if l, ok := f.from[source(a)]; ok && l.Tokens() < 1 {
		return api.Refusal(http.StatusTooManyRequests, protocol.CodeTooMany, "wait a minute", "too many refused tokens from %s", a.Unmap())
	}
	return nil
}

// note counts one failure.
func (f *failures) note(a netip.Addr) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.from == nil || len(f.from) >= failAddrs {
		f.from = make(map[netip.Addr]*rate.Limiter)
	}
	key := source(a)
	l, ok := f.from[key]
	if !ok {
		l = rate.NewLimiter(rate.Every(failEvery), failBurst)
		f.from[key] = l
	}
	l.Allow()
}
