package dhcp6

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"

	"castpoint/boot"

	"github.com/insomniacslk/dhcp/dhcpv6"
	"github.com/insomniacslk/dhcp/iana"
)

// Well-known UDP ports.
const (
	PortServer = 547  // servers and relays
	PortClient = 546  // clients
	PortProxy  = 4011 // PXE boot servers, as over IPv4
)

// AllServers is the group that clients and relays on a link speak to;
// AllSiteServers the one that relays speak to when they know no server.
var (
	AllServers     = netip.MustParseAddr("ff02::1:2")
	AllSiteServers = netip.MustParseAddr("ff05::1:3")
)

// maxHops is how many relays a packet may come through (HOP_COUNT_LIMIT of RFC
// 8415 section 7.6).
const maxHops = 8

// ErrMalformed is wrapped by every error of Parse: the bytes are not a message
// that a client or a relay sends.
var ErrMalformed = errors.New("malformed DHCPv6 packet")

// Request is a client's message.
type Request struct {
	*dhcpv6.Message

	// Relays are the relay messages around it, outermost first; empty when it
	// came directly.
	Relays []*dhcpv6.RelayMessage
}

// Parse reads a packet. Errors wrap ErrMalformed.
func Parse(b []byte) (*Request, error) {
	if len(b) < 4 {
		return nil, fmt.Errorf("%w: %d bytes, the header has 4", ErrMalformed, len(b))
	}
	p, err := dhcpv6.FromBytes(b)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	r := &Request{}
	for {
		switch m := p.(type) {
		case *dhcpv6.Message:
			if !fromClient(m.MessageType) {
				return nil, fmt.Errorf("%w: %s is not what a client sends", ErrMalformed, m.MessageType)
			}
			r.Message = m
			return r, nil
		case *dhcpv6.RelayMessage:
			if m.MessageType != dhcpv6.MessageTypeRelayForward {
				return nil, fmt.Errorf("%w: %s is not for a server", ErrMalformed, m.MessageType)
			}
			if r.Relays = append(r.Relays, m); len(r.Relays) > maxHops {
				return nil, fmt.Errorf("%w: more than %d relays", ErrMalformed, maxHops)
			}
			if p = m.Options.RelayMessage(); p == nil {
				return nil, fmt.Errorf("%w: relayed without a message", ErrMalformed)
			}
		default:
			return nil, fmt.Errorf("%w: %T", ErrMalformed, p)
		}
	}
}

func fromClient(t dhcpv6.MessageType) bool {
	switch t {
	case dhcpv6.MessageTypeSolicit, dhcpv6.MessageTypeRequest, dhcpv6.MessageTypeConfirm, dhcpv6.MessageTypeRenew,
		dhcpv6.MessageTypeRebind, dhcpv6.MessageTypeRelease, dhcpv6.MessageTypeDecline, dhcpv6.MessageTypeInformationRequest:
		return true
	}
	return false
}

// Link is an address of the link the client is on, as the relay nearest to it
// that knows one says (RFC 8415 section 13.1); invalid when it came directly.
func (r *Request) Link() netip.Addr {
	for i := len(r.Relays) - 1; i >= 0; i-- {
		if a := addrOf(r.Relays[i].LinkAddr); a.IsValid() && !a.IsLinkLocalUnicast() {
			return a
		}
	}
	return netip.Addr{}
}

// clientID is the bytes of the client's DUID, nil when it sent none.
func (r *Request) clientID() []byte {
	if id := r.Options.ClientID(); id != nil {
		return id.ToBytes()
	}
	return nil
}

// Arrival is where and how a request came.
type Arrival struct {
	Interface string         // name of the interface
	Server    netip.Addr     // castpoint's own address there: global when it has one, else link-local
	Networks  []netip.Prefix // networks of castpoint's addresses on that interface, link-local ones apart
	Port      uint16         // UDP port it came to: PortServer or PortProxy
	Source    netip.AddrPort // who sent it: client or relay
	ServerID  dhcpv6.DUID    // castpoint's own
}

