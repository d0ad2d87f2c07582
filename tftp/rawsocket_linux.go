package tftp

import (
	"net"
	"runtime"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/net/ipv4"
	"golang.org/x/sys/unix"
)

// rawSocket is a connected UDP socket whose system calls the Go scheduler is not
// told of. None of them waits for anything, and telling costs more than the call:
// in lock-step the whole program falls asleep after each block, and the first
// announced system call after that wakes the runtime's monitor thread, which
// looks around for a while and goes to sleep again. That was half of the
// processor time of a transfer.
//
// Waiting is as always: by the runtime's poller, with deadlines. One goroutine
// reads and writes.
type rawSocket struct {
	conn *net.UDPConn
	rc   syscall.RawConn

	// What the callbacks work on. They are made once: a closure for each call
	// would be an allocation for each block.
	buf            []byte
	n              int
	errno          syscall.Errno
	onRead, onSend func(fd uintptr) bool
	onBatch        func(fd uintptr) bool

	hdrs []mmsghdr
	iovs []unix.Iovec
	todo []mmsghdr // of hdrs
}

// mmsghdr is that of sendmmsg(2).
type mmsghdr struct {
	hdr unix.Msghdr
	n   uint32
}

func newRawSocket(conn *net.UDPConn) (*rawSocket, error) {
	rc, err := conn.SyscallConn()
	if err != nil {
		return nil, err
	}
	s := &rawSocket{conn: conn, rc: rc}
	s.onRead = func(fd uintptr) bool { return s.transfer(unix.SYS_RECVFROM, fd) }
	s.onSend = func(fd uintptr) bool { return s.transfer(unix.SYS_SENDTO, fd) }
	s.onBatch = s.sendBatch
	return s, nil
}

// transfer moves buf one way, and returns false when the socket is not ready.
func (s *rawSocket) transfer(trap, fd uintptr) bool {
	for {
		n, _, errno := syscall.RawSyscall6(trap, fd, uintptr(unsafe.Pointer(unsafe.SliceData(s.buf))), uintptr(len(s.buf)), //nolint:gosec // the layout of the call
			unix.MSG_DONTWAIT, 0, 0)
		switch errno {
		case unix.EINTR:
			continue
		case unix.EAGAIN:
			return false
		}
		s.n, s.errno = int(n), errno
		return true
	}
}

// Read takes one datagram, the beginning of it when b is too short.
func (s *rawSocket) Read(b []byte) (int, error) { return s.wait(s.rc.Read, s.onRead, b) }

// Write sends one datagram.
func (s *rawSocket) Write(b []byte) (int, error) { return s.wait(s.rc.Write, s.onSend, b) }

func (s *rawSocket) wait(poll func(func(uintptr) bool) error, try func(uintptr) bool, b []byte) (int, error) {
	s.buf = b
	err := poll(try)
	s.buf = nil
	switch {
	case err != nil:
		return 0, err
	case s.errno != 0:
		return 0, s.errno
	}
	return s.n, nil
}

// WriteBatch is batchConn's; it sends to the client and looks at no address.
func (s *rawSocket) WriteBatch(ms []ipv4.Message, _ int) (int, error) {
	parts := 0
	for i := range ms {
		parts += len(ms[i].Buffers)
	}
	if len(s.hdrs) < len(ms) {
		s.hdrs = make([]mmsghdr, len(ms))
	}
	if len(s.iovs) < parts {
		s.iovs = make([]unix.Iovec, parts)
	}
	iovs := s.iovs
	for i := range ms {
		m, h := &ms[i], &s.hdrs[i].hdr
		*h = unix.Msghdr{Iov: &iovs[0]}
		h.SetIovlen(len(m.Buffers))
		for k, b := range m.Buffers {
			iovs[k].Base = unsafe.SliceData(b)
			iovs[k].SetLen(len(b))
		}
		iovs = iovs[len(m.Buffers):]
		if len(m.OOB) > 0 {
			h.Control = &m.OOB[0]
			h.SetControllen(len(m.OOB))
		}
	}
	s.todo = s.hdrs[:len(ms)]
	err := s.rc.Write(s.onBatch)
	runtime.KeepAlive(ms)
	switch {
	case err != nil:
		return 0, err
	case s.errno != 0:
		return 0, s.errno
	}
	return s.n, nil
}

func (s *rawSocket) sendBatch(fd uintptr) bool {
	for {
		n, _, errno := syscall.RawSyscall6(unix.SYS_SENDMMSG, fd, uintptr(unsafe.Pointer(&s.todo[0])), uintptr(len(s.todo)), //nolint:gosec // the layout of the call
			unix.MSG_DONTWAIT, 0, 0)
		switch errno {
		case unix.EINTR:
			continue
		case unix.EAGAIN:
			return false
		}
		s.n, s.errno = int(n), errno
		return true
	}
}

func (s *rawSocket) SetReadDeadline(t time.Time) error { return s.conn.SetReadDeadline(t) }

func (s *rawSocket) Close() error { return s.conn.Close() }

// newSocketLink makes a link over a connected socket.
func newSocketLink(conn *net.UDPConn, mtu, room int, gso bool) (*socketLink, error) {
	s, err := newRawSocket(conn)
	if err != nil {
		return nil, err
	}
	return &socketLink{conn: s, mtu: mtu, out: &batcher{conn: s, gso: gso, room: room}}, nil
}
