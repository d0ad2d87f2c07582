package netio

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"time"
	"unsafe"

	"golang.org/x/net/ipv4"
	"golang.org/x/net/ipv6"
	"golang.org/x/sys/unix"
)

// probeSegmentation asks whether the kernel knows UDP_SEGMENT (Linux 4.18).
func probeSegmentation(c *net.UDPConn) bool {
	ok := false
	control(c, func(fd int) { ok = segmentationKnown(fd) })
	return ok
}

func control(c *net.UDPConn, f func(fd int)) {
	if rc, err := c.SyscallConn(); err == nil {
		_ = rc.Control(func(fd uintptr) { f(int(fd)) })
	}
}

// writeSegmented sends b in one call; the kernel cuts it into datagrams of size
// bytes.
func writeSegmented(c *net.UDPConn, b []byte, size int, to netip.AddrPort) error {
	var room [64]byte
	_, _, err := c.WriteMsgUDPAddrPort(b, appendSegmentSize(room[:0], uint16(size)), to)
	return err
}

// appendSegmentSize appends the control message that tells the kernel where to cut.
func appendSegmentSize(oob []byte, size uint16) []byte {
	at := len(oob)
	var empty [64]byte
	oob = append(oob, empty[:unix.CmsgSpace(2)]...)
	h := (*unix.Cmsghdr)(unsafe.Pointer(&oob[at])) //nolint:gosec // the layout that sendmsg(2) wants
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

// batchReader reads with recvmmsg and UDP_GRO: one call returns several
// buffers, each holding datagrams of one size back to back.
type batchReader struct {
	v4   *ipv4.PacketConn
	v6   *ipv6.PacketConn
	msgs []ipv4.Message
}

// readBatch buffers of 64 KiB each are read per call: a sender's whole burst when
// each buffer holds one datagram. Memory is used only as far as it is filled.
const readBatch = 48

func (r *batchReader) open(c *net.UDPConn, is4 bool) {
	control(c, func(fd int) {
		// Refused before Linux 5.0: then every buffer holds one datagram.
		_ = unix.SetsockoptInt(fd, unix.IPPROTO_UDP, unix.UDP_GRO, 1)
		_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_TIMESTAMPNS, 1)
	})
	if is4 {
		r.v4 = ipv4.NewPacketConn(c)
	} else {
		r.v6 = ipv6.NewPacketConn(c)
	}
	r.msgs = make([]ipv4.Message, readBatch)
	for i := range r.msgs {
		r.msgs[i].Buffers = [][]byte{make([]byte, 1<<16)}
		r.msgs[i].OOB = make([]byte, 128)
	}
}

func (r *batchReader) read(handle func([]byte, time.Time)) error {
	var n int
	var err error
	if r.v4 != nil {
		n, err = r.v4.ReadBatch(r.msgs, 0)
	} else {
		n, err = r.v6.ReadBatch(r.msgs, 0)
	}
	if err != nil {
		return err
	}
	for i := range r.msgs[:n] {
		m := &r.msgs[i]
		b := m.Buffers[0][:m.N]
		size, at := ancillary(m.OOB[:m.NN])
		if size <= 0 {
			size = len(b)
		}
		if at.IsZero() {
			at = time.Now()
		}
		for len(b) > size {
			handle(b[:size], at)
			b = b[size:]
		}
		if len(b) > 0 {
			handle(b, at)
		}
	}
	return nil
}

// ancillary reads the control messages of a buffer: the size of its datagrams
// (UDP_GRO, an int; Linux net/ipv4/udp.c), 0 when it holds one, and when it
// arrived (SCM_TIMESTAMPNS), zero when the kernel does not say.
func ancillary(oob []byte) (size int, at time.Time) {
	for len(oob) >= unix.SizeofCmsghdr {
		h := (*unix.Cmsghdr)(unsafe.Pointer(&oob[0]))
		l := int(h.Len)
		if l < unix.SizeofCmsghdr || l > len(oob) {
			break
		}
		data := oob[unix.CmsgLen(0):max(l, unix.CmsgLen(0))]
		switch {
		case h.Level == unix.IPPROTO_UDP && h.Type == unix.UDP_GRO && len(data) >= 2:
			size = int(binary.NativeEndian.Uint16(data))
		case h.Level == unix.SOL_SOCKET && h.Type == unix.SCM_TIMESTAMPNS && len(data) >= int(unsafe.Sizeof(unix.Timespec{})):
			ts := *(*unix.Timespec)(unsafe.Pointer(&data[0]))
			at = time.Unix(ts.Unix())
		}
		next := unix.CmsgSpace(l - unix.CmsgLen(0))
		if next > len(oob) {
			break
		}
		oob = oob[next:]
	}
	return size, at
}
