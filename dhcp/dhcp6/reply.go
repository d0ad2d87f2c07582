package dhcp6

import (
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"strings"
	"time"

	"castpoint/boot"

	"github.com/insomniacslk/dhcp/dhcpv6"
	"github.com/insomniacslk/dhcp/iana"
	"github.com/insomniacslk/dhcp/rfc1035label"
)

// Terms is everything Reply needs to know besides the request.
type Terms struct {
	Arrival Arrival
	Client  boot.Client // as Identify gave it
	Plan    boot.Plan   // for netboot clients
	// Params are the boot file's parameters (option 60); PXE firmware gets none,
	// see writeBoot.
	Params []string
	// Grant is what the leases say; nil when castpoint gives no addresses.
	Grant *Grant
}

// Reply writes the answer to a request, or says why there is none: exactly one
// of message and reason is set. It depends on nothing but its arguments.
//
// Without a Grant it never says a word about addresses and never answers a
// client that did not ask to netboot.
func Reply(r *Request, t Terms) (m *dhcpv6.Message, reason string) {
	kind, reason := verdict(r, t)
	if kind == dhcpv6.MessageTypeNone {
		return nil, reason
	}
	m = &dhcpv6.Message{MessageType: kind, TransactionID: r.TransactionID}
	// The boot file comes first: EDK2's HTTP boot reads its URL up to a NUL, and
	// finds one in the code of the option behind it.
	if boots(t) == "" && carriesBoot(r) {
		writeBoot(m, r, t)
	}
	if t.Grant != nil {
		writeGrant(m, r, t.Grant)
	}
	m.AddOption(dhcpv6.OptServerID(t.Arrival.ServerID))
	if id := r.Options.GetOne(dhcpv6.OptionClientID); id != nil {
		m.AddOption(id)
	}
	return m, ""
}

// verdict is the type of the answer, or None and the reason.
func verdict(r *Request, t Terms) (dhcpv6.MessageType, string) {
	const none = dhcpv6.MessageTypeNone
	if !t.Arrival.Server.IsValid() || t.Arrival.ServerID == nil {
		return none, fmt.Sprintf("interface %s has no IPv6 address to answer from", t.Arrival.Interface)
	}
	if reason := invalid(r, t.Arrival.ServerID); reason != "" {
		return none, reason
	}
	if t.Grant != nil && t.Arrival.Port == PortServer {
		if t.Grant.Answer == none {
			return none, t.Grant.Reason
		}
		return t.Grant.Answer, ""
	}
	if why := boots(t); why != "" {
		return none, why
	}
	switch r.MessageType {
	case dhcpv6.MessageTypeSolicit:
		if t.Client.IPXE {
			return none, "iPXE takes no offer without an address: it gets its script where it asks for information only (router flag O)"
		}
		return dhcpv6.MessageTypeAdvertise, ""
	case dhcpv6.MessageTypeRequest, dhcpv6.MessageTypeInformationRequest:
		return dhcpv6.MessageTypeReply, ""
	default:
		return none, fmt.Sprintf("%s is about addresses, which another server gives", r.MessageType)
	}
}

// boots is why a client gets nothing to boot, "" when it does. DHCPv6 has no boot
// menu, so a client that is to be asked for a key, or sent on to its disk by a menu
// of one item, gets no boot file, and its firmware goes on.
func boots(t Terms) string {
	switch {
	case !Netboots(t.Client):
		return "not a netboot client"
	case !t.Plan.Serve || t.Plan.Local:
		return t.Plan.Reason
	case t.Plan.Ask:
		return "it is to be asked for a key, and DHCPv6 has no menu to ask with: let it boot by IPv4"
	}
	return ""
}

// invalid is why a message must be discarded (RFC 8415 section 16), "" when it
// need not.
func invalid(r *Request, own dhcpv6.DUID) string {
	server := r.Options.ServerID()
	switch r.MessageType {
	case dhcpv6.MessageTypeInformationRequest:
		if r.Options.GetOne(dhcpv6.OptionIANA) != nil {
			return "asks for information and for an address"
		}
	default:
		if r.Options.ClientID() == nil {
			return "client without an identifier (option 1)"
		}
	}
	switch r.MessageType {
	case dhcpv6.MessageTypeSolicit, dhcpv6.MessageTypeConfirm, dhcpv6.MessageTypeRebind:
		if server != nil {
			return fmt.Sprintf("%s names a server", r.MessageType)
		}
	case dhcpv6.MessageTypeInformationRequest:
		if server != nil && !server.Equal(own) {
			return "it is speaking to server " + server.String()
		}
	default:
		if server == nil {
			return fmt.Sprintf("%s names no server", r.MessageType)
		}
		if !server.Equal(own) {
			return "it is speaking to server " + server.String()
		}
	}
	return ""
}

// carriesBoot says whether a message is one that boot options answer.
func carriesBoot(r *Request) bool {
	switch r.MessageType {
	case dhcpv6.MessageTypeSolicit, dhcpv6.MessageTypeRequest, dhcpv6.MessageTypeInformationRequest,
		dhcpv6.MessageTypeRenew, dhcpv6.MessageTypeRebind:
		return true
	}
	return false
}

