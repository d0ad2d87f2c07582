package dhcp4

import (
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"castpoint/boot"
	"castpoint/dhcp/lease"

	"github.com/insomniacslk/dhcp/dhcpv4"
)

// office is a DHCP server in a test: leases, a clock and clients that speak to
// it.
type office struct {
	t      *testing.T
	leases *Leases
	now    time.Time
	server netip.Addr
}

func newOffice(t *testing.T, c LeasesConfig) *office {
	t.Helper()
	if c.Pools == nil {
		c.Pools = []Pool{{
			Network: goldenNetwork, From: netip.MustParseAddr("10.77.0.100"), To: netip.MustParseAddr("10.77.0.102"), Lease: time.Hour,
		}}
	}
	l, err := NewLeases(c)
	if err != nil {
		t.Fatal(err)
	}
	return &office{t: t, leases: l, now: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC), server: goldenServer}
}

func from(n byte) dhcpv4.Modifier {
	return func(p *dhcpv4.DHCPv4) { p.ClientHWAddr = testMAC(n) }
}

func wants(a string) dhcpv4.Modifier { return option(50, net.ParseIP(a).To4()...) }

func holds(a string) dhcpv4.Modifier { return dhcpv4.WithClientIP(net.ParseIP(a).To4()) }

func (o *office) hear(kind dhcpv4.MessageType, mods ...dhcpv4.Modifier) Grant {
	o.t.Helper()
	p := packet(kind, mods...)
	a := arrivalOf(p, PortServer)
	a.Server = o.server
	c, err := Identify(p, a)
	if err != nil {
		o.t.Fatal(err)
	}
	return o.leases.Answer(p, c, a, o.now)
}

func (o *office) discover(mods ...dhcpv4.Modifier) Grant {
	return o.hear(dhcpv4.MessageTypeDiscover, mods...)
}

// take asks for the address of an offer.
func (o *office) take(offer Grant, mods ...dhcpv4.Modifier) Grant {
	o.t.Helper()
	return o.hear(dhcpv4.MessageTypeRequest, append(mods, option(54, o.server.AsSlice()...), option(50, offer.Address.AsSlice()...))...)
}

// join is the whole way to an address.
func (o *office) join(mods ...dhcpv4.Modifier) netip.Addr {
	o.t.Helper()
	offer := o.discover(mods...)
	ack := o.take(offer, mods...)
	if ack.Verdict != dhcpv4.MessageTypeAck || ack.Address != offer.Address {
		o.t.Fatalf("offer %+v, then %+v", offer, ack)
	}
	return ack.Address
}

func expect(t *testing.T, g Grant, verdict dhcpv4.MessageType, address string) {
	t.Helper()
	var a netip.Addr
	if address != "" {
		a = netip.MustParseAddr(address)
	}
	if g.Verdict != verdict || g.Address != a {
		t.Errorf("%s %s (%s), want %s %s", g.Verdict, g.Address, g.Reason, verdict, a)
	}
	if (g.Verdict == dhcpv4.MessageTypeNone || g.Verdict == dhcpv4.MessageTypeNak) && g.Reason == "" {
		t.Error("no reason")
	}
}

const (
	none  = dhcpv4.MessageTypeNone
	offer = dhcpv4.MessageTypeOffer
	ack   = dhcpv4.MessageTypeAck
	nak   = dhcpv4.MessageTypeNak
	ask   = dhcpv4.MessageTypeRequest
)

func TestLeasesGiveEachClientItsOwn(t *testing.T) {
	o := newOffice(t, LeasesConfig{})
	seen := map[netip.Addr]byte{}
	for n := byte(1); n <= 3; n++ {
		a := o.join(from(n))
		if other := seen[a]; other != 0 {
			t.Errorf("%s given to %d and %d", a, other, n)
		}
		seen[a] = n
		if again := o.join(from(n)); again != a {
			t.Errorf("client %d had %s and got %s", n, a, again)
		}
	}
	g := o.discover(from(4))
	expect(t, g, none, "")
	if !strings.Contains(g.Reason, "no free address in 10.77.0.0/24") {
		t.Errorf("reason %q", g.Reason)
	}
	// When a lease has ended, its address goes to the next.
	o.now = o.now.Add(61 * time.Minute)
	if a := o.join(from(4)); seen[a] == 0 {
		t.Errorf("address %s out of nowhere", a)
	}
}

