package dhcp6

import (
	"errors"
	"net/netip"
	"strings"
	"testing"
	"time"

	"castpoint/boot"

	"github.com/insomniacslk/dhcp/dhcpv6"
	"github.com/insomniacslk/dhcp/iana"
)

// ask puts a message to the leases.
func ask(l *Leases, now time.Time, m *dhcpv6.Message) *Grant {
	return l.Answer(&Request{Message: m}, boot.Client{}, arrival(PortServer, testClient), now)
}

func clientID(n byte) dhcpv6.Option {
	return dhcpv6.OptClientID(&dhcpv6.DUIDUUID{UUID: [16]byte{n}})
}

func TestLeaseLife(t *testing.T) {
	l, now := newLeases(t), time.Unix(1000, 0)
	mine := dhcpv6.OptServerID(testID)
	offer := ask(l, now, message(dhcpv6.MessageTypeSolicit, clientID(1), ia())).First()
	if !offer.IsValid() || !testPool().Network.Contains(offer) {
		t.Fatalf("offered %s", offer)
	}
	if len(l.Current(now)) != 0 {
		t.Error("an offer counts as a lease")
	}
	if got := ask(l, now, message(dhcpv6.MessageTypeRequest, clientID(1), mine, ia(offer.String()))).First(); got != offer {
		t.Fatalf("offered %s, then gave %s", offer, got)
	}
	if got := ask(l, now, message(dhcpv6.MessageTypeRenew, clientID(1), mine, ia(offer.String()))); got.First() != offer || got.Bindings[0].Addresses[0].Valid != time.Hour {
		t.Errorf("renew gave %+v", got)
	}
	// Another client that names it gets another one.
	if got := ask(l, now, message(dhcpv6.MessageTypeRequest, clientID(2), mine, ia(offer.String()))).First(); got == offer || !got.IsValid() {
		t.Errorf("second client was given %s", got)
	}
	// One that renews it is told to stop.
	if got := ask(l, now, message(dhcpv6.MessageTypeRenew, clientID(3), mine, ia(offer.String()))).Bindings[0].Addresses; len(got) != 1 || got[0].Valid != 0 {
		t.Errorf("third client renewed the address of the first: %+v", got)
	}
	// For another server: nothing happens.
	if got := ask(l, now, message(dhcpv6.MessageTypeRelease, clientID(1), dhcpv6.OptServerID(otherID), ia(offer.String()))); got.Answer != dhcpv6.MessageTypeNone {
		t.Errorf("answered another server's release: %+v", got)
	}
	if got := ask(l, now, message(dhcpv6.MessageTypeRelease, clientID(1), mine, ia(offer.String()))); !got.HasStatus || got.Status != iana.StatusSuccess || len(got.Bindings) != 0 {
		t.Errorf("release: %+v", got)
	}
	if got := ask(l, now, message(dhcpv6.MessageTypeRelease, clientID(1), mine, ia(offer.String()))).Bindings; len(got) != 1 || got[0].Status != iana.StatusNoBinding {
		t.Errorf("second release: %+v", got)
	}
	// The name leads to the same address again.
	if got := ask(l, now, message(dhcpv6.MessageTypeSolicit, clientID(1), ia())).First(); got != offer {
		t.Errorf("offered %s after %s", got, offer)
	}
}

func TestDeclinedAddressRests(t *testing.T) {
	l, now := newLeases(t), time.Unix(1000, 0)
	mine := dhcpv6.OptServerID(testID)
	first := ask(l, now, message(dhcpv6.MessageTypeRequest, clientID(1), mine, ia())).First()
	ask(l, now, message(dhcpv6.MessageTypeDecline, clientID(1), mine, ia(first.String())))
	if got := ask(l, now, message(dhcpv6.MessageTypeSolicit, clientID(1), ia(first.String()))).First(); got == first || !got.IsValid() {
		t.Errorf("%s was offered again", got)
	}
	later := now.Add(declineHold + time.Second)
	if got := ask(l, later, message(dhcpv6.MessageTypeSolicit, clientID(9), ia(first.String()))).First(); got != first {
		t.Errorf("%s still rests: %s", first, got)
	}
}

