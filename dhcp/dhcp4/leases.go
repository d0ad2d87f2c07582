package dhcp4

import (
	"encoding/hex"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"sync"
	"time"

	"castpoint/boot"
	"castpoint/dhcp/lease"

	"github.com/insomniacslk/dhcp/dhcpv4"
)

// Reservation keeps an address for one machine. It is found by any of the three
// names that is set.
type Reservation struct {
	MAC      net.HardwareAddr
	UUID     string // canonical form
	ClientID string // option 61 in hexadecimal
	Address  netip.Addr
	Hostname string // option 12; "" sends none
}

// Tuning of leases.
const (
	offerHold  = 30 * time.Second // an offer nobody asks for is given to the next
	offerLeast = 5 * time.Second  // that early when there is no other address
	probeAgain = 10 * time.Minute // an address found free is not asked for again for so long
)

// DeclineHold is how long an address in foreign use rests.
const DeclineHold = 10 * time.Minute

// Leases gives addresses away. Safe for concurrent use.
type Leases struct {
	matchClientID bool
	store         lease.Store

	mu       sync.Mutex
	pools    []*pool
	held     map[string]*slot // by key: the slot a client holds or last held
	outside  map[netip.Addr]*slot
	byMAC    map[string]*Reservation
	byUUID   map[string]*Reservation
	byID     map[string]*Reservation
	reserved map[netip.Addr]*Reservation
}

// LeasesConfig is what NewLeases needs.
type LeasesConfig struct {
	Pools        []Pool // each with its network
	Reservations []Reservation
	Store        lease.Store // nil keeps leases in memory only
	// MatchClientID tells machines apart by option 61 before their MAC, as RFC
	// 2131 has it. Off by default: boot ROM, iPXE and Windows send different
	// identifiers, so one machine would take an address for each.
	MatchClientID bool
}

// NewLeases checks the pools and reservations and reads the store.
func NewLeases(c LeasesConfig) (*Leases, error) {
	l := &Leases{
		matchClientID: c.MatchClientID,
		store:         c.Store,
		held:          map[string]*slot{},
		outside:       map[netip.Addr]*slot{},
		byMAC:         map[string]*Reservation{},
		byUUID:        map[string]*Reservation{},
		byID:          map[string]*Reservation{},
		reserved:      map[netip.Addr]*Reservation{},
	}
	for _, p := range c.Pools {
		if err := p.Validate(); err != nil {
			return nil, err
		}
		if !p.Network.IsValid() {
			return nil, fmt.Errorf("pool %s-%s: network not set", p.From, p.To)
		}
		for _, other := range l.pools {
			if !p.To.Less(other.From) && !other.To.Less(p.From) {
				return nil, fmt.Errorf("pools %s-%s and %s-%s overlap", p.From, p.To, other.From, other.To)
			}
		}
		l.pools = append(l.pools, newPool(p))
	}
	for _, r := range c.Reservations {
		if err := l.reserve(r); err != nil {
			return nil, err
		}
	}
	if c.Store == nil {
		return l, nil
	}
	stored, err := c.Store.Load()
	if err != nil {
		return nil, fmt.Errorf("read leases: %w", err)
	}
	for _, lease := range stored {
		l.restore(lease)
	}
	return l, nil
}

func (l *Leases) reserve(r Reservation) error {
	if len(r.MAC) == 0 && r.UUID == "" && r.ClientID == "" {
		return fmt.Errorf("reservation of %s: no MAC, UUID or client identifier", r.Address)
	}
	if other := l.reserved[r.Address]; other != nil {
		return fmt.Errorf("reservation of %s: given twice", r.Address)
	}
	p := l.poolOf(r.Address)
	if p == nil {
		return fmt.Errorf("reservation of %s: in no pool's network", r.Address)
	}
	for _, name := range []struct {
		rows map[string]*Reservation
		key  string
	}{{l.byMAC, r.MAC.String()}, {l.byUUID, strings.ToLower(r.UUID)}, {l.byID, strings.ToLower(r.ClientID)}} {
		if name.key == "" {
			continue
		}
		if other := name.rows[name.key]; other != nil {
			return fmt.Errorf("reservations of %s and %s are both for %s", r.Address, other.Address, name.key)
		}
		name.rows[name.key] = &r
	}
	l.reserved[r.Address] = &r
	s := p.at(r.Address)
	if s == nil {
		s = &slot{lease: lease.Lease{Address: r.Address}}
		l.outside[r.Address] = s
	}
	s.reserved = true
	return nil
}

