package socket

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"syscall"

	"golang.org/x/net/bpf"
	"golang.org/x/net/ipv6"
	"golang.org/x/sys/unix"
)

// udp6Socket is a bound UDP socket of one interface that is a member of the
// groups of DHCPv6 servers.
type udp6Socket struct {
	*ipv6.PacketConn
}

// OpenUDP6 opens a socket that hears and speaks on one interface only, as a member of
// groups.
func OpenUDP6(ctx context.Context, name string, port uint16, groups ...netip.Addr) (Transport, error) {
	fail := func(err error) (Transport, error) {
		return nil, fmt.Errorf("listen on UDP port %d of interface %s by IPv6: %w%s", port, name, err, bindAdvice(err))
	}
	config := net.ListenConfig{Control: func(_, _ string, raw syscall.RawConn) error {
		return errors.Join(control6(raw, name))
	}}
	c, err := config.ListenPacket(ctx, "udp6", fmt.Sprintf("[::]:%d", port))
	if err != nil {
		return fail(err)
	}
	p := ipv6.NewPacketConn(c)
	if err := join6(p, name, groups); err != nil {
		_ = c.Close()
		return fail(err)
	}
	return udp6Socket{p}, nil
}

func control6(raw syscall.RawConn, name string) error {
	var bind error
	err := raw.Control(func(fd uintptr) {
		bind = unix.SetsockoptString(int(fd), unix.SOL_SOCKET, unix.SO_BINDTODEVICE, name)
		makeRoom(int(fd))
		goFirst(int(fd))
	})
	return errors.Join(err, bind)
}

func join6(p *ipv6.PacketConn, name string, groups []netip.Addr) error {
	i, err := net.InterfaceByName(name)
	if err != nil {
		return err
	}
	for _, group := range groups {
		if err := p.JoinGroup(i, &net.UDPAddr{IP: group.AsSlice()}); err != nil {
			return fmt.Errorf("join group %s: %w", group, err)
		}
	}
	return p.SetControlMessage(ipv6.FlagDst|ipv6.FlagInterface, true)
}

func (u udp6Socket) Receive(take func([]byte, Received) []byte) error {
	return receiveBatches(u.ReadBatch, len(ipv6.NewControlMessage(ipv6.FlagDst|ipv6.FlagInterface)), sentTo6, take)
}

func sentTo6(oob []byte) netip.Addr {
	var control ipv6.ControlMessage
	if control.Parse(oob) != nil {
		return netip.Addr{}
	}
	a, _ := netip.AddrFromSlice(control.Dst)
	return a
}

// Transmit leaves the source address to the kernel when from has none.
func (u udp6Socket) Transmit(packet []byte, from, to netip.AddrPort, index int) error {
	_, err := u.WriteTo(packet, control6Message(from, index), net.UDPAddrFromAddrPort(to))
	return err
}

func control6Message(from netip.AddrPort, index int) *ipv6.ControlMessage {
	control := &ipv6.ControlMessage{IfIndex: index}
	if a := from.Addr(); a.IsValid() {
		control.Src = a.AsSlice()
	}
	return control
}

// raw6Socket hears the packets to one port beside the port's owner, and answers
// as if it were that owner: a raw socket for UDP.
type raw6Socket struct {
	conn *ipv6.PacketConn
	port uint16
}

// OpenRaw6 needs CAP_NET_RAW.
func OpenRaw6(ctx context.Context, name string, port uint16, groups ...netip.Addr) (Transport, error) {
	fail := func(err error) (Transport, error) {
		return nil, fmt.Errorf("listen beside UDP port %d of interface %s by IPv6: %w%s", port, name, err, bindAdvice(err))
	}
	config := net.ListenConfig{Control: func(_, _ string, raw syscall.RawConn) error {
		var filter error
		err := raw.Control(func(fd uintptr) { filter = attach(int(fd), portFilter(port)) })
		return errors.Join(err, filter, control6(raw, name))
	}}
	c, err := config.ListenPacket(ctx, "ip6:17", "::")
	if err != nil {
		return fail(err)
	}
	p := ipv6.NewPacketConn(c)
	err = join6(p, name, groups)
	if err == nil {
		// The kernel knows the source address, so it writes the check sum.
		err = p.SetChecksum(true, 6)
	}
	if err != nil {
		_ = c.Close()
		return fail(err)
	}
	return raw6Socket{p, port}, nil
}

// portFilter passes UDP datagrams to a port; offsets from the UDP header on.
func portFilter(port uint16) []bpf.Instruction {
	return []bpf.Instruction{
		bpf.LoadAbsolute{Off: 2, Size: 2},
		bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: uint32(port), SkipTrue: 1},
		bpf.RetConstant{Val: 1 << 16},
		bpf.RetConstant{Val: 0},
	}
}

func (u raw6Socket) Receive(take func([]byte, Received) []byte) error {
	buffer, datagram := make([]byte, BufferSize), make([]byte, BufferSize+lenUDP)
	return untilBroken(func() error {
		n, control, source, err := u.conn.ReadFrom(datagram)
		if err != nil {
			return err
		}
		ip, ok := source.(*net.IPAddr)
		if n < lenUDP || !ok {
			return nil
		}
		from, _ := netip.AddrFromSlice(ip.IP)
		r := Received{
			Length: copy(buffer, datagram[lenUDP:n]),
			Source: netip.AddrPortFrom(from, uint16(datagram[0])<<8|uint16(datagram[1])),
		}
		if control != nil {
			r.SentTo, _ = netip.AddrFromSlice(control.Dst)
		}
		buffer = take(buffer, r)
		return nil
	})
}

func (u raw6Socket) Transmit(packet []byte, from, to netip.AddrPort, index int) error {
	size := lenUDP + len(packet)
	b := make([]byte, 0, size)
	b = append(b, byte(u.port>>8), byte(u.port), byte(to.Port()>>8), byte(to.Port()), byte(size>>8), byte(size), 0, 0)
	b = append(b, packet...)
	_, err := u.conn.WriteTo(b, control6Message(from, index), &net.IPAddr{IP: to.Addr().AsSlice()})
	return err
}

func (u raw6Socket) Close() error { return u.conn.Close() }
