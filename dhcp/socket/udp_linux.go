package socket

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"syscall"

	"golang.org/x/net/bpf"
	"golang.org/x/net/ipv4"
	"golang.org/x/sys/unix"
)

// udpSocket is a bound UDP socket of one interface.
type udpSocket struct {
	*ipv4.PacketConn
	name string
}

// OpenUDP opens a socket that hears and speaks on one interface only, so that
// replies leave by it whatever the routing table says, and another DHCP server
// may serve other interfaces of the host.
func OpenUDP(ctx context.Context, name string, port uint16) (Transport, error) {
	config := net.ListenConfig{Control: func(_, _ string, raw syscall.RawConn) error {
		var bind error
		err := raw.Control(func(fd uintptr) {
			bind = unix.SetsockoptString(int(fd), unix.SOL_SOCKET, unix.SO_BINDTODEVICE, name)
			makeRoom(int(fd))
			goFirst(int(fd))
		})
		return errors.Join(err, bind)
	}}
	c, err := config.ListenPacket(ctx, "udp4", fmt.Sprintf("0.0.0.0:%d", port))
	if err != nil {
		return nil, fmt.Errorf("listen on UDP port %d of interface %s: %w%s", port, name, err, bindAdvice(err))
	}
	p := ipv4.NewPacketConn(c)
	if err := p.SetControlMessage(ipv4.FlagDst|ipv4.FlagInterface, true); err != nil {
		_ = c.Close()
		return nil, fmt.Errorf("ask for control messages on UDP port %d of interface %s: %w", port, name, err)
	}
	return udpSocket{p, name}, nil
}

// makeRoom asks for more room for a classroom that is switched on at once. The
// kernel's usual limit holds some 10 ms of a storm of 10 000 a second; with
// CAP_NET_ADMIN it may be passed. Less is no failure.
func makeRoom(fd int) {
	if unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, receiveBuffer) != nil {
		_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF, receiveBuffer)
	}
}

// goFirst has answers leave before images that wait for the same link: 6 is
// TC_PRIO_INTERACTIVE (linux/pkt_sched.h), the first band of pfifo_fast and prio. A
// switch is told by the class selector 6 of RFC 4594, network control, as by other
// DHCP servers. Without it an answer is one packet behind all others, and lost where
// the queue is full. What does not take it loses nothing else.
func goFirst(fd int) {
	_ = unix.SetsockoptInt(fd, unix.IPPROTO_IP, unix.IP_TOS, 0xc0)
	_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_PRIORITY, 6)
}

func bindAdvice(err error) string {
	switch {
	case errors.Is(err, unix.EADDRINUSE):
		return " (another DHCP or PXE server runs on this host: stop it, bind it to other interfaces, share the port, or choose mode off)"
	case errors.Is(err, unix.EACCES), errors.Is(err, unix.EPERM):
		return " (run as root, or give the binary CAP_NET_BIND_SERVICE and CAP_NET_RAW)"
	case errors.Is(err, unix.ENODEV):
		return " (no such interface)"
	}
	return ""
}

func (u udpSocket) Receive(take func([]byte, Received) []byte) error {
	return receiveBatches(u.ReadBatch, len(ipv4.NewControlMessage(ipv4.FlagDst|ipv4.FlagInterface)), sentTo4, take)
}

// receiveBatches hands over what one call after the other reads. The messages of
// both families are of one type; their control messages, of oob bytes, are not.
func receiveBatches(read func([]ipv4.Message, int) (int, error), oob int, sentTo func(oob []byte) netip.Addr, take func([]byte, Received) []byte) error {
	batch := make([]ipv4.Message, batchSize)
	for i := range batch {
		batch[i].Buffers = [][]byte{make([]byte, BufferSize)}
		batch[i].OOB = make([]byte, oob)
	}
	return untilBroken(func() error {
		n, err := read(batch, 0)
		for i := range batch[:max(0, n)] {
			m := &batch[i]
			m.Buffers[0] = take(m.Buffers[0], Received{Length: m.N, Source: sourceOf(m.Addr), SentTo: sentTo(m.OOB[:m.NN])})
		}
		return err
	})
}