// restore puts a stored lease back; one whose address no pool has any more is
// forgotten.
func (l *Leases) restore(lease lease.Lease) {
	s := l.slotOf(lease.Address)
	if s == nil {
		return
	}
	s.lease, s.state = lease, slotBound
	if lease.Declined {
		s.state = slotDeclined
		return
	}
	l.held[lease.Key] = s
}

func (l *Leases) slotOf(a netip.Addr) *slot {
	if s := l.outside[a]; s != nil {
		return s
	}
	for _, p := range l.pools {
		if s := p.at(a); s != nil {
			return s
		}
	}
	return nil
}

// poolOf is the first pool whose network holds the address.
func (l *Leases) poolOf(a netip.Addr) *pool {
	for _, p := range l.pools {
		if a.IsValid() && p.Network.Contains(a) {
			return p
		}
	}
	return nil
}

// poolsFor are the pools of the network the client is on: what the relay or the
// client names (RFC 3527, RFC 3011), else the relay's own network, else the
// client's address, else the interface.
func (l *Leases) poolsFor(request *dhcpv4.DHCPv4, a Arrival) []*pool {
	var link netip.Addr
	info := request.RelayAgentInfo()
	switch {
	case info != nil && optionAddr(info.Options, dhcpv4.LinkSelectionSubOption).IsValid():
		link = optionAddr(info.Options, dhcpv4.LinkSelectionSubOption)
	case optionAddr(request.Options, optSubnetSelection).IsValid():
		link = optionAddr(request.Options, optSubnetSelection)
	case Addr(request.GatewayIPAddr).IsValid():
		link = Addr(request.GatewayIPAddr)
	case l.poolOf(Addr(request.ClientIPAddr)) != nil:
		link = Addr(request.ClientIPAddr)
	default:
		link = a.Server
	}
	first := l.poolOf(link)
	if first == nil {
		return nil
	}
	var same []*pool
	for _, p := range l.pools {
		if p.Network == first.Network {
			same = append(same, p)
		}
	}
	return same
}

func (l *Leases) reservation(request *dhcpv4.DHCPv4, c boot.Client) *Reservation {
	if r := l.byMAC[c.MAC.String()]; r != nil && len(c.MAC) > 0 {
		return r
	}
	if r := l.byUUID[c.UUID]; r != nil && c.UUID != "" {
		return r
	}
	if id := request.Options.Get(dhcpv4.OptionClientIdentifier); len(id) > 0 {
		return l.byID[hex.EncodeToString(id)]
	}
	return nil
}

func (l *Leases) key(request *dhcpv4.DHCPv4, c boot.Client) string {
	id := request.Options.Get(dhcpv4.OptionClientIdentifier)
	switch {
	case len(id) > 0 && (l.matchClientID || len(c.MAC) == 0):
		return "id:" + hex.EncodeToString(id)
	case len(c.MAC) > 0:
		return "mac:" + c.MAC.String()
	default:
		return "uuid:" + c.UUID
	}
}

// Answer decides on a request of server mode and remembers what it decided. A
// grant is stored before Answer returns it.
func (l *Leases) Answer(request *dhcpv4.DHCPv4, c boot.Client, a Arrival, now time.Time) Grant {
	l.mu.Lock()
	defer l.mu.Unlock()
	pools := l.poolsFor(request, a)
	if len(pools) == 0 {
		return Grant{Reason: "no pool for the client's network"}
	}
	q := question{
		Leases: l, request: request, client: c, arrival: a, now: now,
		pools: pools, key: l.key(request, c), reservation: l.reservation(request, c),
	}
	if q.reservation != nil && !pools[0].Network.Contains(q.reservation.Address) {
		q.reservation = nil // the machine stands in another network today
	}
	switch request.MessageType() {
	case dhcpv4.MessageTypeDiscover:
		return q.discover()
	case dhcpv4.MessageTypeRequest:
		return q.ask()
	case dhcpv4.MessageTypeDecline:
		return q.decline()
	case dhcpv4.MessageTypeRelease:
		return q.release()
	case dhcpv4.MessageTypeInform:
		return q.grant(dhcpv4.MessageTypeAck, nil)
	default:
		return Grant{Reason: fmt.Sprintf("%s is not for a server", request.MessageType())}
	}
}

