package join

import (
	"net/http"
	"net/netip"
	"sync"
	"time"

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

// failures counts refused tokens, tickets and passwords by address.
type failures struct {
	mu   sync.Mutex
	from map[netip.Addr]*allowance
}

// allowance is how many failures an address has left.
type allowance struct {
	left float64
	at   time.Time // when that was so
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

// of is the allowance of an address now; nil when it has never failed. f.mu is held.
func (f *failures) of(a netip.Addr) *allowance {
	one := f.from[source(a)]
	if one != nil {
		now := time.Now()
		one.left = min(failBurst, one.left+float64(now.Sub(one.at))/float64(failEvery))
		one.at = now
	}
	return one
}

// blocked says whether the address has failed too often lately.
func (f *failures) blocked(a netip.Addr) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.spent(a)
}

// spent needs f.mu.
func (f *failures) spent(a netip.Addr) error {
	if one := f.of(a); one != nil && one.left < 1 {
		return api.Refusal(http.StatusTooManyRequests, protocol.CodeTooMany, "wait a minute", "too many refused tokens from %s", a.Unmap())
	}
	return nil
}

// note counts one failure. Of those that came at once none is forgotten.
func (f *failures) note(a netip.Addr) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.add(a).left--
}

// add needs f.mu.
func (f *failures) add(a netip.Addr) *allowance {
	if one := f.of(a); one != nil {
		return one
	}
	if f.from == nil || len(f.from) >= failAddrs {
		f.from = make(map[netip.Addr]*allowance)
	}
	one := &allowance{failBurst, time.Now()}
	f.from[source(a)] = one
	return one
}

// guess takes a failure off the allowance of an address before a password of its is
// looked at, which takes a while: those that are shown at the same time count like those
// that are shown one after the other. right gives it back.
func (f *failures) guess(a netip.Addr) (right func(), err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := f.spent(a); err != nil {
		return nil, err
	}
	f.add(a).left--
	return func() {
		f.mu.Lock()
		defer f.mu.Unlock()
		f.add(a).left++
	}, nil
}
