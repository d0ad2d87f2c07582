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

// failures counts refused tokens and tickets by address, and refused passwords, which
// people can guess, by network: an IPv6 host has as many addresses as it likes.
type failures struct {
	mu   sync.Mutex
	from map[netip.Prefix]*allowance
}

// allowance is how many failures an address has left.
type allowance struct {
	left float64
	at   time.Time // when that was so
}

// host is the address alone. The machines of a room may share a /64: one of them with an
// old token must not keep the others out.
func host(a netip.Addr) netip.Prefix {
	a = a.Unmap().WithZone("")
	return netip.PrefixFrom(a, a.BitLen())
}

// network is the /64 of an IPv6 address.
func network(a netip.Addr) netip.Prefix {
	if h := host(a); h.Addr().Is6() {
		return netip.PrefixFrom(h.Addr(), 64).Masked()
	}
	return host(a)
}

// of is what is left now; nil for who has never failed. f.mu is held.
func (f *failures) of(who netip.Prefix) *allowance {
	one := f.from[who]
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
	return f.spent(host(a), a)
}

// spent needs f.mu.
func (f *failures) spent(who netip.Prefix, a netip.Addr) error {
	if one := f.of(who); one != nil && one.left < 1 {
		return api.Refusal(http.StatusTooManyRequests, protocol.CodeTooMany, "wait a minute", "too many refused tokens from %s", a.Unmap())
	}
	return nil
}

// note counts one failure. Of those that came at once none is forgotten.
func (f *failures) note(a netip.Addr) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.add(host(a)).left--
}

// add needs f.mu.
func (f *failures) add(who netip.Prefix) *allowance {
	if one := f.of(who); one != nil {
		return one
	}
	if f.from == nil || len(f.from) >= failAddrs {
		f.from = make(map[netip.Prefix]*allowance)
	}
	one := &allowance{failBurst, time.Now()}
	f.from[who] = one
	return one
}

// guess takes a failure off the allowance of an address before a password of its is
// looked at, which takes a while: those that are shown at the same time count like those
// that are shown one after the other. right gives it back.
func (f *failures) guess(a netip.Addr) (right func(), err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	who := network(a)
	if err := f.spent(who, a); err != nil {
		return nil, err
	}
	f.add(who).left--
	return func() {
		f.mu.Lock()
		defer f.mu.Unlock()
		f.add(who).left++
	}, nil
}