// writeBoot adds what to boot (RFC 5970).
//
// The vendor class makes EDK2 ask once more: PXE asks the server in the URL, on
// port 4011. So it is in answers without an address, which EDK2 takes for a
// proxy's by it, and not in those that have one; HTTP boot takes no URL without
// it.
//
// EDK2's PXE reads the first parameter as the size of the file and gives up
// when it is anything else.
func writeBoot(m *dhcpv6.Message, r *Request, t Terms) {
	m.AddOption(dhcpv6.OptBootFileURL(BootURL(t.Plan, t.Arrival.Server)))
	http := t.Client.HTTPBoot || t.Plan.HTTPClient
	if len(t.Params) > 0 && (http || t.Client.IPXE) {
		m.AddOption(dhcpv6.OptBootFileParam(t.Params...))
	}
	class := ""
	switch {
	case http:
		class = vendorHTTP
	case t.Client.PXE && !t.Client.IPXE && (t.Grant == nil || t.Arrival.Port == PortProxy):
		class = vendorPXE
	}
	if class != "" {
		m.AddOption(&dhcpv6.OptVendorClass{EnterpriseNumber: vendorIntel, Data: [][]byte{[]byte(class + archText(t.Client))}})
	}
}

// archText makes the class as long as a client's: EDK2 wants 16 bytes of option.
func archText(c boot.Client) string { return fmt.Sprintf(":Arch:%05d", uint16(c.Arch)) }

// BootURL is the boot file of a plan as option 59 has it: an URL as it is, a
// TFTP path as tftp://[server]/path.
func BootURL(p boot.Plan, server netip.Addr) string {
	if scheme, _, ok := strings.Cut(p.File, "://"); ok && scheme != "" && !strings.Contains(scheme, "/") {
		return p.File
	}
	if p.NextServer.Is6() && !p.NextServer.Is4In6() {
		server = p.NextServer
	}
	path := strings.TrimLeft(strings.ReplaceAll(p.File, `\`, "/"), "/")
	return "tftp://[" + server.WithZone("").String() + "]/" + (&url.URL{Path: path}).EscapedPath()
}

// writeGrant adds addresses and what goes with them.
func writeGrant(m *dhcpv6.Message, r *Request, g *Grant) {
	for _, b := range g.Bindings {
		ia := &dhcpv6.OptIANA{IaId: b.IAID}
		for _, a := range b.Addresses {
			ia.Options.Add(&dhcpv6.OptIAAddress{
				IPv6Addr: a.Address.AsSlice(), PreferredLifetime: a.Preferred, ValidLifetime: a.Valid,
			})
			// RFC 8415 section 21.4: half and four fifths of the shortest
			// preferred lifetime.
			ia.T1, ia.T2 = (a.Preferred / 2).Truncate(time.Second), (a.Preferred * 4 / 5).Truncate(time.Second)
		}
		if b.Status != iana.StatusSuccess {
			ia.Options.Add(&dhcpv6.OptStatusCode{StatusCode: b.Status, StatusMessage: b.Text})
		}
		m.AddOption(ia)
	}
	if g.HasStatus {
		m.AddOption(&dhcpv6.OptStatusCode{StatusCode: g.Status, StatusMessage: g.Text})
	}
	if g.RapidCommit {
		m.AddOption(&dhcpv6.OptionGeneric{OptionCode: dhcpv6.OptionRapidCommit})
	}
	if len(g.DNS) > 0 && r.IsOptionRequested(dhcpv6.OptionDNSRecursiveNameServer) {
		m.AddOption(dhcpv6.OptDNS(ips(g.DNS)...))
	}
	if len(g.Domains) > 0 && r.IsOptionRequested(dhcpv6.OptionDomainSearchList) {
		m.AddOption(dhcpv6.OptDomainSearchList(&rfc1035label.Labels{Labels: g.Domains}))
	}
}

func ips(addrs []netip.Addr) []net.IP {
	var list []net.IP
	for _, a := range addrs {
		list = append(list, a.AsSlice())
	}
	return list
}

// Encode is the packet for an answer: relay replies around it as the request had
// relay messages, each with the relay's own interface identifier (RFC 8415
// section 19.3) and source port (RFC 8357) back.
func Encode(r *Request, m *dhcpv6.Message) []byte {
	var p dhcpv6.DHCPv6 = m
	for i := len(r.Relays) - 1; i >= 0; i-- {
		from := r.Relays[i]
		around := &dhcpv6.RelayMessage{
			MessageType: dhcpv6.MessageTypeRelayReply, HopCount: from.HopCount, LinkAddr: from.LinkAddr, PeerAddr: from.PeerAddr,
		}
		for _, code := range []dhcpv6.OptionCode{dhcpv6.OptionInterfaceID, dhcpv6.OptionRelayPort} {
			if o := from.Options.GetOne(code); o != nil {
				around.AddOption(o)
			}
		}
		around.AddOption(dhcpv6.OptRelayMessage(p))
		p = around
	}
	return p.ToBytes()
}

// Destination is where the answer goes: the relay that sent the request, port
// 547 or the port it sent from when it asked for that (RFC 8357); on the boot
// server port whoever asked; else the client, port 546. It leaves by the
// interface of the request.
func Destination(r *Request, a Arrival) netip.AddrPort {
	switch {
	case len(r.Relays) > 0:
		if r.Relays[0].Options.GetOne(dhcpv6.OptionRelayPort) != nil && a.Source.Port() != 0 {
			return a.Source
		}
		return netip.AddrPortFrom(a.Source.Addr(), PortServer)
	case a.Port == PortProxy:
		return a.Source
	default:
		return netip.AddrPortFrom(a.Source.Addr(), PortClient)
	}
}