func TestLeaseComesBackToItsClient(t *testing.T) {
	o := newOffice(t, LeasesConfig{})
	a := o.join(from(1))
	expect(t, o.hear(dhcpv4.MessageTypeRelease, from(1), holds(a.String())), none, "")
	if others := []netip.Addr{o.join(from(2)), o.join(from(3))}; others[0] == a || others[1] == a {
		t.Errorf("%s was given away first, want the one that is free longest", a)
	}
	o.now = o.now.Add(2 * time.Hour)
	if back := o.join(from(1)); back != a {
		t.Errorf("got %s, had %s", back, a)
	}
}

func TestOffersAreHeldForAWhile(t *testing.T) {
	o := newOffice(t, LeasesConfig{})
	first := o.discover(from(1))
	for n := byte(2); n <= 3; n++ {
		o.discover(from(n))
	}
	expect(t, o.discover(from(4)), none, "")
	if again := o.discover(from(1)); again.Address != first.Address {
		t.Errorf("offered %s, then %s", first.Address, again.Address)
	}
	o.now = o.now.Add(offerHold + time.Second)
	if g := o.discover(from(4)); g.Verdict != offer {
		t.Errorf("offers nobody took are not given to others: %s", g.Reason)
	}
}

func TestRequests(t *testing.T) {
	o := newOffice(t, LeasesConfig{})
	a := o.join(from(1)).String()
	other := "10.77.0.102"
	server := option(54, goldenServer.AsSlice()...)

	t.Run("renew", func(t *testing.T) { expect(t, o.hear(ask, from(1), holds(a)), ack, a) })
	t.Run("restart", func(t *testing.T) { expect(t, o.hear(ask, from(1), wants(a)), ack, a) })
	t.Run("an address never offered", func(t *testing.T) { expect(t, o.hear(ask, from(2), server, wants(a)), nak, "") })
	t.Run("an address outside the pool", func(t *testing.T) { expect(t, o.hear(ask, from(2), server, wants("10.77.0.9")), nak, "") })
	t.Run("an address of another network", func(t *testing.T) { expect(t, o.hear(ask, from(2), wants("192.168.1.5")), nak, "") })
	t.Run("renew in another network", func(t *testing.T) { expect(t, o.hear(ask, from(2), holds("192.168.1.5")), nak, "") })
	t.Run("somebody else's address", func(t *testing.T) { expect(t, o.hear(ask, from(2), wants(a)), nak, "") })
	t.Run("restart without a record: silence (RFC 2131 4.3.2)", func(t *testing.T) { expect(t, o.hear(ask, from(2), wants(other)), none, "") })
	t.Run("renew without a record: taken in again when free", func(t *testing.T) { expect(t, o.hear(ask, from(3), holds(other)), ack, other) })
	t.Run("no address at all", func(t *testing.T) { expect(t, o.hear(ask, from(2)), nak, "") })
	t.Run("the server's own address", func(t *testing.T) { expect(t, o.hear(ask, from(2), server, wants(goldenServer.String())), nak, "") })
	t.Run("another server's offer", func(t *testing.T) {
		g := o.discover(from(2))
		if g.Verdict != offer {
			t.Fatal(g.Reason)
		}
		expect(t, o.hear(ask, from(2), option(54, 10, 77, 0, 2), wants("10.77.0.50")), none, "")
		if again := o.discover(from(9)); again.Address != g.Address {
			t.Errorf("the address of the refused offer is still held: %+v", again)
		}
	})
	t.Run("inform", func(t *testing.T) {
		g := o.hear(dhcpv4.MessageTypeInform, from(7), holds("10.77.0.200"))
		expect(t, g, ack, "")
		if !g.Network.IsValid() {
			t.Error("no network")
		}
	})
	t.Run("a server's word", func(t *testing.T) { expect(t, o.hear(dhcpv4.MessageTypeOffer, from(7)), none, "") })
}

