package dhcp6

import (
	"errors"
	"net"
	"testing"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv6"
	"github.com/insomniacslk/dhcp/iana"
)

func TestParseAnswer(t *testing.T) {
	address := func(valid time.Duration) dhcpv6.Option {
		o := &dhcpv6.OptIANA{}
		o.Options.Add(&dhcpv6.OptIAAddress{IPv6Addr: net.ParseIP("fd77::5"), ValidLifetime: valid})
		return o
	}
	none := &dhcpv6.OptIANA{}
	none.Options.Add(&dhcpv6.OptStatusCode{StatusCode: iana.StatusNoAddrsAvail})
	server := dhcpv6.OptServerID(otherID)
	for _, c := range []struct {
		name             string
		packet           dhcpv6.DHCPv6
		addresses, boots bool
		wrong            bool
	}{
		{name: "offer", packet: message(dhcpv6.MessageTypeAdvertise, server, address(time.Hour)), addresses: true},
		{name: "offer and boot file", packet: message(dhcpv6.MessageTypeAdvertise, server, address(time.Hour), dhcpv6.OptBootFileURL("tftp://[fd77::2]/x")), addresses: true, boots: true},
		{name: "PXE server", packet: message(dhcpv6.MessageTypeAdvertise, server, class("PXEClient:Arch:00007")), boots: true},
		{name: "stateless", packet: message(dhcpv6.MessageTypeReply, server)},
		{name: "out of addresses", packet: message(dhcpv6.MessageTypeAdvertise, server, none)},
		{name: "an address taken back", packet: message(dhcpv6.MessageTypeReply, server, address(0))},
		{name: "no identifier", packet: message(dhcpv6.MessageTypeReply, address(time.Hour)), wrong: true},
		{name: "a client's", packet: message(dhcpv6.MessageTypeSolicit, server), wrong: true},
	} {
		a, err := ParseAnswer(c.packet.ToBytes())
		if c.wrong != errors.Is(err, ErrMalformed) || a.Addresses != c.addresses || a.Boots != c.boots {
			t.Errorf("%s: %+v, %v", c.name, a, err)
		}
	}
	if _, err := ParseAnswer([]byte{7}); !errors.Is(err, ErrMalformed) {
		t.Errorf("one byte: %v", err)
	}
}

// castpoint's own question is a valid SOLICIT that asks for an address and no
// commitment, and is known for its own when the group brings it back.
func TestQuestion(t *testing.T) {
	b, err := Question(testID)
	if err != nil {
		t.Fatal(err)
	}
	r, err := Parse(b)
	if err != nil {
		t.Fatal(err)
	}
	if !r.Own(testID) || r.Own(otherID) || r.Options.OneIANA() == nil || r.Options.GetOne(dhcpv6.OptionRapidCommit) != nil {
		t.Errorf("%s", r.Summary())
	}
	if c := Identify(r, arrival(PortServer, testClient)); Netboots(c) {
		t.Error("asks to netboot")
	}
	request := &Request{Message: message(dhcpv6.MessageTypeRequest, dhcpv6.OptServerID(otherID))}
	if request.OtherServer(testID) == nil || request.OtherServer(otherID) != nil {
		t.Error("another server is not told from this one")
	}
}

// FuzzParseAnswer: anybody on the link may send to port 546.
func FuzzParseAnswer(f *testing.F) {
	for _, c := range goldenCases() {
		f.Add(c.bytes(f))
	}
	f.Add(message(dhcpv6.MessageTypeAdvertise, dhcpv6.OptServerID(otherID), ia("fd77::5"), class("PXEClient")).ToBytes())
	f.Fuzz(func(t *testing.T, b []byte) {
		a, err := ParseAnswer(b)
		if (err == nil) != (a.ServerID != nil) {
			t.Fatalf("%+v, %v", a, err)
		}
	})
}
