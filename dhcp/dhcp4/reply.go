package dhcp4

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"time"

	"castpoint/boot"

	"github.com/insomniacslk/dhcp/dhcpv4"
)

// Mode says how castpoint stands towards the network's DHCP server.
type Mode string

// The modes.
const (
	ModeProxy  Mode = "proxy"  // another server gives addresses, castpoint adds what to boot
	ModeServer Mode = "server" // castpoint gives addresses too
	ModeOff    Mode = "off"    // castpoint listens to nothing; the other server's options say it all
)

// Grant is what server mode says about a client's address.
type Grant struct {
	// Verdict is the kind of reply: Offer, Ack or Nak; None stays silent.
	Verdict dhcpv4.MessageType
	Reason  string // for None and Nak: why; for a NAK the client sees it too

	Address  netip.Addr    // yiaddr; invalid in the answer to an INFORM
	Network  netip.Prefix  // gives options 1 and 28
	Routers  []netip.Addr  // option 3
	DNS      []netip.Addr  // option 6
	NTP      []netip.Addr  // option 42
	Domain   string        // option 15
	Hostname string        // option 12, of a reservation
	Lease    time.Duration // option 51; half and 7/8 of it are options 58 and 59

	Unsure bool // nobody has asked lately whether the address is in use: probe it before it is offered
}

// Terms is everything Reply needs to know besides the request.
type Terms struct {
	Mode    Mode
	Arrival Arrival
	Client  boot.Client // as Identify gave it
	Plan    boot.Plan   // for netboot clients
	Style   Style       // "" is StyleComplete
	Menu    *Menu       // a menu that firmware shows; nil for none
	Grant   Grant       // server mode only
}

// Reply writes the answer to a request, or says why there is none: exactly one
// of packet and reason is set. It depends on nothing but its arguments.
//
// In proxy mode it never gives an address and never answers a client that did
// not ask to netboot. In server mode boot data travels in the same packet as
// the address.
func Reply(request *dhcpv4.DHCPv4, t Terms) (packet *dhcpv4.DHCPv4, reason string) {
	if !t.Arrival.Server.Is4() {
		return nil, fmt.Sprintf("interface %s has no IPv4 address to answer from", t.Arrival.Interface)
	}
	verdict, reason := verdict(request, t)
	if verdict == dhcpv4.MessageTypeNone {
		return nil, reason
	}
	p := newReply(request, verdict, identifier(request, t.Arrival))
	if t.Mode == ModeServer && t.Arrival.Port == PortServer {
		if verdict == dhcpv4.MessageTypeNak {
			p.UpdateOption(dhcpv4.OptMessage(t.Grant.Reason))
			// RFC 2131 section 4.3.2: the relay broadcasts it, for the client
			// may be on another network than its address says.
			if Addr(request.GatewayIPAddr).IsValid() {
				p.SetBroadcast()
			}
			return p, ""
		}
		writeGrant(p, request, t.Grant)
	}
	if Netboots(t.Client) && t.Plan.Serve {
		writeBoot(p, request, t)
	}
	shed(p, request)
	return p, ""
}

// verdict is the message type of the answer, or None and the reason.
func verdict(request *dhcpv4.DHCPv4, t Terms) (dhcpv4.MessageType, string) {
	const none = dhcpv4.MessageTypeNone
	asked := request.MessageType()
	if asked == none {
		return none, "BOOTP request without a DHCP message type"
	}
	if t.Mode == ModeOff {
		return none, "DHCP is switched off"
	}
	if t.Mode == ModeServer && t.Arrival.Port == PortServer {
		if t.Grant.Verdict == none {
			return none, t.Grant.Reason
		}
		return t.Grant.Verdict, ""
	}
	if !Netboots(t.Client) {
		return none, "not a netboot client"
	}
	if other := optionAddr(request.Options, dhcpv4.OptionServerIdentifier); other.IsValid() && other != identifier(request, t.Arrival) {
		return none, "it is speaking to server " + other.String()
	}
	var answer dhcpv4.MessageType
	switch {
	case asked == dhcpv4.MessageTypeDiscover && t.Arrival.Port == PortServer:
		answer = dhcpv4.MessageTypeOffer
	case asked == dhcpv4.MessageTypeInform:
		answer = dhcpv4.MessageTypeAck
	case asked == dhcpv4.MessageTypeRequest && t.Arrival.Port == PortProxy:
		answer = dhcpv4.MessageTypeAck
	case asked == dhcpv4.MessageTypeRequest && addressed(request, t.Arrival):
		answer = dhcpv4.MessageTypeAck
	case asked == dhcpv4.MessageTypeRequest:
		return none, "it asks for an address, which proxy mode leaves to the DHCP server"
	default:
		return none, fmt.Sprintf("%s asks nothing of a boot server", asked)
	}
	if !t.Plan.Serve {
		return none, t.Plan.Reason
	}
	if t.Plan.File == "" && (t.Menu == nil || !t.Plan.Local) {
		return none, "the plan names no boot file: " + t.Plan.Reason
	}
	return answer, ""
}

