package dhcp4

import (
	"bytes"
	"net/netip"
	"testing"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"
)

func seeds(f *testing.F, add func(b []byte)) {
	for _, c := range goldenCases() {
		add(c.bytes(f))
	}
	overload := packet(dhcpv4.MessageTypeDiscover).ToBytes()[:240]
	copy(overload[offsetFile:], []byte{93, 2, 0, 7, 255})
	add(append(overload, 53, 1, 1, 52, 1, 3, 255))
	add(nil)
}

// FuzzIdentify: whatever comes in, reading it ends, and what is read can be
// logged.
func FuzzIdentify(f *testing.F) {
	seeds(f, func(b []byte) { f.Add(b) })
	f.Fuzz(func(t *testing.T, b []byte) {
		p, err := Parse(b)
		if err != nil {
			return
		}
		c, err := Identify(p, arrivalOf(p, PortServer))
		if err != nil {
			return
		}
		for _, s := range []string{c.VendorClass, c.UserClass, c.UUID} {
			for _, r := range s {
				if r < ' ' || r > '~' {
					t.Fatalf("%q has characters that do not belong in a log", s)
				}
			}
		}
		if c.UUID != "" && len(c.UUID) != 36 {
			t.Fatalf("UUID %q", c.UUID)
		}
		QuirkOf(Quirks(), c)
	})
}

// FuzzReply: from any request to the reply, in every mode, on both ports, with
// every style. The promises of the package hold for each answer.
func FuzzReply(f *testing.F) {
	seeds(f, func(b []byte) {
		f.Add(b, true, false, uint8(0))
		f.Add(b, false, true, uint8(1))
	})
	styles := []Style{StyleComplete, StyleRedirect, StyleMenu, StyleRaspberryPi, ""}
	f.Fuzz(func(t *testing.T, b []byte, proxy, bootPort bool, style uint8) {
		request, err := Parse(b)
		if err != nil {
			return
		}
		port := uint16(PortServer)
		if bootPort {
			port = PortProxy
		}
		a := arrivalOf(request, port)
		client, err := Identify(request, a)
		if err != nil {
			return
		}
		terms := Terms{Mode: ModeProxy, Arrival: a, Client: client, Plan: goldenPlan(client), Style: styles[int(style)%len(styles)]}
		if style&0x80 != 0 {
			terms.Menu = pressF12()
		}
		if !proxy {
			terms.Mode = ModeServer
			leases, err := NewLeases(LeasesConfig{Pools: []Pool{{
				Network: goldenNetwork, From: netip.MustParseAddr("10.77.0.100"), To: netip.MustParseAddr("10.77.0.101"),
			}}})
			if err != nil {
				t.Fatal(err)
			}
			terms.Grant = leases.Answer(request, client, a, time.Unix(1e9, 0))
		}
		reply, reason := Reply(request, terms)
		if (reply == nil) == (reason == "") {
			t.Fatalf("reply %v with reason %q", reply, reason)
		}
		if reply == nil {
			return
		}
		route := Destination(request, reply, a)
		if !route.To.IsValid() || route.To.Port() == 0 && a.Port != PortProxy {
			t.Fatalf("route %+v", route)
		}
		encoded := Encode(reply)
		back, err := Parse(encoded)
		if err != nil {
			t.Fatalf("own reply: %v", err)
		}
		if back.TransactionID != request.TransactionID || back.OpCode != dhcpv4.OpcodeBootReply {
			t.Fatal("not the answer to this request")
		}
		if proxy {
			if !Netboots(client) {
				t.Fatal("answered a client that did not ask to netboot")
			}
			if Addr(back.YourIPAddr).IsValid() || back.Options.Has(dhcpv4.OptionIPAddressLeaseTime) {
				t.Fatal("gave an address in proxy mode")
			}
		}
		if name := back.Options.Get(dhcpv4.OptionBootfileName); name != nil && !bytes.HasSuffix(name, []byte{0}) {
			t.Fatalf("file name %q is not terminated", name)
		}
		if uuid := back.Options.Get(optUUID); uuid != nil && !bytes.Equal(uuid, request.Options.Get(optUUID)) {
			t.Fatal("another UUID came back")
		}
	})
}