// untilBroken reads until the socket is closed or fails again and again: a link
// that goes down is reported once (ENETDOWN) and may come back.
func untilBroken(read func() error) error {
	for failures := 0; ; {
		err := read()
		switch {
		case err == nil:
			failures = 0
			continue
		case errors.Is(err, net.ErrClosed), errors.Is(err, os.ErrClosed):
			return err
		}
		if failures++; failures > 10 {
			return err
		}
	}
}

func sentTo4(oob []byte) netip.Addr {
	var control ipv4.ControlMessage
	if control.Parse(oob) != nil {
		return netip.Addr{}
	}
	a, _ := netip.AddrFromSlice(control.Dst.To4())
	return a
}

func (u udpSocket) Transmit(packet []byte, from, to netip.AddrPort, index int) error {
	control := &ipv4.ControlMessage{Src: from.Addr().AsSlice(), IfIndex: index}
	_, err := u.WriteTo(packet, control, net.UDPAddrFromAddrPort(to))
	return err
}

func sourceOf(a net.Addr) netip.AddrPort {
	u, ok := a.(*net.UDPAddr)
	if !ok {
		return netip.AddrPort{}
	}
	p := u.AddrPort()
	return netip.AddrPortFrom(p.Addr().Unmap(), p.Port())
}

// Tap hears the UDP packets to one port that come in by one interface without
// owning the port, and sends from it. It serves to live beside a DHCP server on
// the same host, and to see what other servers answer.
type Tap struct {
	packets *os.File // packet socket
	split   func([]byte) (payload []byte, source, dest netip.AddrPort, ok bool)
	raw     *os.File // raw IP socket for sending; nil when the tap only listens
}

// OpenTap hears IPv4; with sends it can answer too. It needs CAP_NET_RAW.
func OpenTap(name string, port uint16, sends bool) (*Tap, error) {
	t, err := openPackets(name, port, etherTypeIPv4, udpFilter(port))
	if err != nil {
		return nil, err
	}
	t.split = splitUDP
	if !sends {
		return t, nil
	}
	if t.raw, err = openRaw(name); err != nil {
		_ = t.Close()
		return nil, fmt.Errorf("answer beside UDP port %d of interface %s: %w%s", port, name, err, bindAdvice(err))
	}
	return t, nil
}

// OpenTap6 hears IPv6, and answers nothing. It needs CAP_NET_RAW.
func OpenTap6(name string, port uint16) (*Tap, error) {
	t, err := openPackets(name, port, etherTypeIPv6, udpFilter6(port))
	if err != nil {
		return nil, err
	}
	t.split = splitUDP6
	return t, nil
}

func openPackets(name string, port, etherType uint16, filter []bpf.Instruction) (*Tap, error) {
	fail := func(err error) (*Tap, error) {
		return nil, fmt.Errorf("listen beside UDP port %d of interface %s: %w%s", port, name, err, bindAdvice(err))
	}
	i, err := net.InterfaceByName(name)
	if err != nil {
		return fail(err)
	}
	// The filter is attached before the socket is bound to a protocol: no other
	// packet gets in between.
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return fail(err)
	}
	t := &Tap{packets: os.NewFile(uintptr(fd), "packet")}
	err = attach(fd, filter)
	if err == nil {
		makeRoom(fd)
		err = unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: networkOrder(etherType), Ifindex: i.Index})
	}
	if err != nil {
		_ = t.Close()
		return fail(err)
	}
	return t, nil
}

func openRaw(name string) (*os.File, error) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, unix.IPPROTO_RAW)
	if err != nil {
		return nil, err
	}
	if err := errors.Join(
		unix.SetsockoptString(fd, unix.SOL_SOCKET, unix.SO_BINDTODEVICE, name),
		unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_BROADCAST, 1),
	); err != nil {
		_ = unix.Close(fd)
		return nil, err
	}
	goFirst(fd)
	return os.NewFile(uintptr(fd), "raw IP"), nil
}