// addressed says whether a REQUEST on port 67 is for castpoint's boot server
// and not for a DHCP server. When both are on one host they share the server
// identifier, so a request that names an address, or renews one, is never ours:
// an ACK without an address would take the client's lease away.
func addressed(request *dhcpv4.DHCPv4, a Arrival) bool {
	if request.Options.Has(dhcpv4.OptionRequestedIPAddress) {
		return false
	}
	if bootItem(request.Options.Get(dhcpv4.OptionVendorSpecificInformation)) != nil {
		return true
	}
	return optionAddr(request.Options, dhcpv4.OptionServerIdentifier) == identifier(request, a)
}

// identifier is the server identifier the client knows castpoint by: the
// address on the interface, or the one a relay put in its place so that all
// requests pass through it (RFC 5107).
func identifier(request *dhcpv4.DHCPv4, a Arrival) netip.Addr {
	if info := request.RelayAgentInfo(); info != nil {
		if override := optionAddr(info.Options, dhcpv4.ServerIdentifierOverrideSubOption); override.IsValid() {
			return override
		}
	}
	return a.Server
}

// newReply is the part every answer has in common (RFC 2131 table 3).
func newReply(request *dhcpv4.DHCPv4, kind dhcpv4.MessageType, server netip.Addr) *dhcpv4.DHCPv4 {
	p := &dhcpv4.DHCPv4{
		OpCode:        dhcpv4.OpcodeBootReply,
		HWType:        request.HWType,
		TransactionID: request.TransactionID,
		Flags:         request.Flags,
		GatewayIPAddr: request.GatewayIPAddr,
		ClientHWAddr:  request.ClientHWAddr,
		Options:       make(dhcpv4.Options),
	}
	if kind == dhcpv4.MessageTypeAck {
		p.ClientIPAddr = request.ClientIPAddr
	}
	p.UpdateOption(dhcpv4.OptMessageType(kind))
	p.UpdateOption(dhcpv4.OptGeneric(dhcpv4.OptionServerIdentifier, server.AsSlice()))
	for _, echoed := range []dhcpv4.OptionCode{
		dhcpv4.OptionClientIdentifier,      // RFC 6842
		dhcpv4.OptionRelayAgentInformation, // RFC 3046
		optSubnetSelection,                 // RFC 3011
	} {
		if value := request.Options.Get(echoed); value != nil {
			p.UpdateOption(dhcpv4.OptGeneric(echoed, value))
		}
	}
	return p
}

func writeGrant(p, request *dhcpv4.DHCPv4, g Grant) {
	if g.Address.IsValid() {
		p.YourIPAddr = g.Address.AsSlice()
		seconds := uint32(g.Lease / time.Second)
		for code, s := range map[dhcpv4.OptionCode]uint32{
			dhcpv4.OptionIPAddressLeaseTime: seconds,
			dhcpv4.OptionRenewTimeValue:     seconds / 2,
			dhcpv4.OptionRebindingTimeValue: uint32(uint64(seconds) * 7 / 8),
		} {
			p.UpdateOption(dhcpv4.OptGeneric(code, binary.BigEndian.AppendUint32(nil, s)))
		}
	}
	if g.Network.IsValid() {
		mask := ^uint32(0) << (32 - g.Network.Bits())
		p.UpdateOption(dhcpv4.OptGeneric(dhcpv4.OptionSubnetMask, binary.BigEndian.AppendUint32(nil, mask)))
		if request.IsOptionRequested(dhcpv4.OptionBroadcastAddress) && g.Network.Bits() < 31 {
			base := g.Network.Masked().Addr().As4()
			last := binary.BigEndian.Uint32(base[:]) | ^mask
			p.UpdateOption(dhcpv4.OptGeneric(dhcpv4.OptionBroadcastAddress, binary.BigEndian.AppendUint32(nil, last)))
		}
	}
	writeAddrs(p, dhcpv4.OptionRouter, g.Routers)
	writeAddrs(p, dhcpv4.OptionDomainNameServer, g.DNS)
	writeAddrs(p, dhcpv4.OptionNTPServers, g.NTP)
	if g.Domain != "" {
		p.UpdateOption(dhcpv4.OptDomainName(g.Domain))
	}
	if g.Hostname != "" {
		p.UpdateOption(dhcpv4.OptHostName(g.Hostname))
	}
}

func writeAddrs(p *dhcpv4.DHCPv4, code dhcpv4.OptionCode, addrs []netip.Addr) {
	var value []byte
	for _, a := range addrs {
		value = append(value, a.AsSlice()...)
	}
	if value != nil {
		p.UpdateOption(dhcpv4.OptGeneric(code, value))
	}
}

