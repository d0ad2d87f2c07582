package dhcp6

import (
	"bytes"
	"testing"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv6"
)

// FuzzReply: from any packet to the answer, as a proxy and as a server. The
// promises of the package hold for each answer.
func FuzzReply(f *testing.F) {
	for _, c := range goldenCases() {
		f.Add(c.bytes(f), c.gives, c.port == PortProxy)
	}
	f.Fuzz(func(t *testing.T, b []byte, gives, bootPort bool) {
		r, err := Parse(b)
		if err != nil {
			return
		}
		port, source := uint16(PortServer), testClient
		if bootPort {
			port = PortProxy
		}
		a := arrival(port, source)
		c := Identify(r, a)
		for _, s := range []string{c.VendorClass, c.UserClass, c.UUID} {
			for _, char := range s {
				if char < ' ' || char > '~' {
					t.Fatalf("%q has characters that do not belong in a log", s)
				}
			}
		}
		terms := Terms{Arrival: a, Client: c}
		if Netboots(c) {
			terms.Plan = plan(c)
		}
		if gives && !bootPort {
			terms.Grant = newLeases(t).Answer(r, c, a, time.Unix(1000, 0))
		}
		m, reason := Reply(r, terms)
		if (m == nil) == (reason == "") {
			t.Fatalf("message %v and reason %q", m, reason)
		}
		if m == nil {
			return
		}
		if terms.Grant == nil {
			if !Netboots(c) {
				t.Fatal("answered a client that does not netboot")
			}
			for _, code := range []dhcpv6.OptionCode{dhcpv6.OptionIANA, dhcpv6.OptionIATA, dhcpv6.OptionIAPD, dhcpv6.OptionDNSRecursiveNameServer, dhcpv6.OptionStatusCode} {
				if m.GetOneOption(code) != nil {
					t.Fatalf("%s in an answer without addresses", code)
				}
			}
		}
		if id := m.Options.ServerID(); id == nil || !id.Equal(testID) {
			t.Fatal("answer without server identifier")
		}
		wire := Encode(r, m)
		back, err := dhcpv6.FromBytes(wire)
		if err != nil {
			t.Fatalf("answer does not parse: %v", err)
		}
		inner, err := back.GetInnerMessage()
		if err != nil || !bytes.Equal(inner.ToBytes(), m.ToBytes()) {
			t.Fatalf("message inside the relay replies differs: %v", err)
		}
		Destination(r, a)
	})
}