// question is one request while it is answered; the lock is held.
type question struct {
	*Leases
	request     *dhcpv4.DHCPv4
	client      boot.Client
	arrival     Arrival
	now         time.Time
	pools       []*pool
	key         string
	reservation *Reservation
}

// mine says whether the client may have the slot now: it holds it, or it is
// free and for everybody, or reserved for this client.
func (q *question) mine(s *slot) bool {
	if s == nil || s.state == slotDeclined && !s.free(q.now) || s.lease.Address == q.arrival.Server {
		return false
	}
	if s.reserved && (q.reservation == nil || q.reservation.Address != s.lease.Address) {
		return false
	}
	// Reserved for a machine by its UUID, and held by another card of it: it may
	// boot by the one in its dock today.
	same := q.reservation != nil && q.reservation.UUID != "" && q.client.UUID != "" && q.client.UUID == s.lease.UUID
	return s.lease.Key == q.key || s.free(q.now) || same
}

// inPools is the slot of an address within the client's network, else nil.
func (q *question) inPools(a netip.Addr) *slot {
	if !a.IsValid() || !q.pools[0].Network.Contains(a) {
		return nil
	}
	return q.slotOf(a)
}

// choose follows RFC 2131 section 4.3.1: the reservation, the address the
// client holds or held, the one it wishes, one that was free longest.
func (q *question) choose() *slot {
	if q.reservation != nil {
		if s := q.slotOf(q.reservation.Address); q.mine(s) {
			return s
		}
		return nil
	}
	if s := q.held[q.key]; s != nil && s.lease.Key == q.key && q.inPools(s.lease.Address) == s && q.mine(s) {
		return s
	}
	if s := q.inPools(optionAddr(q.request.Options, dhcpv4.OptionRequestedIPAddress)); q.mine(s) {
		return s
	}
	for _, p := range q.pools {
		for s := p.take(q.now); s != nil; s = p.take(q.now) {
			if s.lease.Address != q.arrival.Server {
				return s
			}
			s.state, s.lease = slotDeclined, lease.Lease{Address: s.lease.Address, Expires: q.now.Add(24 * time.Hour)}
		}
	}
	for _, p := range q.pools {
		if s := p.rested(q.now); s != nil {
			return s
		}
	}
	return nil
}

func (q *question) discover() Grant {
	s := q.choose()
	if s == nil {
		if q.reservation != nil {
			return Grant{Reason: fmt.Sprintf("reserved address %s is in use by another machine", q.reservation.Address)}
		}
		return Grant{Reason: fmt.Sprintf("no free address in %s", q.pools[0].Network)}
	}
	if s.state != slotBound || s.lease.Key != q.key || s.free(q.now) {
		q.assign(s, slotOffered, q.now.Add(offerHold))
	}
	g := q.grant(dhcpv4.MessageTypeOffer, s)
	g.Unsure = s.state == slotOffered && q.now.Sub(s.probed) >= probeAgain
	return g
}

// ask answers a REQUEST: the client takes an offer (server identifier), comes
// back after a restart (requested address) or prolongs its lease (ciaddr); RFC
// 2131 section 4.3.2.
func (q *question) ask() Grant {
	wanted := optionAddr(q.request.Options, dhcpv4.OptionRequestedIPAddress)
	current := Addr(q.request.ClientIPAddr)
	server := optionAddr(q.request.Options, dhcpv4.OptionServerIdentifier)
	if server.IsValid() && server != identifier(q.request, q.arrival) {
		if s := q.held[q.key]; s != nil && s.state == slotOffered && s.lease.Key == q.key {
			q.free(s)
		}
		return Grant{Reason: "client took the offer of server " + server.String()}
	}
	if !wanted.IsValid() {
		wanted = current
	}
	if !wanted.IsValid() {
		return q.nak("request names no address")
	}
	s := q.inPools(wanted)
	switch {
	case s == nil && !q.pools[0].Network.Contains(wanted):
		return q.nak(fmt.Sprintf("%s is not in network %s", wanted, q.pools[0].Network))
	case s == nil && server.IsValid():
		return q.nak(fmt.Sprintf("%s was not offered", wanted))
	case s == nil:
		return Grant{Reason: fmt.Sprintf("%s is not an address castpoint gives away", wanted)}
	case q.reservation != nil && q.reservation.Address != wanted:
		return q.nak(fmt.Sprintf("%s is reserved for this client, not %s", q.reservation.Address, wanted))
	case !q.mine(s):
		return q.nak(fmt.Sprintf("%s is not free for this client", wanted))
	case s.lease.Key != q.key && !server.IsValid() && !current.IsValid():
		// INIT-REBOOT without a record: MUST remain silent.
		return Grant{Reason: fmt.Sprintf("no record that this client had %s", wanted)}
	}
	before, state := s.lease, s.state
	q.assign(s, slotBound, q.now.Add(q.pools[0].Lease))
	if q.store != nil {
		if err := q.store.Put(s.lease); err != nil {
			s.lease, s.state = before, state
			return Grant{Reason: fmt.Sprintf("lease of %s could not be stored: %v", wanted, err)}
		}
	}
	return q.grant(dhcpv4.MessageTypeAck, s)
}

