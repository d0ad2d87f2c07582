package dhcp4

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"castpoint/dhcp/lease"
)

// Pool is a range of addresses that server mode gives away on one network.
type Pool struct {
	// Network is the network the range lies in. It may be left out when a
	// castpoint interface lies in it.
	Network  netip.Prefix
	From, To netip.Addr    // first and last address, both included
	Routers  []netip.Addr  // option 3
	DNS      []netip.Addr  // option 6
	NTP      []netip.Addr  // option 42
	Domain   string        // option 15
	Lease    time.Duration // 0 is one hour
}

// Tuning of pools.
const (
	defaultLease = time.Hour
	minLease     = time.Minute // shorter ones expire while a boot image is loading
	maxPool      = 1 << 20     // addresses; bounds memory
)

// Validate checks all that can be checked without the interfaces.
func (p *Pool) Validate() error {
	if !p.From.Is4() || !p.To.Is4() || p.To.Less(p.From) {
		return fmt.Errorf("pool %s-%s: want two IPv4 addresses, the first not above the last", p.From, p.To)
	}
	if n := offset(p.From, p.To); n >= maxPool {
		return fmt.Errorf("pool %s-%s: more than %d addresses", p.From, p.To, maxPool)
	}
	if p.Network.IsValid() && (!p.Network.Contains(p.From) || !p.Network.Contains(p.To)) {
		return fmt.Errorf("pool %s-%s does not lie in its network %s", p.From, p.To, p.Network)
	}
	if p.Lease != 0 && p.Lease < minLease {
		return fmt.Errorf("pool %s-%s: lease time %s is shorter than %s", p.From, p.To, p.Lease, minLease)
	}
	for _, a := range append(append(append([]netip.Addr(nil), p.Routers...), p.DNS...), p.NTP...) {
		if !a.Is4() {
			return fmt.Errorf("pool %s-%s: %s is not an IPv4 address", p.From, p.To, a)
		}
	}
	return nil
}

// offset is how far b lies behind a.
func offset(a, b netip.Addr) int {
	x, y := a.As4(), b.As4()
	return int(int64(binary.BigEndian.Uint32(y[:])) - int64(binary.BigEndian.Uint32(x[:])))
}

func addrAt(from netip.Addr, n int) netip.Addr {
	x := from.As4()
	binary.BigEndian.PutUint32(x[:], binary.BigEndian.Uint32(x[:])+uint32(n))
	return netip.AddrFrom4(x)
}

// slotState is what is known about one address.
type slotState uint8

const (
	slotFree     slotState = iota
	slotOffered            // offered, not yet asked for; not stored
	slotBound              // leased
	slotDeclined           // somebody uses it without having been given it
)

// slot is one address. Its key stays after the lease has ended, so that a
// client that comes back finds its address again unless it was needed.
type slot struct {
	lease    lease.Lease
	state    slotState
	reserved bool // only for the client of a reservation
	queued   bool // stands in the pool's queue of free slots
	probed   time.Time
}

// free says whether the address may be given to another client now.
func (s *slot) free(now time.Time) bool {
	return s.state == slotFree || !now.Before(s.lease.Expires)
}

// pool is the state of a Pool. Not safe for concurrent use; Leases guards it.
type pool struct {
	Pool
	slots []slot
	// queue holds indices of free slots, longest free first. A slot that was
	// taken by name (a returning client) is passed over when its turn comes.
	queue     []uint32
	reclaimed time.Time // when expired slots were last looked for
	retaken   time.Time // when declined addresses were last looked for
	resting   []uint32  // indices of those that were found then, declined longest ago first
}

func newPool(c Pool) *pool {
	if c.Lease == 0 {
		c.Lease = defaultLease
	}
	c.Network = c.Network.Masked()
	p := &pool{Pool: c, slots: make([]slot, offset(c.From, c.To)+1)}
	for i := range p.slots {
		p.slots[i].lease.Address = addrAt(c.From, i)
		p.enqueue(i)
	}
	return p
}

func (p *pool) enqueue(i int) {
	if s := &p.slots[i]; !s.queued && !s.reserved {
		s.queued = true
		p.queue = append(p.queue, uint32(i))
	}
}

// at is the slot of an address, nil when the address is outside the range.
func (p *pool) at(a netip.Addr) *slot {
	if !a.Is4() {
		return nil
	}
	if i := offset(p.From, a); i >= 0 && i < len(p.slots) {
		return &p.slots[i]
	}
	return nil
}

// release makes a slot free; its last client is remembered.
func (p *pool) release(s *slot) {
	s.state = slotFree
	if i := offset(p.From, s.lease.Address); i >= 0 && i < len(p.slots) {
		p.enqueue(i)
	}
}

// take is the slot that has been free longest, nil when there is none.
func (p *pool) take(now time.Time) *slot {
	for pass := range 2 {
		for len(p.queue) > 0 {
			s := &p.slots[p.queue[0]]
			p.queue = p.queue[1:]
			s.queued = false
			if s.state == slotFree && !s.reserved {
				return s
			}
		}
		// A full pool under a storm of requests is not searched for each one.
		if pass > 0 || now.Sub(p.reclaimed) < time.Second {
			return nil
		}
		p.reclaimed = now
		for i := range p.slots {
			if s := &p.slots[i]; s.state != slotFree && s.free(now) {
				s.state = slotFree
				p.enqueue(i)
			}
		}
		if len(p.queue) > 0 {
			continue
		}
		// Somebody who sends one DISCOVER after the other and asks for none of what he is
		// offered would hold the whole pool. Until it is taken by another, an offer is
		// still good.
		for i := range p.slots {
			if s := &p.slots[i]; s.state == slotOffered && now.Sub(s.lease.Expires.Add(-offerHold)) >= offerLeast {
				s.state = slotFree
				p.enqueue(i)
			}
		}
	}
	return nil
}

// rested is the address that was declined longest ago, for when there is no other:
// anybody can decline one address after the other, and machines are not to go without
// for it. It is probed before it is offered, whenever that was done last.
func (p *pool) rested(now time.Time) *slot {
	rests := func(s *slot) bool { return s.state == slotDeclined && s.lease.Declined && !s.reserved }
	// A full pool under a storm of requests is searched once a second, as in take; what
	// was found is for all of them.
	if len(p.resting) == 0 && now.Sub(p.retaken) >= time.Second {
		p.retaken = now
		for i := range p.slots {
			if rests(&p.slots[i]) {
				p.resting = append(p.resting, uint32(i))
			}
		}
		slices.SortFunc(p.resting, func(a, b uint32) int { return p.slots[a].lease.Expires.Compare(p.slots[b].lease.Expires) })
	}
	for len(p.resting) > 0 {
		s := &p.slots[p.resting[0]]
		p.resting = p.resting[1:]
		if rests(s) {
			s.state, s.probed = slotFree, time.Time{}
			return s
		}
	}
	return nil
}
