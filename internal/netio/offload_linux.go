package netio

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"unsafe"

	"golang.org/x/sys/unix"
)

func control(c *net.UDPConn, f func(fd int)) {
	if rc, err := c.SyscallConn(); err == nil {
		_ = rc.Control(func(fd uintptr) { f(int(fd)) })
	}
}

// appendSegmentSize appends the control message that tells the kernel where to cut.
func appendSegmentSize(oob []byte, size uint16) []byte {
	at := len(oob)
	var empty [64]byte
	oob = append(oob, empty[:unix.CmsgSpace(2)]...)
	h := (*unix.Cmsghdr)(unsafe.Pointer(&oob[at])) // the layout that sendmsg(2) wants
	h.Level, h.Type = unix.IPPROTO_UDP, unix.UDP_SEGMENT
	h.SetLen(unix.CmsgLen(2))
	binary.NativeEndian.PutUint16(oob[at+unix.CmsgLen(0):], size)
	return oob
}

// segmentationRefused tells errors of the offload from errors of the network.
// EIO is what udp_send_skb returns when the device has no transmit checksum
// offload, which UDP_SEGMENT needs; EINVAL and EMSGSIZE come from tunnels and from
// segments larger than the path MTU, the others from kernels without it.
func segmentationRefused(err error) bool {
	return errors.Is(err, unix.EIO) || errors.Is(err, unix.EINVAL) || errors.Is(err, unix.EMSGSIZE) ||
		errors.Is(err, unix.EOPNOTSUPP) || errors.Is(err, unix.ENOPROTOOPT)
}

// ipv6MulticastAll is IPV6_MULTICAST_ALL (Linux 4.20, include/uapi/linux/in6.h).
const ipv6MulticastAll = 29

// listenGroup binds the group's own address: datagrams for other groups, or for
// the host itself, on the same port belong to others. The net package would
// bind the wildcard address, so the socket is made by hand. Several receivers on
// one host share the port, and only get groups they joined themselves: by
// default Linux delivers whatever any program on the host has joined.
func listenGroup(group netip.AddrPort) (*net.UDPConn, error) {
	family, level, all := unix.AF_INET, unix.IPPROTO_IP, unix.IP_MULTICAST_ALL
	var at unix.Sockaddr
	if group.Addr().Is4() {
		at = &unix.SockaddrInet4{Port: int(group.Port()), Addr: group.Addr().As4()}
	} else {
		family, level, all = unix.AF_INET6, unix.IPPROTO_IPV6, ipv6MulticastAll
		at = &unix.SockaddrInet6{Port: int(group.Port()), Addr: group.Addr().As16()}
	}
	fd, err := unix.Socket(family, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return nil, fmt.Errorf("make socket: %w", err)
	}
	_ = unix.SetsockoptInt(fd, level, all, 0) // IPv6: Linux 4.20
	if err = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1); err == nil {
		err = unix.Bind(fd, at)
	}
	if err != nil {
		_ = unix.Close(fd)
		return nil, fmt.Errorf("bind: %w", err)
	}
	f := os.NewFile(uintptr(fd), group.String())
	defer func() { _ = f.Close() }() // FilePacketConn has a descriptor of its own
	c, err := net.FilePacketConn(f)
	if err != nil {
		return nil, err
	}
	return c.(*net.UDPConn), nil
}

// growReceiveBuffer asks for size bytes, first within the system's limit, then
// past it, which root may.
func growReceiveBuffer(c *net.UDPConn, size int) {
	_ = c.SetReadBuffer(size)
	control(c, func(fd int) {
		// The kernel doubles what is asked for to account for its own overhead.
		if have, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF); err == nil && have < 2*size {
			_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, size)
		}
	})
}
