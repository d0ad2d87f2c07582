package netio

import (
	"fmt"
	"net"
	"net/netip"
	"sync/atomic"

	"golang.org/x/net/ipv4"
	"golang.org/x/net/ipv6"
)

// GroupSenderConfig says where a multicast session is sent from and to.
type GroupSenderConfig struct {
	Interface string         // name of the interface
	Group     netip.AddrPort // where members listen
	TTL       int            // hop limit; 0 means 1: the local network
}

// GroupSender sends to a multicast group and receives what members send back,
// on one UDP port. WriteGroup may run at the same time as ReadReport.
type GroupSender struct {
	conn  *net.UDPConn
	group netip.AddrPort
	local netip.AddrPort
	gso   atomic.Bool
}

// OpenGroupSender binds the group's port number on the interface's address.
func OpenGroupSender(cfg GroupSenderConfig) (*GroupSender, error) {
	if !cfg.Group.Addr().IsMulticast() {
		return nil, fmt.Errorf("open sender: %s is not a multicast address", cfg.Group.Addr())
	}
	ifi, err := net.InterfaceByName(cfg.Interface)
	if err != nil {
		return nil, fmt.Errorf("open sender: interface %s: %w", cfg.Interface, err)
	}
	addr, err := AddressOn(ifi, cfg.Group.Addr())
	if err != nil {
		return nil, fmt.Errorf("open sender: %w", err)
	}
	conn, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.AddrPortFrom(addr, cfg.Group.Port())))
	if err != nil {
		return nil, fmt.Errorf("open sender: %w", err)
	}
	ttl := max(cfg.TTL, 1)
	if cfg.Group.Addr().Is4() {
		p := ipv4.NewPacketConn(conn)
		err = firstError(p.SetMulticastInterface(ifi), p.SetMulticastTTL(ttl), p.SetMulticastLoopback(true))
	} else {
		p := ipv6.NewPacketConn(conn)
		err = firstError(p.SetMulticastInterface(ifi), p.SetMulticastHopLimit(ttl), p.SetMulticastLoopback(true))
	}
	if err != nil {
		_ = conn.Close()
		return nil, fmt.Errorf("open sender on %s for %s: %w", cfg.Interface, cfg.Group, err)
	}
	// Smaller buffers only cost speed, so a refusal is not an error.
	_ = conn.SetWriteBuffer(sendBuffer)
	_ = conn.SetReadBuffer(1 << 20)
	s := &GroupSender{conn: conn, group: cfg.Group, local: conn.LocalAddr().(*net.UDPAddr).AddrPort()}
	s.gso.Store(probeSegmentation(conn))
	return s, nil
}

func firstError(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// Local is the address that members send their reports to.
func (s *GroupSender) Local() netip.AddrPort { return s.local }

// Segmenting reports whether the kernel cuts large sends into datagrams.
func (s *GroupSender) Segmenting() bool { return s.gso.Load() }

// WriteGroup sends b to the group as datagrams of size bytes each; the last may
// be shorter. It blocks while the socket's buffer is full.
func (s *GroupSender) WriteGroup(b []byte, size int) error {
	perSend := min(maxSegments, maxDatagram/size) * size
	for len(b) > 0 {
		n := size
		if s.gso.Load() {
			n = perSend
		}
		n = min(n, len(b))
		if n <= size {
			if _, err := s.conn.WriteToUDPAddrPort(b[:n], s.group); err != nil {
				return fmt.Errorf("send to %s: %w", s.group, err)
			}
			b = b[n:]
			continue
		}
		err := writeSegmented(s.conn, b[:n], size, s.group)
		if segmentationRefused(err) {
			// The device under the route cannot do it (no checksum offload, some
			// tunnels); what was refused was not sent.
			s.gso.Store(false)
			continue
		}
		if err != nil {
			return fmt.Errorf("send to %s: %w", s.group, err)
		}
		b = b[n:]
	}
	return nil
}

// WriteTo sends one datagram to one machine, from the same port.
func (s *GroupSender) WriteTo(b []byte, to netip.AddrPort) error {
	if _, err := s.conn.WriteToUDPAddrPort(b, to); err != nil {
		return fmt.Errorf("send to %s: %w", to, err)
	}
	return nil
}

// ReadReport reads one datagram that a member sent.
func (s *GroupSender) ReadReport(buf []byte) (int, netip.AddrPort, error) {
	return s.conn.ReadFromUDPAddrPort(buf)
}

// Close ends the sender; a blocked ReadReport returns net.ErrClosed.
func (s *GroupSender) Close() error { return s.conn.Close() }