func TestPoolsThatAreFull(t *testing.T) {
	p := testPool()
	p.To = netip.MustParseAddr("fd77::1001")
	l, err := NewLeases([]Pool{p}, nil)
	if err != nil {
		t.Fatal(err)
	}
	now, mine := time.Unix(1000, 0), dhcpv6.OptServerID(testID)
	a := ask(l, now, message(dhcpv6.MessageTypeRequest, clientID(1), mine, ia())).First()
	b := ask(l, now, message(dhcpv6.MessageTypeRequest, clientID(2), mine, ia())).First()
	if a == b || !a.IsValid() || !b.IsValid() {
		t.Fatalf("gave %s and %s", a, b)
	}
	if got := ask(l, now, message(dhcpv6.MessageTypeSolicit, clientID(3), ia())).Bindings[0]; got.Status != iana.StatusNoAddrsAvail || len(got.Addresses) > 0 {
		t.Errorf("a full pool answered %+v", got)
	}
	if got := ask(l, now.Add(2*time.Hour), message(dhcpv6.MessageTypeSolicit, clientID(3), ia())).First(); !got.IsValid() {
		t.Error("ended leases are not given again")
	}
}

// memory is a store in memory that can fail.
type memory struct {
	leases map[netip.Addr]Lease
	err    error
}

func (m *memory) Load() ([]Lease, error) {
	var all []Lease
	for _, l := range m.leases {
		all = append(all, l)
	}
	return all, m.err
}

func (m *memory) Put(l Lease) error {
	if m.err == nil {
		m.leases[l.Address] = l
	}
	return m.err
}

func (m *memory) Delete(a netip.Addr) error {
	if m.err == nil {
		delete(m.leases, a)
	}
	return m.err
}

func TestLeasesOutliveRestart(t *testing.T) {
	store, now, mine := &memory{leases: map[netip.Addr]Lease{}}, time.Unix(1000, 0), dhcpv6.OptServerID(testID)
	l, err := NewLeases([]Pool{testPool()}, store)
	if err != nil {
		t.Fatal(err)
	}
	given := ask(l, now, message(dhcpv6.MessageTypeRequest, clientID(1), mine, ia("fd77::1abc"))).First()
	if given.String() != "fd77::1abc" {
		t.Fatalf("gave %s, not the one asked for", given)
	}
	if l, err = NewLeases([]Pool{testPool()}, store); err != nil {
		t.Fatal(err)
	}
	if got := ask(l, now, message(dhcpv6.MessageTypeSolicit, clientID(2), ia("fd77::1abc"))).First(); got == given {
		t.Error("a leased address was offered after a restart")
	}
	if got := ask(l, now, message(dhcpv6.MessageTypeSolicit, clientID(1), ia())).First(); got != given {
		t.Errorf("the client got %s back, not %s", got, given)
	}
	store.err = errors.New("disk full")
	if got := ask(l, now, message(dhcpv6.MessageTypeRequest, clientID(7), mine, ia())); got.Answer != dhcpv6.MessageTypeNone || !strings.Contains(got.Reason, "disk full") {
		t.Errorf("a lease that is not stored was given: %+v", got)
	}
}

func TestPoolErrors(t *testing.T) {
	for _, c := range []struct{ network, from, to, want string }{
		{"", "10.0.0.1", "10.0.0.9", "want two global"},
		{"", "fe80::1", "fe80::9", "want two global"},
		{"", "fd77::9", "fd77::1", "first not above"},
		{"", "fd77::1", "fd77:0:0:1::1", "one /64"},
		{"fd78::/64", "fd77::1", "fd77::2", "does not lie"},
	} {
		p := Pool{From: netip.MustParseAddr(c.from), To: netip.MustParseAddr(c.to)}
		if c.network != "" {
			p.Network = netip.MustParsePrefix(c.network)
		}
		if err := p.Validate(); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s-%s: %v, want %q", c.from, c.to, err, c.want)
		}
	}
}