func (q *question) decline() Grant {
	a := optionAddr(q.request.Options, dhcpv4.OptionRequestedIPAddress)
	s := q.inPools(a)
	if s == nil || s.lease.Key != q.key {
		return Grant{Reason: "declined an address it does not hold"}
	}
	q.quarantine(s, q.now)
	return Grant{Reason: fmt.Sprintf("client declined %s: another machine answers there; it rests for %s", a, DeclineHold)}
}

func (q *question) release() Grant {
	a := Addr(q.request.ClientIPAddr)
	s := q.inPools(a)
	if s == nil || s.lease.Key != q.key || s.state != slotBound {
		return Grant{Reason: "released an address it does not hold"}
	}
	q.free(s)
	if q.store != nil {
		if err := q.store.Delete(a); err != nil {
			return Grant{Reason: fmt.Sprintf("released %s, which could not be stored: %v", a, err)}
		}
	}
	return Grant{Reason: fmt.Sprintf("released %s", a)}
}

func (q *question) assign(s *slot, state slotState, expires time.Time) {
	if old := q.held[q.key]; old != nil && old != s && old.lease.Key == q.key && old.state == slotOffered {
		q.free(old)
	}
	if old := s.lease.Key; old != q.key && q.held[old] == s {
		delete(q.held, old)
	}
	s.state = state
	s.lease = lease.Lease{
		Address: s.lease.Address, Key: q.key, MAC: q.client.MAC.String(), UUID: q.client.UUID,
		Hostname: printable(q.request.Options.Get(dhcpv4.OptionHostName)), Expires: expires,
	}
	q.held[q.key] = s
}

func (l *Leases) free(s *slot) {
	for _, p := range l.pools {
		if p.at(s.lease.Address) == s {
			p.release(s)
			return
		}
	}
	s.state = slotFree
}

func (l *Leases) quarantine(s *slot, now time.Time) {
	if l.held[s.lease.Key] == s {
		delete(l.held, s.lease.Key)
	}
	s.state = slotDeclined
	s.lease = lease.Lease{Address: s.lease.Address, Expires: now.Add(DeclineHold), Declined: true}
	if l.store != nil {
		// Losing this record costs one more probe after a restart.
		_ = l.store.Put(s.lease)
	}
}

func (q *question) grant(verdict dhcpv4.MessageType, s *slot) Grant {
	p := q.pools[0]
	g := Grant{
		Verdict: verdict, Network: p.Network, Routers: p.Routers, DNS: p.DNS, NTP: p.NTP, Domain: p.Domain, Lease: p.Lease,
	}
	if s != nil {
		g.Address = s.lease.Address
	}
	if q.reservation != nil {
		g.Hostname = q.reservation.Hostname
	}
	return g
}

func (q *question) nak(reason string) Grant {
	return Grant{Verdict: dhcpv4.MessageTypeNak, Reason: reason}
}

// Probed notes that nobody answered at an address.
func (l *Leases) Probed(a netip.Addr, now time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if s := l.slotOf(a); s != nil {
		s.probed = now
	}
}

// Conflict takes an address out of use that was found to be answering.
func (l *Leases) Conflict(a netip.Addr, now time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if s := l.slotOf(a); s != nil {
		l.quarantine(s, now)
	}
}

// Current is a copy of the leases in force, unordered.
func (l *Leases) Current(now time.Time) []lease.Lease {
	l.mu.Lock()
	defer l.mu.Unlock()
	var all []lease.Lease
	add := func(s *slot) {
		if s.state == slotBound && !s.free(now) {
			all = append(all, s.lease)
		}
	}
	for _, p := range l.pools {
		for i := range p.slots {
			add(&p.slots[i])
		}
	}
	for _, s := range l.outside {
		add(s)
	}
	return all
}
