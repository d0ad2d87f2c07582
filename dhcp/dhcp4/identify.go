package dhcp4

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"

	"castpoint/boot"

	"github.com/insomniacslk/dhcp/dhcpv4"
	"github.com/insomniacslk/dhcp/iana"
)

// Well-known UDP ports.
const (
	PortServer = 67   // DHCP servers and relays
	PortClient = 68   // DHCP clients
	PortProxy  = 4011 // PXE boot servers (ProxyDHCP, BINL)
)

// Arrival is where and how a request came.
type Arrival struct {
	Interface string         // name of the interface
	Index     int            // index of the interface
	Server    netip.Addr     // castpoint's own address on that interface
	Network   netip.Prefix   // the network Server lies in
	Port      uint16         // UDP port it came to: PortServer or PortProxy
	Source    netip.AddrPort // who sent it: client or relay
	Local     netip.Addr     // address it was sent to: Server, or a broadcast address
}

// Unicast says whether the request was sent to castpoint's own address.
func (a Arrival) Unicast() bool { return a.Local.IsValid() && a.Local == a.Server }

// Reasons why a packet is no request that can be answered; branch with
// errors.Is.
var (
	ErrNotRequest = errors.New("not a request")
	ErrNoIdentity = errors.New("client without hardware address, UUID or client identifier")
)

// Identify says who asks. It needs no option to be present: a client without
// option 97 is known by its MAC, one without option 93 has no architecture
// unless its vendor class spells it. Errors are ErrNotRequest and
// ErrNoIdentity.
func Identify(p *dhcpv4.DHCPv4, a Arrival) (boot.Client, error) {
	if p.OpCode != dhcpv4.OpcodeBootRequest {
		return boot.Client{}, fmt.Errorf("%w: op %d", ErrNotRequest, p.OpCode)
	}
	c := boot.Client{
		MAC:         hardwareAddress(p),
		UUID:        clientUUID(p.Options.Get(optUUID)),
		VendorClass: printable(p.Options.Get(dhcpv4.OptionClassIdentifier)),
		UserClass:   userClass(p.Options.Get(dhcpv4.OptionUserClassInformation)),
		Interface:   a.Interface,
		Server:      a.Server,
	}
	if c.MAC == nil && c.UUID == "" && len(p.Options.Get(dhcpv4.OptionClientIdentifier)) == 0 {
		return boot.Client{}, ErrNoIdentity
	}
	if relay := Addr(p.GatewayIPAddr); relay.IsValid() {
		c.Relay = relay
	}
	c.PXE = strings.HasPrefix(c.VendorClass, vendorPXE)
	c.HTTPBoot = strings.HasPrefix(c.VendorClass, vendorHTTP)
	// gPXE is iPXE's ancestor and still in the option ROM of old virtual
	// machines; both understand scripts.
	c.IPXE = p.Options.Has(optIPXE) || strings.Contains(c.UserClass, "iPXE") || strings.Contains(c.UserClass, "gPXE")
	c.Arch, c.HasArch = architecture(p.Options.Get(dhcpv4.OptionClientSystemArchitectureType), c.VendorClass)
	return c, nil
}

// Netboots says whether the client asked for something to boot.
func Netboots(c boot.Client) bool { return c.PXE || c.HTTPBoot || c.IPXE }

// Vendor classes (option 60): what a client's begins with, and what an answer
// to it carries.
const (
	vendorPXE  = "PXEClient"
	vendorHTTP = "HTTPClient"
)

// hardwareAddress is the MAC from the header, or, when the header has none (as
// RFC 4390 wants for InfiniBand), one that the client identifier spells as
// "type 1, six bytes". nil when there is none or it is no address of a station.
func hardwareAddress(p *dhcpv4.DHCPv4) net.HardwareAddr {
	mac := p.ClientHWAddr
	if len(mac) == 0 {
		id := p.Options.Get(dhcpv4.OptionClientIdentifier)
		if len(id) != 7 || id[0] != byte(iana.HWTypeEthernet) {
			return nil
		}
		mac = id[1:]
	}
	for _, b := range mac {
		if b != 0 {
			return append(net.HardwareAddr(nil), mac...)
		}
	}
	return nil
}

// clientUUID reads option 97: a type byte 0 and the 16 bytes of the SMBIOS
// UUID, whose first three fields are little-endian. Some cards leave the type
// byte out. Anything else, and values known to be shared by many machines, give
// "".
func clientUUID(b []byte) string {
	switch {
	case len(b) == 17 && b[0] == 0:
		b = b[1:]
	case len(b) == 16:
	default:
		return ""
	}
	s := fmt.Sprintf("%08x-%04x-%04x-%x-%x",
		binary.LittleEndian.Uint32(b), binary.LittleEndian.Uint16(b[4:]), binary.LittleEndian.Uint16(b[6:]),
		b[8:10], b[10:16])
	if boot.SharedUUID(s) {
		return ""
	}
	return s
}

// architecture is the first value of option 93, or the one in a vendor class
// "PXEClient:Arch:00007:UNDI:003016".
func architecture(option []byte, vendorClass string) (boot.Arch, bool) {
	if len(option) >= 2 {
		return boot.Arch(binary.BigEndian.Uint16(option)), true
	}
	_, rest, found := strings.Cut(vendorClass, ":Arch:")
	if !found {
		return 0, false
	}
	digits, _, _ := strings.Cut(rest, ":")
	n, err := strconv.ParseUint(digits, 10, 16)
	if err != nil {
		return 0, false
	}
	return boot.Arch(n), true
}

// userClass is option 77 as text. RFC 3004 wants length-prefixed strings; iPXE
// and most others send the bare text.
func userClass(b []byte) string {
	var parts []string
	for rest := b; len(rest) > 0; {
		n := int(rest[0])
		if n == 0 || n >= len(rest) {
			return printable(b)
		}
		parts = append(parts, printable(rest[1:1+n]))
		rest = rest[1+n:]
	}
	return strings.Join(parts, " ")
}

// printable is text from the network made safe for a log line: up to the first
// NUL, other control bytes and non-ASCII replaced by '?'.
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

// Addr is the netip form of a header address; invalid when it is absent or
// 0.0.0.0.
func Addr(ip net.IP) netip.Addr {
	a, ok := netip.AddrFromSlice(ip.To4())
	if !ok || a.IsUnspecified() {
		return netip.Addr{}
	}
	return a
}

// optionAddr reads an option that holds one IPv4 address; invalid when it is
// absent, 0.0.0.0 or of another length.
func optionAddr(o dhcpv4.Options, code dhcpv4.OptionCode) netip.Addr {
	b := o.Get(code)
	if len(b) != 4 {
		return netip.Addr{}
	}
	return Addr(b)
}
