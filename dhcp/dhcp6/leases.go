package dhcp6

import (
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"hash/fnv"
	"net/netip"
	"sync"
	"time"

	"castpoint/boot"

	"github.com/insomniacslk/dhcp/dhcpv6"
	"github.com/insomniacslk/dhcp/iana"
)

// Pool is a range of addresses given away on one link.
type Pool struct {
	// Network is the link's network. It may be left out when a castpoint
	// interface has an address in it.
	Network  netip.Prefix
	From, To netip.Addr // first and last address, both included, in one /64
	DNS      []netip.Addr
	Domains  []string
	Lease    time.Duration // valid lifetime; 0 is one hour. The preferred one is 5/8 of it
}

// Tuning of leases.
const (
	defaultLease = time.Hour
	minLease     = time.Minute
	offerHold    = 30 * time.Second
	declineHold  = 10 * time.Minute
	maxLeases    = 1 << 18 // bounds memory, about 100 MB
	maxTries     = 4096    // addresses looked at for one request
	maxIAs       = 8       // identity associations in one request; more are left out
)

// Validate checks the pool.
func (p *Pool) Validate() error {
	if !global(p.From) || !global(p.To) || p.To.Less(p.From) {
		return fmt.Errorf("IPv6 pool %s-%s: want two global or unique local addresses, the first not above the last", p.From, p.To)
	}
	if from, to := p.From.As16(), p.To.As16(); [8]byte(from[:8]) != [8]byte(to[:8]) {
		return fmt.Errorf("IPv6 pool %s-%s: both addresses must lie in one /64", p.From, p.To)
	}
	if p.Network.IsValid() && (!p.Network.Contains(p.From) || !p.Network.Contains(p.To)) {
		return fmt.Errorf("IPv6 pool %s-%s does not lie in its network %s", p.From, p.To, p.Network)
	}
	if p.Lease != 0 && p.Lease < minLease {
		return fmt.Errorf("IPv6 pool %s-%s: lease time %s is shorter than %s", p.From, p.To, p.Lease, minLease)
	}
	for _, a := range p.DNS {
		if !a.Is6() || a.Is4In6() {
			return fmt.Errorf("IPv6 pool %s-%s: name server %s is not an IPv6 address", p.From, p.To, a)
		}
	}
	return nil
}

func global(a netip.Addr) bool {
	return a.Is6() && !a.Is4In6() && a.Zone() == "" && a.IsGlobalUnicast()
}

// Lease is one address and who it was given to.
type Lease struct {
	Address  netip.Addr
	Key      string // the client's DUID and its IAID in hexadecimal, "duid/iaid"
	MAC      string
	UUID     string
	Expires  time.Time
	Declined bool // taken out of use until Expires
}

// Store keeps leases over a restart.
type Store interface {
	Load() ([]Lease, error)
	// Put returns when the lease would outlive the death of this process.
	Put(Lease) error
	Delete(netip.Addr) error
}

// Grant is what the leases say to a request.
type Grant struct {
	Answer dhcpv6.MessageType // Advertise or Reply; None stays silent
	Reason string             // for None

	Bindings    []Binding
	HasStatus   bool // of the message as a whole
	Status      iana.StatusCode
	Text        string
	RapidCommit bool
	DNS         []netip.Addr
	Domains     []string
}

// First is the first address in the grant, invalid when there is none.
func (g *Grant) First() netip.Addr {
	for _, b := range g.Bindings {
		for _, a := range b.Addresses {
			return a.Address
		}
	}
	return netip.Addr{}
}

// Binding is the answer to one identity association.
type Binding struct {
	IAID      [4]byte
	Addresses []Address
	Status    iana.StatusCode
	Text      string
}

// Address is an address and its lifetimes; both 0 tell the client to stop using
// it.
type Address struct {
	Address          netip.Addr
	Preferred, Valid time.Duration
}

