package dhcp

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"time"

	"go.uber.org/zap"
	"golang.org/x/net/icmp"
	"golang.org/x/net/ipv4"

	"castpoint/dhcp/dhcp4"
	"castpoint/dhcp/socket"
)

// Prober finds out whether somebody already uses an address before it is
// offered (RFC 2131 section 3.1).
type Prober interface {
	// Probe waits until somebody answers at the address or ctx ends. mac is nil
	// when the answer does not tell it. An error means that it could not ask.
	Probe(ctx context.Context, a dhcp4.Arrival, address netip.Addr) (mac net.HardwareAddr, used bool, err error)
}

// Tuning of probes.
const (
	probeTime  = 300 * time.Millisecond // a host on the link answers ARP within a few
	probesMax  = 64                     // at a time; beyond that addresses are offered unprobed
	probeTries = 3                      // addresses tried for one DISCOVER
)

// linkProber asks by ARP on the link itself and by ICMP echo through a relay.
type linkProber struct{}

func (linkProber) Probe(ctx context.Context, a dhcp4.Arrival, address netip.Addr) (net.HardwareAddr, bool, error) {
	if a.Network.Contains(address) {
		mac, used, err := socket.ProbeARP(ctx, a.Index, address)
		if err != nil {
			err = fmt.Errorf("probe %s on interface %s: %w", address, a.Interface, err)
		}
		return mac, used, err
	}
	used, err := probeICMP(ctx, address)
	return nil, used, err
}

func probeICMP(ctx context.Context, address netip.Addr) (bool, error) {
	c, err := icmp.ListenPacket("ip4:icmp", "0.0.0.0")
	if err != nil {
		return false, fmt.Errorf("probe %s: %w", address, err)
	}
	defer c.Close()
	if deadline, ok := ctx.Deadline(); ok {
		if err := c.SetReadDeadline(deadline); err != nil {
			return false, fmt.Errorf("probe %s: %w", address, err)
		}
	}
	last := address.As4()
	echo := icmp.Message{Type: ipv4.ICMPTypeEcho, Body: &icmp.Echo{
		ID: os.Getpid() & 0xffff, Seq: int(binary.BigEndian.Uint16(last[2:])),
	}}
	b, err := echo.Marshal(nil)
	if err != nil {
		return false, fmt.Errorf("probe %s: %w", address, err)
	}
	if _, err := c.WriteTo(b, &net.IPAddr{IP: address.AsSlice()}); err != nil {
		return false, fmt.Errorf("probe %s: %w", address, err)
	}
	for b = make([]byte, 1500); ; {
		n, from, err := c.ReadFrom(b)
		if errors.Is(err, os.ErrDeadlineExceeded) {
			return false, nil
		}
		if err != nil {
			return false, fmt.Errorf("probe %s: %w", address, err)
		}
		m, err := icmp.ParseMessage(1, b[:n])
		if ip, ok := from.(*net.IPAddr); ok && err == nil && m.Type == ipv4.ICMPTypeEchoReply && dhcp4.Addr(ip.IP) == address {
			return true, nil
		}
	}
}

// probe says whether an address may be offered. One that only the client itself
// answers for is free for it; one that cannot be asked for is offered.
func (s *Server) probe(ctx context.Context, a dhcp4.Arrival, client net.HardwareAddr, address netip.Addr) (free bool) {
	ctx, cancel := context.WithTimeout(ctx, probeTime)
	defer cancel()
	mac, used, err := s.config.Prober.Probe(ctx, a, address)
	if err != nil {
		s.log.Debug("address not probed", zap.Stringer("address", address), zap.Error(err))
		return true
	}
	return !used || mac != nil && mac.String() == client.String()
}