// Identify says who asks. It needs no option to be present; what is not known
// is left empty.
//
// The MAC is the one a relay has seen (RFC 6939), else the one in the client's
// link-local address, which firmware makes of it, else the one in its DUID: that
// one may be of another card. The UUID is in the DUID of firmware that follows
// RFC 6355; EDK2 sends it in the byte order of SMBIOS, iPXE in that of the RFC.
func Identify(r *Request, a Arrival) boot.Client {
	c := boot.Client{Interface: a.Interface, Server: a.Server, Relay: r.Link()}
	for _, class := range r.Options.VendorClasses() {
		for _, data := range class.Data {
			if text := printable(data); strings.HasPrefix(text, vendorPXE) || strings.HasPrefix(text, vendorHTTP) || c.VendorClass == "" {
				c.VendorClass = text
			}
		}
	}
	var users []string
	for _, u := range r.Options.UserClasses() {
		users = append(users, printable(u))
	}
	c.UserClass = strings.Join(users, " ")
	c.PXE = strings.HasPrefix(c.VendorClass, vendorPXE)
	c.HTTPBoot = strings.HasPrefix(c.VendorClass, vendorHTTP)
	c.IPXE = strings.Contains(c.UserClass, "iPXE")
	if types := r.Options.ArchTypes(); len(types) > 0 {
		c.Arch, c.HasArch = boot.Arch(types[0]), true
	}
	c.MAC = hardwareAddress(r, a.Source.Addr())
	c.UUID = clientUUID(r.Options.ClientID(), c.IPXE)
	return c
}

// Netboots says whether the client asked for something to boot.
func Netboots(c boot.Client) bool { return c.PXE || c.HTTPBoot || c.IPXE }

// Vendor classes (option 16): what a client's begins with, and what an answer
// to it carries under Intel's enterprise number, which EDK2 asks for.
const (
	vendorPXE   = "PXEClient"
	vendorHTTP  = "HTTPClient"
	vendorIntel = 343
)

func hardwareAddress(r *Request, source netip.Addr) net.HardwareAddr {
	if n := len(r.Relays); n > 0 {
		nearest := r.Relays[n-1]
		if kind, mac := nearest.Options.ClientLinkLayerAddress(); kind == iana.HWTypeEthernet && len(mac) == 6 {
			return mac
		}
		source = addrOf(nearest.PeerAddr)
	}
	if mac := interfaceMAC(source); mac != nil {
		return mac
	}
	switch id := r.Options.ClientID().(type) {
	case *dhcpv6.DUIDLL:
		if id.HWType == iana.HWTypeEthernet && len(id.LinkLayerAddr) == 6 {
			return id.LinkLayerAddr
		}
	case *dhcpv6.DUIDLLT:
		if id.HWType == iana.HWTypeEthernet && len(id.LinkLayerAddr) == 6 {
			return id.LinkLayerAddr
		}
	}
	return nil
}

// interfaceMAC is the MAC that an interface identifier was made of (RFC 4291
// appendix A): FFFE in the middle, the universal bit inverted.
func interfaceMAC(a netip.Addr) net.HardwareAddr {
	if !a.Is6() || !a.IsLinkLocalUnicast() {
		return nil
	}
	b := a.As16()
	if b[11] != 0xff || b[12] != 0xfe {
		return nil
	}
	return net.HardwareAddr{b[8] ^ 2, b[9], b[10], b[13], b[14], b[15]}
}

func clientUUID(id dhcpv6.DUID, ipxe bool) string {
	d, ok := id.(*dhcpv6.DUIDUUID)
	if !ok {
		return ""
	}
	u := d.UUID
	if !ipxe {
		u[0], u[1], u[2], u[3] = u[3], u[2], u[1], u[0]
		u[4], u[5], u[6], u[7] = u[5], u[4], u[7], u[6]
	}
	return fmt.Sprintf("%x-%x-%x-%x-%x", u[:4], u[4:6], u[6:8], u[8:10], u[10:])
}

// printable is text from the network made safe for a log line.
func printable(b []byte) string {
	var s strings.Builder
	for _, c := range b {
		if c == 0 {
			break
		}
		if c < 0x20 || c >= 0x7f {
			c = '?'
		}
		s.WriteByte(c)
	}
	return s.String()
}

// addrOf is the netip form of an address from a packet; invalid when it is
// absent, :: or not IPv6.
func addrOf(ip net.IP) netip.Addr {
	a, ok := netip.AddrFromSlice(ip)
	if !ok || !a.Is6() || a.Is4In6() || a.IsUnspecified() {
		return netip.Addr{}
	}
	return a
}