// Leases gives addresses away. Which one a client gets depends on its name
// alone unless that address is taken, so that it keeps its address even when
// all records are lost. Clients look for duplicates themselves (RFC 4862), so
// nothing is asked on the link before an offer. Safe for concurrent use.
type Leases struct {
	pools []Pool
	store Store

	mu    sync.Mutex
	taken map[netip.Addr]*slot
	held  map[string]*slot // by key
	swept time.Time
}

type slot struct {
	Lease
	offered bool // not yet asked for; not stored
}

// NewLeases checks the pools, which have their networks set, and reads the
// store, which may be nil.
func NewLeases(pools []Pool, store Store) (*Leases, error) {
	l := &Leases{store: store, taken: map[netip.Addr]*slot{}, held: map[string]*slot{}}
	for _, p := range pools {
		if err := p.Validate(); err != nil {
			return nil, err
		}
		if !p.Network.IsValid() {
			return nil, fmt.Errorf("IPv6 pool %s-%s: network not set", p.From, p.To)
		}
		if p.Lease == 0 {
			p.Lease = defaultLease
		}
		p.Network = p.Network.Masked()
		l.pools = append(l.pools, p)
	}
	if len(l.pools) == 0 {
		return nil, errors.New("no IPv6 pool")
	}
	if store == nil {
		return l, nil
	}
	stored, err := store.Load()
	if err != nil {
		return nil, fmt.Errorf("read IPv6 leases: %w", err)
	}
	for _, lease := range stored {
		if l.inPool(lease.Address) {
			s := &slot{Lease: lease}
			l.taken[lease.Address] = s
			if !lease.Declined {
				l.held[lease.Key] = s
			}
		}
	}
	return l, nil
}

func (l *Leases) inPool(a netip.Addr) bool {
	for i := range l.pools {
		if p := &l.pools[i]; a.IsValid() && !a.Less(p.From) && !p.To.Less(a) {
			return true
		}
	}
	return false
}

// poolsFor are the pools of the client's link: the relay's, or the interface's.
func (l *Leases) poolsFor(r *Request, a Arrival) []*Pool {
	var found []*Pool
	link := r.Link()
	for i := range l.pools {
		p := &l.pools[i]
		on := link.IsValid() && p.Network.Contains(link)
		for _, n := range a.Networks {
			on = on || len(r.Relays) == 0 && p.Network.Overlaps(n)
		}
		if on {
			found = append(found, p)
		}
	}
	return found
}

// question is one request while it is answered; the lock is held.
type question struct {
	*Leases
	request *Request
	client  boot.Client
	server  netip.Addr
	now     time.Time
	pools   []*Pool
	failed  error // of the store
}

