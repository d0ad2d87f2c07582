package tftp

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"
)

// listenBuffer is the receive buffer asked for on a listening socket, in bytes:
// a room full of machines asks within the same second.
const listenBuffer = 1 << 20

// arrival is what the kernel tells about a received datagram.
type arrival struct {
	dst   netip.Addr // destination address of the packet
	local netip.Addr // address of this machine that it came to; differs from dst on a broadcast
	index int        // interface
}

// listenUDP binds a listening socket that tells where datagrams were sent to.
func listenUDP(addr netip.AddrPort, device string) (*net.UDPConn, error) {
	network := "udp4"
	if addr.Addr().Is6() {
		network = "udp6"
	}
	lc := net.ListenConfig{Control: func(_, _ string, rc syscall.RawConn) error {
		return control(rc, func(fd int) error {
			return bindDevice(fd, device)
		})
	}}
	c, err := lc.ListenPacket(context.Background(), network, addr.String())
	if err != nil {
		return nil, err
	}
	conn := c.(*net.UDPConn)
	return conn, prepareUDP(conn, network == "udp6")
}

// prepareUDP makes a bound socket tell where datagrams were sent to. It closes
// one that does not.
func prepareUDP(conn *net.UDPConn, ipv6 bool) error {
	level, option := unix.IPPROTO_IP, unix.IP_PKTINFO
	if ipv6 {
		level, option = unix.IPPROTO_IPV6, unix.IPV6_RECVPKTINFO
	}
	rc, err := conn.SyscallConn()
	if err == nil {
		err = control(rc, func(fd int) error { return unix.SetsockoptInt(fd, level, option, 1) })
	}
	if err != nil {
		return errors.Join(fmt.Errorf("ask for packet information: %w", err), conn.Close())
	}
	_ = conn.SetReadBuffer(listenBuffer) // less is slower, not wrong
	return nil
}

// dialUDP binds a socket for one transfer and connects it to the client. It
// returns the path MTU too.
func dialUDP(ctx context.Context, local, peer netip.AddrPort, device string) (conn *net.UDPConn, mtu int, err error) {
	network := "udp4"
	if peer.Addr().Is6() {
		network = "udp6"
	}
	d := net.Dialer{
		LocalAddr: net.UDPAddrFromAddrPort(local),
		Control: func(_, _ string, rc syscall.RawConn) error {
			return control(rc, func(fd int) error { return bindDevice(fd, device) })
		},
	}
	c, err := d.DialContext(ctx, network, peer.String())
	if err != nil {
		return nil, 0, err
	}
	conn = c.(*net.UDPConn)
	rc, err := conn.SyscallConn()
	if err == nil {
		err = control(rc, func(fd int) error {
			level, option := unix.IPPROTO_IP, unix.IP_MTU
			if network == "udp6" {
				level, option = unix.IPPROTO_IPV6, unix.IPV6_MTU
			}
			var err error
			mtu, err = unix.GetsockoptInt(fd, level, option)
			return err
		})
	}
	if err != nil {
		mtu = 1500 // Ethernet; the kernel fragments when it is less
	}
	return conn, mtu, nil
}

// bindDevice ties a socket to an interface. "" ties it to none.
func bindDevice(fd int, device string) error {
	if device == "" {
		return nil
	}
	if err := unix.BindToDevice(fd, device); err != nil {
		return fmt.Errorf("bind to interface %s: %w", device, err)
	}
	return nil
}

// control runs f on the socket's descriptor.
func control(rc syscall.RawConn, f func(fd int) error) error {
	var err error
	if cerr := rc.Control(func(fd uintptr) { err = f(int(fd)) }); cerr != nil {
		return cerr
	}
	return err
}

// parseArrival reads the packet information out of control messages.
func parseArrival(oob []byte) (a arrival, ok bool) {
	for len(oob) >= unix.CmsgLen(0) {
		h, data, rest, err := unix.ParseOneSocketControlMessage(oob)
		if err != nil {
			return a, false
		}
		switch {
		case h.Level == unix.IPPROTO_IP && h.Type == unix.IP_PKTINFO && len(data) >= unix.SizeofInet4Pktinfo:
			// struct in_pktinfo: interface, local address, destination address.
			a.index = int(int32(binary.NativeEndian.Uint32(data)))
			a.local = netip.AddrFrom4([4]byte(data[4:8]))
			a.dst = netip.AddrFrom4([4]byte(data[8:12]))
			return a, true
		case h.Level == unix.IPPROTO_IPV6 && h.Type == unix.IPV6_PKTINFO && len(data) >= unix.SizeofInet6Pktinfo:
			// struct in6_pktinfo: destination address, interface.
			a.dst = netip.AddrFrom16([16]byte(data[:16]))
			a.index = int(int32(binary.NativeEndian.Uint32(data[16:])))
			if a.dst.IsLinkLocalUnicast() {
				a.dst = a.dst.WithZone(strconv.Itoa(a.index))
			}
			a.local = a.dst
			return a, true
		}
		oob = rest
	}
	return a, false
}

// sourceOOB is the control data that makes a datagram leave from an address of
// this machine. Link-local IPv6 needs the interface too.
func sourceOOB(local netip.Addr, index int) []byte {
	if local.Is4() {
		return unix.PktInfo4(&unix.Inet4Pktinfo{Spec_dst: local.As4()})
	}
	info := &unix.Inet6Pktinfo{Addr: local.As16()}
	if local.IsLinkLocalUnicast() {
		info.Ifindex = uint32(index)
	}
	return unix.PktInfo6(info)
}