func networkOrder(v uint16) uint16 { return v<<8 | v>>8 }

// udpFilter passes unfragmented UDP packets to a port; offsets from the IP
// header on.
func udpFilter(port uint16) []bpf.Instruction {
	return []bpf.Instruction{
		bpf.LoadAbsolute{Off: 9, Size: 1},
		bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: protoUDP, SkipTrue: 6},
		bpf.LoadAbsolute{Off: 6, Size: 2},
		bpf.JumpIf{Cond: bpf.JumpBitsSet, Val: 0x3fff, SkipTrue: 4},
		bpf.LoadMemShift{Off: 0},
		bpf.LoadIndirect{Off: 2, Size: 2},
		bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: uint32(port), SkipTrue: 1},
		bpf.RetConstant{Val: 1 << 16},
		bpf.RetConstant{Val: 0},
	}
}

// udpFilter6 is the same for IPv6 without extension headers.
func udpFilter6(port uint16) []bpf.Instruction {
	return []bpf.Instruction{
		bpf.LoadAbsolute{Off: 6, Size: 1},
		bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: protoUDP, SkipTrue: 3},
		bpf.LoadAbsolute{Off: lenIPv6 + 2, Size: 2},
		bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: uint32(port), SkipTrue: 1},
		bpf.RetConstant{Val: 1 << 16},
		bpf.RetConstant{Val: 0},
	}
}

func attach(fd int, program []bpf.Instruction) error {
	assembled, err := bpf.Assemble(program)
	if err != nil {
		return err
	}
	filter := make([]unix.SockFilter, len(assembled))
	for i, r := range assembled {
		filter[i] = unix.SockFilter{Code: r.Op, Jt: r.Jt, Jf: r.Jf, K: r.K}
	}
	return unix.SetsockoptSockFprog(fd, unix.SOL_SOCKET, unix.SO_ATTACH_FILTER,
		&unix.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]})
}

// Receive is that of [Transport].
func (t *Tap) Receive(take func([]byte, Received) []byte) error {
	buffer := make([]byte, BufferSize)
	return untilBroken(func() error {
		n, err := t.packets.Read(buffer)
		if err != nil {
			return err
		}
		if payload, source, dest, ok := t.split(buffer[:n]); ok {
			length := copy(buffer, payload)
			buffer = take(buffer, Received{Length: length, Source: source, SentTo: dest.Addr()})
		}
		return nil
	})
}

// Transmit lets the kernel find the next hop: the packet is whole from the IP
// header on.
func (t *Tap) Transmit(packet []byte, from, to netip.AddrPort, _ int) error {
	raw, err := t.raw.SyscallConn()
	if err != nil {
		return err
	}
	datagram := appendUDP(nil, from, to, packet)
	var failed error
	err = raw.Write(func(fd uintptr) bool {
		failed = unix.Sendto(int(fd), datagram, 0, &unix.SockaddrInet4{Addr: to.Addr().As4()})
		return !errors.Is(failed, unix.EAGAIN)
	})
	return errors.Join(err, failed)
}

// Close closes the tap; what waits in Receive ends.
func (t *Tap) Close() error {
	err := t.packets.Close()
	if t.raw != nil {
		err = errors.Join(err, t.raw.Close())
	}
	return err
}

// Frames sends whole Ethernet frames.
type Frames struct{ fd int }

// OpenFrames opens a packet socket that receives nothing; it needs CAP_NET_RAW.
func OpenFrames() (*Frames, error) {
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("open packet socket: %w", err)
	}
	_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_PRIORITY, 6) // see goFirst
	return &Frames{fd}, nil
}

// Send puts a frame on the interface with the given index.
func (f *Frames) Send(index int, frame []byte) error {
	to := unix.SockaddrLinklayer{Ifindex: index, Halen: 6}
	copy(to.Addr[:], frame[:6])
	return unix.Sendto(f.fd, frame, 0, &to)
}

// Close closes the socket.
func (f *Frames) Close() error { return unix.Close(f.fd) }
