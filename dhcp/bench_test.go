package dhcp

import (
	"encoding/binary"
	"net/netip"
	"path/filepath"
	"testing"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"

	"castpoint/dhcp/dhcp4"
	"castpoint/dhcp/lease"
)

// BenchmarkExchange is DISCOVER and REQUEST of a new client, from bytes to
// bytes, with the lease in the journal: all but the sockets.
func BenchmarkExchange(b *testing.B) {
	journal, err := lease.OpenJournal(filepath.Join(b.TempDir(), "leases"))
	if err != nil {
		b.Fatal(err)
	}
	defer journal.Close()
	pool := dhcp4.Pool{
		Network: netip.MustParsePrefix("10.64.0.0/12"), From: netip.MustParseAddr("10.64.0.1"), To: netip.MustParseAddr("10.79.255.254"),
	}
	leases, err := dhcp4.NewLeases(dhcp4.LeasesConfig{Pools: []dhcp4.Pool{pool}, Store: journal})
	if err != nil {
		b.Fatal(err)
	}
	a := dhcp4.Arrival{Interface: "eth0", Server: pool.From, Network: pool.Network, Port: dhcp4.PortServer, Local: netip.MustParseAddr("255.255.255.255")}
	limits := newLimiter()
	now := time.Now()
	answer := func(p *dhcpv4.DHCPv4) []byte {
		r, err := dhcp4.Parse(p.ToBytes())
		if err != nil {
			b.Fatal(err)
		}
		c, err := dhcp4.Identify(r, a)
		if err != nil {
			b.Fatal(err)
		}
		limits.allow(limitKey(r, c), now)
		dhcp4.QuirkOf(dhcp4.Quirks(), c)
		t := dhcp4.Terms{Mode: dhcp4.ModeServer, Arrival: a, Client: c, Grant: leases.Answer(r, c, a, now)}
		m, reason := dhcp4.Reply(r, t)
		if m == nil {
			b.Fatal(reason)
		}
		dhcp4.Destination(r, m, a)
		return dhcp4.Encode(m)
	}
	for i := 0; b.Loop(); i++ {
		mac := binary.BigEndian.AppendUint32([]byte{2, 0}, uint32(i%1000000))
		discover := packet(dhcpv4.MessageTypeDiscover)
		discover.ClientHWAddr = mac
		offer := answer(discover)
		request := packet(dhcpv4.MessageTypeRequest, option(50, offer[16:20]...), option(54, pool.From.AsSlice()...))
		request.ClientHWAddr = mac
		answer(request)
	}
}
