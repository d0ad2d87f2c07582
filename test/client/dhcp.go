package client

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"
	"github.com/insomniacslk/dhcp/iana"

	"castpoint/internal/lab"
)

// Everybody is where DHCP servers are asked by who has no address.
var Everybody = netip.MustParseAddrPort("255.255.255.255:67")

// proxy is the boot server's port.
var proxy = netip.AddrPortFrom(lab.ServerAddr, 4011)

// An Identity is what firmware says of its machine.
type Identity struct {
	MAC  net.HardwareAddr
	UUID [16]byte
	Arch iana.Arch
}

// Message is a message of the machine as PXE firmware writes it.
func (i Identity) Message(kind dhcpv4.MessageType, more ...dhcpv4.Modifier) (*dhcpv4.DHCPv4, error) {
	return dhcpv4.New(append([]dhcpv4.Modifier{
		dhcpv4.WithMessageType(kind), dhcpv4.WithHwAddr(i.MAC), dhcpv4.WithBroadcast(true),
		dhcpv4.WithOption(dhcpv4.OptClientArch(i.Arch)),
		dhcpv4.WithOption(dhcpv4.OptClassIdentifier(fmt.Sprintf("PXEClient:Arch:%05d:UNDI:003016", i.Arch))),
		dhcpv4.WithGeneric(dhcpv4.OptionClientNetworkInterfaceIdentifier, []byte{1, 3, 16}),
		dhcpv4.WithGeneric(dhcpv4.OptionClientMachineIdentifier, append([]byte{0}, i.UUID[:]...)),
		dhcpv4.WithRequestedOptions(dhcpv4.OptionTFTPServerName, dhcpv4.OptionBootfileName, dhcpv4.OptionVendorSpecificInformation),
	}, more...)...)
}

// A DHCP is a host's socket on port 68. One machine uses it at a time.
type DHCP struct{ conn *net.UDPConn }

// OpenDHCP opens port 68 of a host.
func OpenDHCP(h *lab.Host) (*DHCP, error) {
	conn, err := ListenUDP(h, 68, true)
	if err != nil {
		return nil, fmt.Errorf("open port 68 of %s: %w", h.Name, err)
	}
	// It hears the answers to everybody who asks by broadcast. Less room is no failure.
	_ = conn.SetReadBuffer(4 << 20)
	return &DHCP{conn}, nil
}

// Close closes the socket.
func (d *DHCP) Close() error { return d.conn.Close() }

// A Lease is an address as it was confirmed.
type Lease struct {
	Address   netip.Addr
	Confirmed time.Time // when the ACK came
	Until     time.Time
	Server    netip.Addr
	File      string // that is to be booted
}

// dhcpWaits are how long firmware waits for an answer, once and again (PXE 2.1
// has 4, 8, 16 and 32 s; a test has less patience).
var dhcpWaits = []time.Duration{time.Second, 2 * time.Second, 4 * time.Second, 8 * time.Second}

// errSilent is no answer to any repetition.
var errSilent = errors.New("no answer")

// IsSilent tells whether nobody has answered.
func IsSilent(err error) bool { return errors.Is(err, errSilent) }

// Ask sends a message until an answer to it comes, and says how long the answer to
// the last repetition took.
func (d *DHCP) Ask(ctx context.Context, m *dhcpv4.DHCPv4, to netip.AddrPort) (*dhcpv4.DHCPv4, time.Duration, error) {
	buf := make([]byte, 2048)
	for _, wait := range dhcpWaits {
		sent := time.Now()
		if _, err := d.conn.WriteToUDPAddrPort(m.ToBytes(), to); err != nil {
			return nil, 0, fmt.Errorf("send %s: %w", m.MessageType(), err)
		}
		for {
			if err := ctx.Err(); err != nil {
				return nil, 0, err
			}
			if err := d.conn.SetReadDeadline(sent.Add(wait)); err != nil {
				return nil, 0, err
			}
			n, err := d.conn.Read(buf)
			if errors.Is(err, os.ErrDeadlineExceeded) {
				break
			}
			if err != nil {
				return nil, 0, fmt.Errorf("receive the answer to %s: %w", m.MessageType(), err)
			}
			r, err := dhcpv4.FromBytes(buf[:n])
			if err == nil && r.OpCode == dhcpv4.OpcodeBootReply && r.TransactionID == m.TransactionID {
				return r, time.Since(sent), nil
			}
		}
	}
	return nil, 0, fmt.Errorf("%s of %s: %w", m.MessageType(), m.ClientHWAddr, errSilent)
}