func TestDeclinedAddressRests(t *testing.T) {
	o := newOffice(t, LeasesConfig{})
	a := o.join(from(1))
	expect(t, o.hear(dhcpv4.MessageTypeDecline, from(2), wants(a.String())), none, "")
	if again := o.join(from(1)); again != a {
		t.Fatal("a stranger's DECLINE took the address away")
	}
	expect(t, o.hear(dhcpv4.MessageTypeDecline, from(1), wants(a.String())), none, "")
	for n := byte(1); n <= 2; n++ { // there are two others
		if g := o.discover(from(n)); g.Address == a {
			t.Errorf("declined address offered to %d", n)
		}
	}
	o.now = o.now.Add(DeclineHold + time.Second)
	found := false
	for n := byte(10); n < 13; n++ {
		found = found || o.discover(from(n)).Address == a
	}
	if !found {
		t.Error("a declined address never comes back")
	}
}

// A stranger who declines one address after the other does not leave the others
// without: the address that has rested longest is offered once more, after a probe.
func TestDeclinedAddressesComeBackWhenThereAreNoOthers(t *testing.T) {
	o := newOffice(t, LeasesConfig{})
	var declined []string
	for n := range byte(3) {
		g := o.hear(dhcpv4.MessageTypeDiscover, from(10+n))
		o.hear(dhcpv4.MessageTypeRequest, from(10+n), wants(g.Address.String()))
		o.leases.Probed(g.Address, o.now)
		o.hear(dhcpv4.MessageTypeDecline, from(10+n), wants(g.Address.String()))
		declined = append(declined, g.Address.String())
		o.now = o.now.Add(time.Second)
	}
	g := o.hear(dhcpv4.MessageTypeDiscover, from(1))
	if g.Address.String() != declined[0] || !g.Unsure {
		t.Fatalf("with all of %v declined a machine is offered %s, to be probed %v: %s", declined, g.Address, g.Unsure, g.Reason)
	}
	// Somebody does answer there: the next one, a while later.
	o.leases.Conflict(g.Address, o.now)
	o.now = o.now.Add(time.Second)
	if g = o.hear(dhcpv4.MessageTypeDiscover, from(1)); g.Address.String() != declined[1] {
		t.Errorf("then %s is offered: %s", g.Address, g.Reason)
	}
}

// As many machines as there are such addresses get one at the same time: a room that
// is switched on does not wait a second for each.
func TestDeclinedAddressesComeBackForAll(t *testing.T) {
	o := newOffice(t, LeasesConfig{})
	for n := range byte(3) {
		g := o.hear(dhcpv4.MessageTypeDiscover, from(10+n))
		o.hear(dhcpv4.MessageTypeRequest, from(10+n), wants(g.Address.String()))
		o.hear(dhcpv4.MessageTypeDecline, from(10+n), wants(g.Address.String()))
	}
	o.now = o.now.Add(time.Second)
	given := map[netip.Addr]bool{}
	for n := range byte(3) {
		g := o.discover(from(1 + n))
		if !g.Address.IsValid() || given[g.Address] || !g.Unsure {
			t.Errorf("machine %d: %s, to be probed %v: %s", n, g.Address, g.Unsure, g.Reason)
		}
		given[g.Address] = true
	}
}

// A stranger who asks and asks, and takes nothing of what he is offered, does not
// leave the others without.
func TestOffersOfAFullPoolAreGivenOnSooner(t *testing.T) {
	o := newOffice(t, LeasesConfig{})
	first := o.discover(from(10))
	for n := byte(11); n < 13; n++ {
		o.discover(from(n))
	}
	expect(t, o.discover(from(1)), none, "")
	o.now = o.now.Add(offerLeast)
	if a := o.join(from(1)); !a.IsValid() {
		t.Error("nothing")
	}
	// Who was offered one may still take it, as long as no other has it.
	o.now = o.now.Add(time.Second)
	got := 0
	for n := byte(10); n < 13; n++ {
		if o.take(o.discover(from(n)), from(n)).Verdict == ack {
			got++
		}
	}
	if got != 2 {
		t.Errorf("%d of the others got one, and there are two; the first offer was %s", got, first.Address)
	}
}

