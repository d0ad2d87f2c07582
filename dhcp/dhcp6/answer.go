package dhcp6

import (
	"fmt"
	"strings"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv6"
)

// Announcement is what a server's answer says about the server.
type Announcement struct {
	ServerID  dhcpv6.DUID
	Addresses bool // it gives addresses
	Boots     bool // it says what to boot
}

// ParseAnswer reads what another server sends to a client. Errors wrap
// ErrMalformed.
func ParseAnswer(b []byte) (Announcement, error) {
	if len(b) < 4 {
		return Announcement{}, fmt.Errorf("%w: %d bytes, the header has 4", ErrMalformed, len(b))
	}
	p, err := dhcpv6.FromBytes(b)
	if err != nil {
		return Announcement{}, fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	m, ok := p.(*dhcpv6.Message)
	if !ok || m.MessageType != dhcpv6.MessageTypeAdvertise && m.MessageType != dhcpv6.MessageTypeReply {
		return Announcement{}, fmt.Errorf("%w: %s is not a server's answer to a client", ErrMalformed, p.Type())
	}
	a := Announcement{ServerID: m.Options.ServerID(), Boots: m.Options.BootFileURL() != ""}
	if a.ServerID == nil {
		return Announcement{}, fmt.Errorf("%w: answer without server identifier", ErrMalformed)
	}
	for _, ia := range m.Options.IANA() {
		for _, one := range ia.Options.Addresses() {
			a.Addresses = a.Addresses || one.ValidLifetime > 0
		}
	}
	for _, class := range m.Options.VendorClasses() {
		for _, data := range class.Data {
			text := string(data)
			a.Boots = a.Boots || strings.HasPrefix(text, vendorPXE) || strings.HasPrefix(text, vendorHTTP)
		}
	}
	return a, nil
}

// Question is a SOLICIT that asks who gives addresses on a link. A server answers
// it with an offer, which nobody takes: it keeps nothing for it (RFC 8415 section
// 18.3.9, as long as rapid commit is not asked for).
func Question(own dhcpv6.DUID) ([]byte, error) {
	id, err := dhcpv6.GenerateTransactionID()
	if err != nil {
		return nil, fmt.Errorf("ask for other DHCPv6 servers: %w", err)
	}
	m := &dhcpv6.Message{MessageType: dhcpv6.MessageTypeSolicit, TransactionID: id}
	m.AddOption(dhcpv6.OptClientID(own))
	m.AddOption(dhcpv6.OptElapsedTime(0 * time.Second))
	m.AddOption(&dhcpv6.OptIANA{IaId: [4]byte{'c', 'p', 0, 1}})
	m.AddOption(dhcpv6.OptRequestedOption(dhcpv6.OptionDNSRecursiveNameServer, dhcpv6.OptionBootfileURL))
	return m.ToBytes(), nil
}

// Own says whether a request is one that castpoint itself sent: a group's packets
// come back to the host that sends them.
func (r *Request) Own(id dhcpv6.DUID) bool {
	client := r.Options.ClientID()
	return client != nil && id != nil && client.Equal(id)
}

// OtherServer is the server a client speaks to when it is not the one with the
// given identifier; nil when it names none or this one.
func (r *Request) OtherServer(own dhcpv6.DUID) dhcpv6.DUID {
	server := r.Options.ServerID()
	if server == nil || own != nil && server.Equal(own) {
		return nil
	}
	return server
}
