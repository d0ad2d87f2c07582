package dhcp

import (
	"net"
	"net/netip"
	"time"

	"castpoint/boot"
	"castpoint/dhcp/dhcp4"

	"github.com/insomniacslk/dhcp/dhcpv4"
)

// The segment of the tests, and castpoint's address on it.
var (
	testNetwork = netip.MustParsePrefix("10.77.0.0/24")
	testServer  = netip.MustParseAddr("10.77.0.1")
)

const (
	offer = dhcpv4.MessageTypeOffer
	ack   = dhcpv4.MessageTypeAck
	nak   = dhcpv4.MessageTypeNak
	ask   = dhcpv4.MessageTypeRequest
)

func testMAC(n byte) net.HardwareAddr { return net.HardwareAddr{0x52, 0x54, 0, 0, 0, n} }

// testPlan gives every machine a file.
func testPlan(c boot.Client) boot.Plan {
	return boot.Plan{Serve: true, NextServer: c.Server, Reason: "known machine", File: "x64/bootmgfw.efi"}
}

// packet builds a request.
func packet(kind dhcpv4.MessageType, mods ...dhcpv4.Modifier) *dhcpv4.DHCPv4 {
	p := &dhcpv4.DHCPv4{
		OpCode: dhcpv4.OpcodeBootRequest, HWType: 1, TransactionID: dhcpv4.TransactionID{0, 0, 0, 1},
		ClientHWAddr: testMAC(1), Options: dhcpv4.Options{},
	}
	p.UpdateOption(dhcpv4.OptMessageType(kind))
	for _, m := range mods {
		m(p)
	}
	return p
}

func option(code uint8, value ...byte) dhcpv4.Modifier {
	return dhcpv4.WithGeneric(dhcpv4.GenericOptionCode(code), value)
}

func vendorClass(s string) dhcpv4.Modifier { return option(60, []byte(s)...) }

func from(n byte) dhcpv4.Modifier {
	return func(p *dhcpv4.DHCPv4) { p.ClientHWAddr = testMAC(n) }
}

// uefi is the DISCOVER of a machine with UEFI firmware.
func uefi(more ...dhcpv4.Modifier) *dhcpv4.DHCPv4 {
	return packet(dhcpv4.MessageTypeDiscover, append([]dhcpv4.Modifier{
		dhcpv4.WithBroadcast(true), vendorClass("PXEClient:Arch:00007:UNDI:003016"), option(93, 0, 7),
		option(97, 0, 0x10, 0x2f, 0x1c, 0x6a, 0x4b, 0x8e, 0x0d, 0x4f, 0x9a, 0x57, 0x01, 0x23, 0x45, 0x67, 0x89, 0xab),
	}, more...)...)
}

// pressF8 is the menu of an available deployment.
func pressF8() *dhcp4.Menu {
	return &dhcp4.Menu{Prompt: "Press F8 to deploy", Timeout: 5 * time.Second, Items: []dhcp4.MenuItem{
		{Type: dhcp4.LocalBoot, Text: "Boot from disk"}, {Type: 0x8001, Text: "Deploy"},
	}}
}
