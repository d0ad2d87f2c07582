package netio

import (
	"fmt"
	"net"
	"net/netip"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// groupWriter sends to a group by a socket that nobody waits for. The kernel tells
// those who wait for a socket of every datagram of it that has left (sock_wfree), a
// reader of reports and the net package's poller too. The socket is connected, so the route is looked up once, and has a port of its own:
// members send reports to the one they were told.
type groupWriter struct {
	mu     sync.Mutex // held while fd is in use
	fd     int
	closed atomic.Bool
	oob    []byte // tells the segments' size
	size   int    // that oob is made for
	msg    unix.Msghdr
	iov    unix.Iovec
}

// sendSlice bounds how long a send waits in the kernel, which Close does not interrupt.
const sendSlice = 100 * time.Millisecond

// open makes the socket on an interface's address.
func (w *groupWriter) open(local netip.Addr, ifi *net.Interface, cfg GroupSenderConfig) error {
	conn, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.AddrPortFrom(local, 0)))
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }() // the socket lives on
	// Before the connection: it decides about the route.
	if err = setGroupOptions(conn, ifi, cfg); err != nil {
		return err
	}
	group := cfg.Group
	var to unix.Sockaddr
	if group.Addr().Is4() {
		to = &unix.SockaddrInet4{Port: int(group.Port()), Addr: group.Addr().As4()}
	} else {
		to = &unix.SockaddrInet6{Port: int(group.Port()), Addr: group.Addr().As16(), ZoneId: uint32(ifi.Index)}
	}
	control(conn, func(fd int) {
		if err = os.NewSyscallError("connect", unix.Connect(fd, to)); err == nil {
			w.fd, err = unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 0)
		}
	})
	if err != nil {
		return err
	}
	slice := unix.NsecToTimeval(int64(sendSlice))
	if err = unix.SetNonblock(w.fd, false); err == nil {
		err = unix.SetsockoptTimeval(w.fd, unix.SOL_SOCKET, unix.SO_SNDTIMEO, &slice)
	}
	if err != nil {
		_ = unix.Close(w.fd)
		return fmt.Errorf("make sends wait: %w", err)
	}
	w.msg.Iov, w.msg.Iovlen = &w.iov, 1
	return nil
}

// segmenting asks whether the kernel cuts large sends (UDP_SEGMENT, Linux 4.18).
func (w *groupWriter) segmenting() bool { return segmentationKnown(w.fd) }

// send sends b, as datagrams of size bytes when it is longer, waiting while the
// socket's buffer is full.
func (w *groupWriter) send(b []byte, size int) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.iov.Base = unsafe.SliceData(b)
	w.iov.SetLen(len(b))
	w.msg.Control = nil
	w.msg.SetControllen(0)
	if len(b) > size {
		if w.size != size {
			w.oob, w.size = appendSegmentSize(w.oob[:0], uint16(size)), size
		}
		w.msg.Control = &w.oob[0]
		w.msg.SetControllen(len(w.oob))
	}
	for {
		if w.closed.Load() {
			return net.ErrClosed
		}
		_, _, errno := syscall.Syscall(unix.SYS_SENDMSG, uintptr(w.fd), uintptr(unsafe.Pointer(&w.msg)), 0) // the layout of the call
		switch errno {
		case 0:
			return nil
		case unix.EINTR, unix.EAGAIN: // a signal, or the slice is over
			continue
		}
		return errno
	}
}

// stand says where what is sent from now on stands in the queue of the link.
func (w *groupWriter) stand(place Place) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.closed.Load() {
		placeSocket(w.fd, place)
	}
}

// close waits for a send, which ends with its slice.
func (w *groupWriter) close() error {
	if w.closed.Swap(true) {
		return net.ErrClosed
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	return unix.Close(w.fd)
}
