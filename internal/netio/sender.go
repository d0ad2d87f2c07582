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
	// Greedy senders keep more in the queue of the link than others' sockets are
	// allowed, as far as the system's limit (net.core.wmem_max) lets them: a queue
	// serves each as much as it has in it.
	Greedy bool
}

// GroupSender sends to a multicast group and receives what members send back, on a
// UDP port of the group's number. WriteGroup may run at the same time as ReadReport.
type GroupSender struct {
	conn  *net.UDPConn // reports
	out   groupWriter  // the group
	group netip.AddrPort
	local netip.AddrPort
	gso   atomic.Bool
	first atomic.Bool // see Promised
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
	_ = conn.SetReadBuffer(1 << 20) // a smaller one only costs speed
	s := &GroupSender{conn: conn, group: cfg.Group, local: conn.LocalAddr().(*net.UDPAddr).AddrPort()}
	if err := s.out.open(addr, ifi, cfg); err != nil {
		_ = conn.Close()
		return nil, fmt.Errorf("open sender on %s for %s: %w", cfg.Interface, cfg.Group, err)
	}
	s.gso.Store(s.out.segmenting())
	return s, nil
}

// setGroupOptions says how datagrams leave for the group.
func setGroupOptions(conn *net.UDPConn, ifi *net.Interface, cfg GroupSenderConfig) error {
	buffer, ttl := sendBuffer, max(cfg.TTL, 1)
	if cfg.Greedy {
		buffer = greedyBuffer
	}
	_ = conn.SetWriteBuffer(buffer) // a smaller one only costs speed
	SetPlace(conn, Bulk)
	if cfg.Group.Addr().Is4() {
		p := ipv4.NewPacketConn(conn)
		return firstError(p.SetMulticastInterface(ifi), p.SetMulticastTTL(ttl), p.SetMulticastLoopback(true))
	}
	p := ipv6.NewPacketConn(conn)
	return firstError(p.SetMulticastInterface(ifi), p.SetMulticastHopLimit(ttl), p.SetMulticastLoopback(true))
}

// Promised says whether what is sent from now on is the session's in any case: then it
// stands before the images, or a link that they fill loses its part of it. Everything
// else of a session stands with them.
func (s *GroupSender) Promised(yes bool) {
	if s.first.Swap(yes) == yes {
		return
	}
	place := Bulk
	if yes {
		place = Ordinary
	}
	s.out.stand(place)
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
		err := s.out.send(b[:n], size)
		if n > size && segmentationRefused(err) {
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

// WriteTo sends one datagram to one machine, from the port that reports go to.
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

// Close ends the sender; a blocked ReadReport returns net.ErrClosed, and so does a
// WriteGroup.
func (s *GroupSender) Close() error { return firstError(s.conn.Close(), s.out.close()) }
