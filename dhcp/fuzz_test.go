package dhcp

import (
	"bytes"
	"net"
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
			if addrOf(back.YourIPAddr).IsValid() || back.Options.Has(dhcpv4.OptionIPAddressLeaseTime) {
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

// FuzzJournal: whatever is in the file of leases, all of it is read in order, and what is
// no lease is counted.
func FuzzJournal(f *testing.F) {
	line, err := appendLine(nil, record{Lease: Lease{Address: goldenServer, Key: "mac:x", Expires: time.Unix(1e9, 0).UTC()}})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(append([]byte(journalHeader+"\n"), line...))
	f.Add(append([]byte(journalHeader+"\n"+string(line[:20])+"\n"), line[:len(line)-1]...))
	f.Add(append([]byte(journalHeader+"\n"), bytes.Repeat([]byte("x"), 2*maxLine+1)...))
	f.Add([]byte("castpoint leases 0\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		whole := 0
		damaged, err := readJournal(bytes.NewReader(b), func(record) { whole++ })
		if err == nil && whole+damaged > bytes.Count(b, []byte("\n"))+len(b)/maxLine+1 {
			t.Fatalf("%d and %d of %q", whole, damaged, b)
		}
	})
}

// FuzzJournalLine: a damaged line is passed over, a whole one comes back.
func FuzzJournalLine(f *testing.F) {
	line, err := appendLine(nil, record{Lease: Lease{Address: goldenServer, Key: "mac:x", Expires: time.Unix(1e9, 0).UTC()}})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(line)
	f.Add(line[:len(line)-1])
	f.Add([]byte("00000000 {}\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		r, ok := parseLine(b)
		if !ok {
			return
		}
		again, err := appendLine(nil, r)
		if err != nil {
			t.Fatal(err)
		}
		if back, ok := parseLine(again); !ok || back.Address != r.Address || back.Key != r.Key || !back.Expires.Equal(r.Expires) {
			t.Fatalf("%+v came back as %+v", r, back)
		}
	})
}

// FuzzSplitUDP: frames come from the network without the kernel's checks.
func FuzzSplitUDP(f *testing.F) {
	from, to := netip.MustParseAddrPort("10.77.0.2:67"), netip.MustParseAddrPort("255.255.255.255:68")
	f.Add(appendUDP(nil, from, to, []byte("payload")))
	f.Add([]byte{0x4f})
	f.Add(append([]byte{0x60, 0, 0, 0, 0, 15, protoUDP, 255}, append(make([]byte, 32), 2, 34, 2, 35, 0, 15, 0, 0, 1, 2, 3, 4, 5, 6, 7)...))
	f.Add(arpProbe(net.HardwareAddr{2, 0, 0, 0, 0, 1}, to.Addr())[lenEthernet:])
	f.Fuzz(func(t *testing.T, b []byte) {
		payload, _, _, ok := splitUDP(b)
		if ok && len(payload) > len(b)-lenIPv4-lenUDP {
			t.Fatalf("%d bytes of payload from %d", len(payload), len(b))
		}
		if payload, _, _, ok := splitUDP6(b); ok && len(payload) > len(b)-lenIPv6-lenUDP {
			t.Fatalf("%d bytes of payload from %d", len(payload), len(b))
		}
		arpSender(b)
	})
}
