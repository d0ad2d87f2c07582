package dhcp4

import (
	"net/netip"
	"testing"
	"time"
)

// BenchmarkDiscover is a DISCOVER in server mode, from bytes to bytes.
func BenchmarkDiscover(b *testing.B) {
	request := uefi().ToBytes()
	leases, err := NewLeases(LeasesConfig{Pools: []Pool{{Network: goldenNetwork, From: netip.MustParseAddr("10.77.0.100"), To: netip.MustParseAddr("10.77.0.200")}}})
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		p, err := Parse(request)
		if err != nil {
			b.Fatal(err)
		}
		a := arrivalOf(p, PortServer)
		c, err := Identify(p, a)
		if err != nil {
			b.Fatal(err)
		}
		t := Terms{Mode: ModeServer, Arrival: a, Client: c, Plan: goldenPlan(c), Grant: leases.Answer(p, c, a, time.Now())}
		reply, _ := Reply(p, t)
		Destination(p, reply, a)
		Encode(reply)
	}
}