// Lease gets an address: DISCOVER, OFFER, REQUEST, ACK.
func (d *DHCP) Lease(ctx context.Context, i Identity) (Lease, error) {
	discover, err := i.Message(dhcpv4.MessageTypeDiscover)
	if err != nil {
		return Lease{}, err
	}
	offer, _, err := d.Ask(ctx, discover, Everybody)
	if err != nil {
		return Lease{}, err
	}
	if offer.MessageType() != dhcpv4.MessageTypeOffer || offer.YourIPAddr.IsUnspecified() {
		return Lease{}, fmt.Errorf("a DISCOVER was answered by %s", offer.Summary())
	}
	return d.request(ctx, i, offer.YourIPAddr, offer.ServerIdentifier())
}

func (d *DHCP) request(ctx context.Context, i Identity, address, server net.IP) (Lease, error) {
	request, err := i.Message(dhcpv4.MessageTypeRequest, dhcpv4.WithOption(dhcpv4.OptServerIdentifier(server)),
		dhcpv4.WithOption(dhcpv4.OptRequestedIPAddress(address)))
	if err != nil {
		return Lease{}, err
	}
	ack, took, err := d.Ask(ctx, request, Everybody)
	if err != nil {
		return Lease{}, err
	}
	return lease(ack, address, took)
}

// Renew asks for the address once more, as a machine that has it does.
func (d *DHCP) Renew(ctx context.Context, i Identity, l Lease) (Lease, error) {
	request, err := i.Message(dhcpv4.MessageTypeRequest, dhcpv4.WithOption(dhcpv4.OptRequestedIPAddress(l.Address.AsSlice())))
	if err != nil {
		return Lease{}, err
	}
	ack, took, err := d.Ask(ctx, request, Everybody)
	if err != nil {
		return Lease{}, err
	}
	return lease(ack, l.Address.AsSlice(), took)
}

func lease(ack *dhcpv4.DHCPv4, asked net.IP, took time.Duration) (l Lease, err error) {
	switch ack.MessageType() {
	case dhcpv4.MessageTypeNak:
		return l, &Stated{By: "DHCPNAK", Text: ack.Message()}
	case dhcpv4.MessageTypeAck:
	default:
		return l, fmt.Errorf("a REQUEST was answered by %s", ack.Summary())
	}
	if !ack.YourIPAddr.Equal(asked) {
		return l, fmt.Errorf("%s was asked for and %s confirmed", asked, ack.YourIPAddr)
	}
	l.Address, _ = netip.AddrFromSlice(ack.YourIPAddr.To4())
	l.Server, _ = netip.AddrFromSlice(ack.ServerIdentifier().To4())
	// It counts from when the request was sent (RFC 2131 section 4.4.1).
	l.Confirmed = time.Now()
	l.Until = l.Confirmed.Add(ack.IPAddressLeaseTime(0) - took)
	l.File = ack.BootFileName
	return l, nil
}

// Tell sends a message that nobody answers: RELEASE or DECLINE of a lease.
func (d *DHCP) Tell(i Identity, kind dhcpv4.MessageType, l Lease) error {
	m, err := i.Message(kind, dhcpv4.WithOption(dhcpv4.OptServerIdentifier(l.Server.AsSlice())))
	if err != nil {
		return err
	}
	if kind == dhcpv4.MessageTypeRelease {
		m.ClientIPAddr = l.Address.AsSlice()
	} else {
		m.UpdateOption(dhcpv4.OptRequestedIPAddress(l.Address.AsSlice()))
	}
	_, err = d.conn.WriteToUDPAddrPort(m.ToBytes(), Everybody)
	return err
}

// Boot asks port 4011 what to boot, from an address that the host has.
func (d *DHCP) Boot(ctx context.Context, i Identity, from netip.Addr) (string, error) {
	m, err := i.Message(dhcpv4.MessageTypeRequest)
	if err != nil {
		return "", err
	}
	m.ClientIPAddr = from.AsSlice()
	m.Flags = 0
	ack, _, err := d.Ask(ctx, m, proxy)
	if err != nil {
		return "", err
	}
	if ack.MessageType() != dhcpv4.MessageTypeAck || ack.BootFileName == "" {
		return "", fmt.Errorf("port 4011 answered %s", ack.Summary())
	}
	return ack.BootFileName, nil
}
