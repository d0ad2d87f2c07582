package dhcp4

import (
	"net"
	"net/netip"

	"github.com/insomniacslk/dhcp/dhcpv4"
	"github.com/insomniacslk/dhcp/iana"
)

// Route is where a reply goes. It always leaves by the interface of the
// request.
type Route struct {
	To netip.AddrPort
	// Hardware is set when the client cannot answer ARP yet: the reply goes to
	// this address in an Ethernet frame of its own. A server that cannot send
	// frames broadcasts instead.
	Hardware net.HardwareAddr
}

// Frameless is where the reply goes from a host that cannot send frames.
func (r Route) Frameless() netip.AddrPort {
	if r.Hardware != nil {
		return netip.AddrPortFrom(limitedBroadcast, PortClient)
	}
	return r.To
}

// limitedBroadcast is where clients without an address are reached.
var limitedBroadcast = netip.AddrFrom4([4]byte{255, 255, 255, 255})

// Destination says where the reply to a request goes (RFC 2131 section 4.1, PXE
// 2.1 section 2.2), in this order:
//
//  1. relayed: the relay, port 67, or the port it sent from when it asked for
//     that (RFC 8357);
//  2. asked on the boot server port: whoever asked, address and port;
//  3. NAK: broadcast, for the client's address may be wrong;
//  4. the client has an address: there, port 68;
//  5. INFORM without ciaddr, as some clients send it: the sender's address;
//  6. broadcast flag, or no address given (a proxy offer): broadcast;
//  7. otherwise the new address in a frame to the client's hardware address.
func Destination(request, reply *dhcpv4.DHCPv4, a Arrival) Route {
	source := netip.AddrPortFrom(a.Source.Addr().Unmap(), a.Source.Port())
	known := source.Addr().Is4() && !source.Addr().IsUnspecified()
	if relay := Addr(request.GatewayIPAddr); relay.IsValid() {
		port := uint16(PortServer)
		if info := request.RelayAgentInfo(); info != nil && info.Has(dhcpv4.RelaySourcePortSubOption) && source.Port() != 0 {
			port = source.Port()
		}
		return Route{To: netip.AddrPortFrom(relay, port)}
	}
	if a.Port == PortProxy && known {
		return Route{To: source}
	}
	broadcast := Route{To: netip.AddrPortFrom(limitedBroadcast, PortClient)}
	if reply.MessageType() == dhcpv4.MessageTypeNak {
		return broadcast
	}
	if client := Addr(request.ClientIPAddr); client.IsValid() {
		return Route{To: netip.AddrPortFrom(client, PortClient)}
	}
	if request.MessageType() == dhcpv4.MessageTypeInform && known {
		return Route{To: netip.AddrPortFrom(source.Addr(), PortClient)}
	}
	granted := Addr(reply.YourIPAddr)
	if request.IsBroadcast() || !granted.IsValid() ||
		request.HWType != iana.HWTypeEthernet || len(request.ClientHWAddr) != 6 {
		return broadcast
	}
	return Route{To: netip.AddrPortFrom(granted, PortClient), Hardware: request.ClientHWAddr}
}