// The clock of the host is set forth and back, by a year and by a second. An address
// that somebody may have is not given to another unless it is probed first, and
// everybody gets one again.
func TestClockJumps(t *testing.T) {
	const year = 365 * 24 * time.Hour
	for _, jump := range []time.Duration{year, -year, time.Hour, -time.Hour, time.Second, -time.Second} {
		t.Run(jump.String(), func(t *testing.T) {
			o := newOffice(t, LeasesConfig{})
			has := map[netip.Addr]byte{o.join(from(1)): 1, o.join(from(2)): 2}
			o.now = o.now.Add(jump)
			third := o.discover(from(3))
			if owner := has[third.Address]; owner != 0 && !third.Unsure {
				t.Errorf("%s is %d's, and is offered to another unasked", third.Address, owner)
			}
			for a, owner := range has {
				if a == third.Address {
					continue // probed, and not answered
				}
				expect(t, o.hear(ask, from(owner), holds(a.String())), ack, a.String())
				if again := o.join(from(owner)); again != a {
					t.Errorf("%d had %s and got %s", owner, a, again)
				}
			}
			// And back again: whoever has asked since keeps what he has.
			before := map[netip.Addr]byte{}
			for n := byte(1); n <= 3; n++ {
				before[o.join(from(n))] = n
			}
			o.now = o.now.Add(-jump)
			for n := byte(1); n <= 3; n++ {
				if a := o.join(from(n)); before[a] != n {
					t.Errorf("%s was %d's and went to %d", a, before[a], n)
				}
			}
			// In the end an address that nobody prolongs is free, whatever the clock was.
			o.now = o.now.Add(max(jump, 0) + 2*time.Hour)
			o.join(from(9))
		})
	}
}

func TestReservations(t *testing.T) {
	const uuid = "6a1c2f10-8e4b-4f0d-9a57-0123456789ab"
	at := netip.MustParseAddr
	o := newOffice(t, LeasesConfig{Reservations: []Reservation{
		{MAC: testMAC(1), Address: at("10.77.0.100"), Hostname: "first"},
		{UUID: uuid, Address: at("10.77.0.20")},
		{ClientID: hex.EncodeToString([]byte("\x00lab-7")), Address: at("10.77.0.102")},
	}})
	if a := o.join(from(2)); a != at("10.77.0.101") {
		t.Errorf("a stranger got %s, the only address that is not reserved is 10.77.0.101", a)
	}
	expect(t, o.discover(from(3)), none, "")
	g := o.discover(from(1))
	expect(t, g, offer, "10.77.0.100")
	if g.Hostname != "first" {
		t.Errorf("host name %q", g.Hostname)
	}
	expect(t, o.discover(from(8), uuidOption()), offer, "10.77.0.20") // outside the range
	expect(t, o.take(Grant{Address: at("10.77.0.20")}, from(8), uuidOption()), ack, "10.77.0.20")
	expect(t, o.discover(from(9), option(61, []byte("\x00lab-7")...)), offer, "10.77.0.102")
	// A machine that had an address of the pool before it was reserved one is
	// told to come again.
	expect(t, o.hear(ask, from(1), holds("10.77.0.101")), nak, "")
	// And a stranger cannot have a reserved one by asking.
	expect(t, o.hear(ask, from(3), option(54, goldenServer.AsSlice()...), wants("10.77.0.100")), nak, "")
}