// Answer decides on a request and remembers what it decided. Addresses that a
// Reply confirms are stored before Answer returns. A request that Reply will
// discard changes nothing.
func (l *Leases) Answer(r *Request, c boot.Client, a Arrival, now time.Time) *Grant {
	if invalid(r, a.ServerID) != "" {
		return &Grant{}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	q := &question{Leases: l, request: r, client: c, server: a.Server, now: now, pools: l.poolsFor(r, a)}
	if len(q.pools) == 0 {
		return &Grant{Reason: "no IPv6 pool for the client's link"}
	}
	g := &Grant{Answer: dhcpv6.MessageTypeReply, DNS: q.pools[0].DNS, Domains: q.pools[0].Domains}
	switch r.MessageType {
	case dhcpv6.MessageTypeSolicit:
		commit := r.Options.GetOne(dhcpv6.OptionRapidCommit) != nil
		if g.RapidCommit = commit; !commit {
			g.Answer = dhcpv6.MessageTypeAdvertise
		}
		g.Bindings = q.each(func(ia *dhcpv6.OptIANA) Binding { return q.give(ia, commit) })
	case dhcpv6.MessageTypeRequest:
		g.Bindings = q.each(func(ia *dhcpv6.OptIANA) Binding { return q.give(ia, true) })
	case dhcpv6.MessageTypeRenew, dhcpv6.MessageTypeRebind:
		g.Bindings = q.each(q.extend)
	case dhcpv6.MessageTypeConfirm:
		q.confirm(g)
	case dhcpv6.MessageTypeRelease, dhcpv6.MessageTypeDecline:
		g.HasStatus = true
		g.Bindings = q.giveBack(r.MessageType == dhcpv6.MessageTypeDecline)
	case dhcpv6.MessageTypeInformationRequest:
	}
	if q.failed != nil {
		return &Grant{Reason: fmt.Sprintf("IPv6 lease could not be stored: %v", q.failed)}
	}
	return g
}

func (q *question) each(f func(*dhcpv6.OptIANA) Binding) []Binding {
	var all []Binding
	for i, ia := range q.request.Options.IANA() {
		if i == maxIAs {
			break
		}
		all = append(all, f(ia))
	}
	return all
}

func (q *question) key(iaid [4]byte) string {
	return hex.EncodeToString(q.request.clientID()) + "/" + hex.EncodeToString(iaid[:])
}

func (q *question) give(ia *dhcpv6.OptIANA, bind bool) Binding {
	s, p := q.choose(ia)
	if s == nil {
		return Binding{IAID: ia.IaId, Status: iana.StatusNoAddrsAvail, Text: "no free address"}
	}
	return q.bind(ia.IaId, s, p, bind)
}

// choose is the slot the client holds, the one it wishes, else the one its name
// leads to or the next free one behind it.
func (q *question) choose(ia *dhcpv6.OptIANA) (*slot, *Pool) {
	key := q.key(ia.IaId)
	if s := q.held[key]; s != nil {
		if p := q.poolOf(s.Address); p != nil {
			return s, p
		}
	}
	for _, o := range ia.Options.Addresses() {
		if a := addrOf(o.IPv6Addr); q.free(a) {
			if p := q.poolOf(a); p != nil {
				return q.take(a, key), p
			}
		}
	}
	q.sweep()
	if len(q.taken) >= maxLeases {
		return nil, nil
	}
	h := fnv.New64a()
	_, _ = h.Write([]byte(key))
	for _, p := range q.pools {
		from, to := low(p.From), low(p.To)
		size := to - from + 1 // 0 is 2^64
		start := h.Sum64()
		if size != 0 {
			start %= size
		}
		tries := uint64(maxTries)
		if size != 0 {
			tries = min(tries, size)
		}
		for i := range tries {
			n := start + i
			if size != 0 {
				n %= size
			}
			if a := withLow(p.From, from+n); q.free(a) && low(a) != 0 {
				return q.take(a, key), p
			}
		}
	}
	return nil, nil
}

func low(a netip.Addr) uint64 {
	b := a.As16()
	return binary.BigEndian.Uint64(b[8:])
}

func withLow(a netip.Addr, n uint64) netip.Addr {
	b := a.As16()
	binary.BigEndian.PutUint64(b[8:], n)
	return netip.AddrFrom16(b)
}

func (q *question) poolOf(a netip.Addr) *Pool {
	for _, p := range q.pools {
		if !a.Less(p.From) && !p.To.Less(a) {
			return p
		}
	}
	return nil
}

func (q *question) free(a netip.Addr) bool {
	s := q.taken[a]
	return a.IsValid() && a != q.server && (s == nil || !q.now.Before(s.Expires))
}

func (q *question) take(a netip.Addr, key string) *slot {
	if old := q.taken[a]; old != nil && q.held[old.Key] == old {
		delete(q.held, old.Key)
	}
	s := &slot{Lease: Lease{Address: a, Key: key}, offered: true}
	q.taken[a], q.held[key] = s, s
	return s
}

func (q *question) bind(iaid [4]byte, s *slot, p *Pool, bind bool) Binding {
	switch {
	case bind:
		before := *s
		s.offered, s.Expires = false, q.now.Add(p.Lease)
		s.MAC, s.UUID = q.client.MAC.String(), q.client.UUID
		if q.store != nil {
			if err := q.store.Put(s.Lease); err != nil {
				*s, q.failed = before, err
			}
		}
	case s.offered || !q.now.Before(s.Expires):
		s.offered, s.Expires = true, q.now.Add(offerHold)
	}
	return Binding{IAID: iaid, Addresses: []Address{{s.Address, (p.Lease * 5 / 8).Truncate(time.Second), p.Lease}}}
}

// extend prolongs what the client has. An address of the pool that nobody holds
// is its own again: records may have been lost. One that is another's, or of
// another network, it must stop using (RFC 8415 sections 18.3.4 and 18.3.5).
func (q *question) extend(ia *dhcpv6.OptIANA) Binding {
	key := q.key(ia.IaId)
	b := Binding{IAID: ia.IaId}
	asked := ia.Options.Addresses()
	if len(asked) > maxIAs {
		asked = asked[:maxIAs]
	}
	for _, o := range asked {
		a := addrOf(o.IPv6Addr)
		p := q.poolOf(a)
		s := q.held[key]
		switch {
		case p != nil && s != nil && s.Address == a:
		case p != nil && s == nil && q.free(a):
			s = q.take(a, key)
		default:
			if a.IsValid() {
				b.Addresses = append(b.Addresses, Address{Address: a})
			}
			continue
		}
		b.Addresses = append(b.Addresses, q.bind(ia.IaId, s, p, true).Addresses...)
	}
	if len(b.Addresses) == 0 {
		b.Status, b.Text = iana.StatusNoBinding, "no address to prolong"
	}
	return b
}

// confirm says whether the client is still on the link of its addresses.
func (q *question) confirm(g *Grant) {
	g.HasStatus = true
	asked := 0
	for _, ia := range q.request.Options.IANA() {
		for _, o := range ia.Options.Addresses() {
			asked++
			on := false
			for _, p := range q.pools {
				on = on || p.Network.Contains(addrOf(o.IPv6Addr))
			}
			if !on {
				g.Status, g.Text = iana.StatusNotOnLink, "the address is of another link"
			}
		}
	}
	if asked == 0 {
		*g = Grant{Reason: "confirms no address"}
	}
}

// giveBack ends leases; declined addresses rest.
func (q *question) giveBack(declined bool) []Binding {
	var unknown []Binding
	for i, ia := range q.request.Options.IANA() {
		if i == maxIAs {
			break
		}
		s := q.held[q.key(ia.IaId)]
		o := ia.Options.OneAddress()
		if s == nil || o == nil || addrOf(o.IPv6Addr) != s.Address {
			unknown = append(unknown, Binding{IAID: ia.IaId, Status: iana.StatusNoBinding, Text: "not an address of this client"})
			continue
		}
		delete(q.held, s.Key)
		var err error
		if declined {
			s.Lease = Lease{Address: s.Address, Expires: q.now.Add(declineHold), Declined: true}
			s.offered = false
			if q.store != nil {
				err = q.store.Put(s.Lease)
			}
		} else {
			delete(q.taken, s.Address)
			if q.store != nil {
				err = q.store.Delete(s.Address)
			}
		}
		if err != nil {
			q.failed = err
		}
	}
	return unknown
}

// sweep forgets ended leases when there are many, at most once a second.
func (q *question) sweep() {
	if len(q.taken) < maxLeases || q.now.Sub(q.swept) < time.Second {
		return
	}
	q.swept = q.now
	for a, s := range q.taken {
		if !q.now.Before(s.Expires) {
			delete(q.taken, a)
			if q.held[s.Key] == s {
				delete(q.held, s.Key)
			}
		}
	}
}

// Current is a copy of the leases in force, unordered.
func (l *Leases) Current(now time.Time) []Lease {
	l.mu.Lock()
	defer l.mu.Unlock()
	var all []Lease
	for _, s := range l.taken {
		if !s.offered && !s.Declined && now.Before(s.Expires) {
			all = append(all, s.Lease)
		}
	}
	return all
}
