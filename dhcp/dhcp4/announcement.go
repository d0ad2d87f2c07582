package dhcp4

import (
	"net/netip"
	"strings"

	"github.com/insomniacslk/dhcp/dhcpv4"
)

// Announcement is what another server's answer says about the server. One answer
// may be both a DHCP server's and a PXE server's.
type Announcement struct {
	Server    netip.Addr   // its identifier; invalid when the answer has none
	Addresses bool         // it gives addresses
	Boots     bool         // it says what to boot
	Time      []netip.Addr // time servers that it tells of (option 42)
}

// Announced reads an offer or an ACK; the zero value stands for any other packet.
func Announced(p *dhcpv4.DHCPv4) Announcement {
	kind := p.MessageType()
	if p.OpCode != dhcpv4.OpcodeBootReply || kind != dhcpv4.MessageTypeOffer && kind != dhcpv4.MessageTypeAck {
		return Announcement{}
	}
	class := printable(p.Options.Get(dhcpv4.OptionClassIdentifier))
	a := Announcement{
		Server:    optionAddr(p.Options, dhcpv4.OptionServerIdentifier),
		Addresses: Addr(p.YourIPAddr).IsValid(),
		Boots:     strings.HasPrefix(class, vendorPXE) || strings.HasPrefix(class, vendorHTTP),
	}
	for _, ip := range p.NTPServers() {
		if one, ok := netip.AddrFromSlice(ip.To4()); ok {
			a.Time = append(a.Time, one)
		}
	}
	return a
}

// Chosen is the server whose offer a client on the link takes, as its REQUEST
// names it; invalid for every other request.
func Chosen(request *dhcpv4.DHCPv4, a Arrival) netip.Addr {
	if a.Port != PortServer || request.MessageType() != dhcpv4.MessageTypeRequest ||
		Addr(request.GatewayIPAddr).IsValid() || !request.Options.Has(dhcpv4.OptionRequestedIPAddress) {
		return netip.Addr{}
	}
	return optionAddr(request.Options, dhcpv4.OptionServerIdentifier)
}