func TestBadPoolsAndReservations(t *testing.T) {
	at, network := netip.MustParseAddr, goldenNetwork
	good := Pool{Network: network, From: at("10.77.0.100"), To: at("10.77.0.110")}
	for name, c := range map[string]LeasesConfig{
		"first above last":     {Pools: []Pool{{Network: network, From: at("10.77.0.9"), To: at("10.77.0.8")}}},
		"outside its network":  {Pools: []Pool{{Network: network, From: at("10.78.0.1"), To: at("10.78.0.8")}}},
		"IPv6":                 {Pools: []Pool{{From: at("fe80::1"), To: at("fe80::2")}}},
		"no network":           {Pools: []Pool{{From: at("10.77.0.1"), To: at("10.77.0.8")}}},
		"too many":             {Pools: []Pool{{Network: netip.MustParsePrefix("10.0.0.0/8"), From: at("10.0.0.1"), To: at("10.255.0.0")}}},
		"too short a lease":    {Pools: []Pool{{Network: network, From: at("10.77.0.1"), To: at("10.77.0.8"), Lease: time.Second}}},
		"router of IPv6":       {Pools: []Pool{{Network: network, From: at("10.77.0.1"), To: at("10.77.0.8"), Routers: []netip.Addr{at("fe80::1")}}}},
		"overlap":              {Pools: []Pool{good, {Network: network, From: at("10.77.0.110"), To: at("10.77.0.120")}}},
		"reserved for nobody":  {Pools: []Pool{good}, Reservations: []Reservation{{Address: at("10.77.0.5")}}},
		"reserved elsewhere":   {Pools: []Pool{good}, Reservations: []Reservation{{MAC: testMAC(1), Address: at("10.78.0.5")}}},
		"reserved twice":       {Pools: []Pool{good}, Reservations: []Reservation{{MAC: testMAC(1), Address: at("10.77.0.5")}, {MAC: testMAC(2), Address: at("10.77.0.5")}}},
		"one machine reserved": {Pools: []Pool{good}, Reservations: []Reservation{{MAC: testMAC(1), Address: at("10.77.0.5")}, {MAC: testMAC(1), Address: at("10.77.0.6")}}},
	} {
		if _, err := NewLeases(c); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

// One machine, three identifiers: boot ROM, iPXE, Windows. It keeps one address
// unless the site asks for RFC 2131 to the letter.
func TestClientIdentifiersOfOneMachine(t *testing.T) {
	ids := []dhcpv4.Modifier{option(61, 0, 1, 2, 3), option(61, 1, 0x52, 0x54, 0, 0, 0, 1), option(61, []byte("\xffduid")...)}
	for _, strict := range []bool{false, true} {
		o := newOffice(t, LeasesConfig{MatchClientID: strict})
		seen := map[netip.Addr]bool{}
		for _, id := range ids {
			seen[o.join(from(1), id)] = true
		}
		if want := map[bool]int{false: 1, true: 3}[strict]; len(seen) != want {
			t.Errorf("MatchClientID %v: %d addresses, want %d", strict, len(seen), want)
		}
	}
}

func TestPoolsOfSeveralNetworks(t *testing.T) {
	at := netip.MustParseAddr
	o := newOffice(t, LeasesConfig{Pools: []Pool{
		{Network: goldenNetwork, From: at("10.77.0.100"), To: at("10.77.0.110")},
		{Network: netip.MustParsePrefix("10.88.0.0/24"), From: at("10.88.0.100"), To: at("10.88.0.100")},
		{Network: netip.MustParsePrefix("10.88.0.0/24"), From: at("10.88.0.200"), To: at("10.88.0.200")},
	}})
	relay := dhcpv4.WithRelay(goldenRelay)
	expect(t, o.discover(from(1)), offer, "10.77.0.100")
	if a := o.join(from(2), relay); a != at("10.88.0.100") {
		t.Errorf("through the relay: %s", a)
	}
	expect(t, o.discover(from(3), relay), offer, "10.88.0.200") // the second range of that network
	expect(t, o.discover(from(4), relay), none, "")
	expect(t, o.discover(from(5), dhcpv4.WithRelay(net.IPv4(10, 99, 0, 1))), none, "") // nobody's network
	// RFC 3527: the relay's address is elsewhere, it names the link.
	expect(t, o.discover(from(3), dhcpv4.WithRelay(net.IPv4(10, 99, 0, 1)), option(82, 5, 4, 10, 88, 0, 0)), offer, "10.88.0.200")
	// Renewals come straight from the client, not through the relay.
	expect(t, o.hear(ask, from(2), holds("10.88.0.100")), ack, "10.88.0.100")
	// A machine that was moved is told so.
	expect(t, o.hear(ask, from(2), wants("10.88.0.100")), nak, "")
}

func TestServerAddressIsNeverGivenAway(t *testing.T) {
	o := newOffice(t, LeasesConfig{})
	o.server = netip.MustParseAddr("10.77.0.101")
	for n := byte(1); n <= 2; n++ {
		if a := o.join(from(n)); a == o.server {
			t.Errorf("gave away its own address")
		}
	}
	expect(t, o.discover(from(3)), none, "")
	expect(t, o.discover(from(3), wants("10.77.0.101")), none, "")
}

// brokenStore fails like a full disk.
type brokenStore struct{ err error }

func (b brokenStore) Load() ([]lease.Lease, error) { return nil, nil }
func (b brokenStore) Put(lease.Lease) error        { return b.err }
func (b brokenStore) Delete(netip.Addr) error      { return b.err }

func TestNoAckThatIsNotStored(t *testing.T) {
	o := newOffice(t, LeasesConfig{Store: brokenStore{errors.New("no space left on device")}})
	g := o.take(o.discover(from(1)), from(1))
	expect(t, g, none, "")
	if !strings.Contains(g.Reason, "no space left on device") {
		t.Errorf("reason %q", g.Reason)
	}
	if len(o.leases.Current(o.now)) != 0 {
		t.Error("there is a lease that nobody stored")
	}
}

// Many clients at once: no address twice, none lost.
func TestLeasesUnderLoad(t *testing.T) {
	const clients = 2000
	l, err := NewLeases(LeasesConfig{Pools: []Pool{{
		Network: netip.MustParsePrefix("10.0.0.0/16"), From: netip.MustParseAddr("10.0.1.0"), To: netip.MustParseAddr("10.0.9.255"),
	}}})
	if err != nil {
		t.Fatal(err)
	}
	a := Arrival{Server: netip.MustParseAddr("10.0.0.1"), Port: PortServer}
	now := time.Now()
	done := make(chan error)
	for part := range 4 {
		go func() {
			for i := part; i < clients; i += 4 {
				mac := net.HardwareAddr{2, 0, 0, 0, byte(i >> 8), byte(i)}
				p := packet(dhcpv4.MessageTypeDiscover, dhcpv4.WithHwAddr(mac))
				c := boot.Client{MAC: mac}
				g := l.Answer(p, c, a, now)
				p = packet(ask, dhcpv4.WithHwAddr(mac), option(54, 10, 0, 0, 1), option(50, g.Address.AsSlice()...))
				if got := l.Answer(p, c, a, now); got.Verdict != ack || got.Address != g.Address {
					done <- fmt.Errorf("client %d: %+v after %+v", i, got, g)
					return
				}
			}
			done <- nil
		}()
	}
	for range 4 {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
	seen := map[netip.Addr]bool{}
	for _, lease := range l.Current(now) {
		seen[lease.Address] = true
	}
	if len(seen) != clients {
		t.Errorf("%d addresses for %d clients", len(seen), clients)
	}
}

// Leases and journal together: a new server knows what the old one gave.
func TestLeasesOutliveTheServer(t *testing.T) {
	path := filepath.Join(t.TempDir(), "leases")
	j := mustOpen(t, path)
	o := newOffice(t, LeasesConfig{Store: j})
	one, two := o.join(from(1)), o.join(from(2))
	o.hear(4, from(2), wants(two.String())) // DECLINE
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	o = newOffice(t, LeasesConfig{Store: mustOpen(t, path)})
	expect(t, o.hear(ask, from(1), holds(one.String())), ack, one.String())
	if g := o.discover(from(3)); g.Address == one || g.Address == two {
		t.Errorf("%s offered: it is %s's, or declined", g.Address, one)
	}
	for n := byte(4); n < 7; n++ {
		if g := o.discover(from(n)); g.Address == one {
			t.Errorf("%s offered to %d: it is another's", g.Address, n)
		}
	}
}

func mustOpen(t *testing.T, path string) *lease.Journal {
	t.Helper()
	j, err := lease.OpenJournal(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = j.Close() })
	return j
}