// writeBoot adds what to boot.
func writeBoot(p, request *dhcpv4.DHCPv4, t Terms) {
	next := t.Plan.NextServer
	if !next.Is4() {
		next = t.Arrival.Server
	}
	http := t.Client.HTTPBoot || t.Plan.HTTPClient
	proxied := t.Mode == ModeProxy || t.Arrival.Port == PortProxy

	// PXE 2.1 table 2-3: an answer to PXE carries its class and the client's
	// UUID. In server mode an answer without the class is an ordinary one with
	// a boot file, which every ROM loads; with it, EDK2 looks for a boot server.
	switch {
	case http:
		p.UpdateOption(dhcpv4.OptClassIdentifier(vendorHTTP))
	case proxied || t.Menu != nil || t.Style == StyleRaspberryPi:
		p.UpdateOption(dhcpv4.OptClassIdentifier(vendorPXE))
	}
	if uuid := request.Options.Get(optUUID); uuid != nil {
		p.UpdateOption(dhcpv4.OptGeneric(optUUID, uuid))
	}
	if t.Client.IPXE && !proxied {
		// Sub-option 176, no-pxedhcp: do not wait for a proxy offer as well.
		p.UpdateOption(dhcpv4.OptGeneric(optIPXE, []byte{176, 1, 1}))
	}

	vendor, withFile := vendorOption(request, t, proxied, http)
	if vendor != nil {
		p.UpdateOption(dhcpv4.OptGeneric(dhcpv4.OptionVendorSpecificInformation, vendor))
	}
	p.ServerIPAddr = next.AsSlice()
	if !withFile {
		return
	}
	// The name goes into the header and into option 67: a Windows boot manager
	// reads the header alone, HTTP boot the option first. The NUL keeps ROMs
	// that read one byte too many from gluing the next one to the name.
	p.BootFileName = t.Plan.File
	p.UpdateOption(dhcpv4.OptGeneric(dhcpv4.OptionBootfileName, append([]byte(t.Plan.File), 0)))
	p.UpdateOption(dhcpv4.OptGeneric(dhcpv4.OptionTFTPServerName, []byte(next.String())))
	if request.Options.Has(dhcpv4.OptionParameterRequestList) && request.IsOptionRequested(optTFTPServers) {
		p.UpdateOption(dhcpv4.OptGeneric(optTFTPServers, next.AsSlice()))
	}
	if t.Plan.BCDPath != "" {
		p.UpdateOption(dhcpv4.OptGeneric(optBCDPath, append([]byte(t.Plan.BCDPath), 0)))
	}
}

// vendorOption is option 43 and whether the answer names the boot file.
func vendorOption(request *dhcpv4.DHCPv4, t Terms, proxied, http bool) (vendor []byte, withFile bool) {
	if http {
		return nil, true
	}
	item := bootItem(request.Options.Get(dhcpv4.OptionVendorSpecificInformation))
	switch {
	case item != nil && request.MessageType() == dhcpv4.MessageTypeRequest:
		return confirmItem(item), true
	case t.Arrival.Port == PortProxy:
		return nil, true
	}
	// iPXE runs the menu too, and would come back to its own loader: it gets
	// its script at once.
	if t.Client.IPXE {
		if proxied {
			return bypassDiscovery(), true
		}
		return nil, true
	}
	switch {
	case t.Menu != nil:
		return menuOption(t.Menu, t.Arrival.Server), false
	case t.Style == StyleRaspberryPi:
		return raspberryBoot(), true
	case !proxied:
		return nil, true
	case t.Style == StyleRedirect:
		return nil, true
	case t.Style == StyleMenu:
		return menuOption(twoServices(), t.Arrival.Server), false
	default:
		return bypassDiscovery(), true
	}
}

// twoServices is the menu of StyleMenu.
func twoServices() *Menu {
	return &Menu{Prompt: "Network boot", Items: []MenuItem{{0x8001, "Network boot"}, {0x8002, "Network boot (again)"}}}
}

// shed drops what the client can do without until the reply fits what it can
// receive: option 57, else 576 bytes, each with 28 bytes of IP and UDP headers.
func shed(p, request *dhcpv4.DHCPv4) {
	limit := 576
	if size, err := request.MaxMessageSize(); err == nil && size > 576 {
		limit = int(size)
	}
	for _, code := range []dhcpv4.OptionCode{
		dhcpv4.OptionNTPServers, dhcpv4.OptionHostName, dhcpv4.OptionDomainName, optTFTPServers,
		dhcpv4.OptionTFTPServerName, dhcpv4.OptionBroadcastAddress, dhcpv4.OptionClientIdentifier,
		dhcpv4.OptionRelayAgentInformation, // RFC 3046 section 2.2: leave it out rather than send too much
	} {
		if encodedLen(p)+28 <= limit {
			return
		}
		delete(p.Options, code.Code())
	}
}
