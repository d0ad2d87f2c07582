package netio

import (
	"encoding/binary"
	"errors"
	"net"
	"net/netip"
	"runtime"
	"strconv"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Socket is a UDP socket whose calls never wait: what cannot be done now fails
// with syscall.EAGAIN, and a Poller tells when to try again.
//
// The Go scheduler is not told of its system calls. None of them waits for
// anything, and telling costs more than the call: a program that answers single
// datagrams falls asleep after each one, and the first announced system call
// after that wakes the runtime's monitor thread. Nor is the socket known to the
// runtime's poller, which would wake a thread of its own for each datagram.
type Socket struct {
	fd    int
	local netip.AddrPort
	in    receiveHeader
}

// receiveHeader is what recvmsg(2) works on; it is kept, because a local one would
// be an allocation for each datagram.
type receiveHeader struct {
	msg  unix.Msghdr
	iov  unix.Iovec
	name unix.RawSockaddrInet6 // large enough for both families
}

// NewSocket takes over the connection, also when it fails.
func NewSocket(conn *net.UDPConn) (*Socket, error) {
	defer func() { _ = conn.Close() }()
	rc, err := conn.SyscallConn()
	if err != nil {
		return nil, err
	}
	s := &Socket{local: conn.LocalAddr().(*net.UDPAddr).AddrPort()}
	s.local = netip.AddrPortFrom(s.local.Addr().Unmap(), s.local.Port())
	// A second descriptor of the same socket. Closing the first one takes it away
	// from the runtime's poller.
	if cerr := rc.Control(func(fd uintptr) { s.fd, err = unix.FcntlInt(fd, unix.F_DUPFD_CLOEXEC, 0) }); cerr != nil {
		return nil, cerr
	}
	if err != nil {
		return nil, err
	}
	return s, nil
}

// Local is the address the socket is bound to.
func (s *Socket) Local() netip.AddrPort { return s.local }

// Close closes the socket, which no Poller may know any more.
func (s *Socket) Close() error { return unix.Close(s.fd) }

// Read takes one datagram of a connected socket, the beginning of it when b is too
// short.
func (s *Socket) Read(b []byte) (int, error) {
	for {
		n, _, errno := syscall.RawSyscall6(unix.SYS_RECVFROM, uintptr(s.fd), uintptr(unsafe.Pointer(unsafe.SliceData(b))), uintptr(len(b)), // the layout of the call
			unix.MSG_DONTWAIT, 0, 0)
		switch errno {
		case 0:
			return int(n), nil
		case unix.EINTR:
			continue
		}
		return 0, errno
	}
}

// ReadFrom takes one datagram, its control messages and where it came from. One
// goroutine at a time may call it.
func (s *Socket) ReadFrom(b, oob []byte) (n, noob int, from netip.AddrPort, err error) {
	h := &s.in
	h.iov.Base = unsafe.SliceData(b)
	h.iov.SetLen(len(b))
	h.msg = unix.Msghdr{Name: (*byte)(unsafe.Pointer(&h.name)), Namelen: uint32(unsafe.Sizeof(h.name)), Iov: &h.iov}
	h.msg.SetIovlen(1)
	h.msg.Control = unsafe.SliceData(oob)
	h.msg.SetControllen(len(oob))
	for {
		got, _, errno := syscall.RawSyscall(unix.SYS_RECVMSG, uintptr(s.fd), uintptr(unsafe.Pointer(&h.msg)), unix.MSG_DONTWAIT) // the layout of the call
		switch errno {
		case 0:
			return int(got), int(h.msg.Controllen), h.from(), nil
		case unix.EINTR:
			continue
		}
		return 0, 0, from, errno
	}
}

// from reads the sender's address. Ports are in network order.
func (h *receiveHeader) from() netip.AddrPort {
	port := func(p *uint16) uint16 { return binary.BigEndian.Uint16((*[2]byte)(unsafe.Pointer(p))[:]) }
	if h.name.Family == unix.AF_INET {
		a := (*unix.RawSockaddrInet4)(unsafe.Pointer(&h.name))
		return netip.AddrPortFrom(netip.AddrFrom4(a.Addr), port(&a.Port))
	}
	a := netip.AddrFrom16(h.name.Addr).Unmap()
	if a.IsLinkLocalUnicast() && a.Is6() && h.name.Scope_id != 0 {
		a = a.WithZone(strconv.FormatUint(uint64(h.name.Scope_id), 10))
	}
	return netip.AddrPortFrom(a, port(&h.name.Port))
}

// Sender sends datagrams by a Socket to one peer. Several may share a socket; each
// is used by one goroutine at a time.
type Sender struct {
	fd      int
	name    []byte // where to, as the kernel writes it; nil when the socket is connected
	oob     []byte // control messages of every datagram; may be empty
	segment bool   // UDP_SEGMENT may be used; ends with the first refusal
	room    int    // UDP payload bytes of one IP packet of the path

	hdrs    []mmsghdr
	iovs    []unix.Iovec
	segOOB  []byte
	segSize int // that segOOB is made for
	one     [1][]byte
	call    func([]mmsghdr) (int, syscall.Errno) // system, unless in a test
}

// mmsghdr is that of sendmmsg(2).
type mmsghdr struct {
	hdr unix.Msghdr
	n   uint32
}

// SenderConfig says how a Sender sends.
type SenderConfig struct {
	To      netip.AddrPort // zero when the socket is connected
	Control []byte         // control messages of every datagram
	Room    int            // UDP payload bytes of one IP packet of the path
	Segment bool           // let the kernel cut large sends into datagrams, when it can
}

// Sender makes a sender.
func (s *Socket) Sender(cfg SenderConfig) *Sender {
	w := &Sender{fd: s.fd, oob: cfg.Control, room: cfg.Room, segment: cfg.Segment && segmentationKnown(s.fd)}
	w.call = w.system
	if cfg.To.IsValid() {
		w.name = rawAddress(cfg.To, s.local.Addr().Is4())
	}
	return w
}

func segmentationKnown(fd int) bool {
	_, err := unix.GetsockoptInt(fd, unix.IPPROTO_UDP, unix.UDP_SEGMENT)
	return err == nil
}

// rawAddress is an address as a socket of the family takes it.
func rawAddress(to netip.AddrPort, is4 bool) []byte {
	if is4 {
		raw := unix.RawSockaddrInet4{Family: unix.AF_INET, Addr: to.Addr().As4()}
		binary.BigEndian.PutUint16((*[2]byte)(unsafe.Pointer(&raw.Port))[:], to.Port())
		return append([]byte(nil), (*[unix.SizeofSockaddrInet4]byte)(unsafe.Pointer(&raw))[:]...)
	}
	raw := unix.RawSockaddrInet6{Family: unix.AF_INET6, Addr: to.Addr().As16()}
	binary.BigEndian.PutUint16((*[2]byte)(unsafe.Pointer(&raw.Port))[:], to.Port())
	if zone := to.Addr().Zone(); zone != "" {
		if n, err := strconv.ParseUint(zone, 10, 32); err == nil {
			raw.Scope_id = uint32(n)
		} else if ifi, err := net.InterfaceByName(zone); err == nil {
			raw.Scope_id = uint32(ifi.Index)
		}
	}
	return append([]byte(nil), (*[unix.SizeofSockaddrInet6]byte)(unsafe.Pointer(&raw))[:]...)
}

// Send sends one datagram.
func (w *Sender) Send(b []byte) error {
	w.one[0] = b
	_, err := w.write(w.one[:], 1, 1, w.oob)
	w.one[0] = nil
	return err
}

// SendGathered sends datagrams that are made of pieces each, all of size bytes but
// the last, which may be shorter. It returns how many of them left; the error of
// the others is syscall.EAGAIN when the socket's buffer is full.
func (w *Sender) SendGathered(parts [][]byte, pieces, size int) (int, error) {
	sent := 0
	if len(parts) > pieces && w.segment && size <= w.room {
		if w.segSize != size {
			w.segOOB = appendSegmentSize(append(w.segOOB[:0], w.oob...), uint16(size))
			w.segSize = size
		}
		n, err := w.write(parts, pieces, max(1, min(maxSegments, (maxDatagram-ipv6Header)/size)), w.segOOB)
		if err == nil || !segmentationRefused(err) {
			return n, err
		}
		w.segment = false
		sent = n
	}
	n, err := w.write(parts[pieces*sent:], pieces, 1, w.oob)
	return sent + n, err
}

// write sends the datagrams, per of them in each message, and returns how many
// were handed over.
func (w *Sender) write(parts [][]byte, pieces, per int, oob []byte) (int, error) {
	count := len(parts) / pieces
	messages := (count + per - 1) / per
	if len(w.hdrs) < messages {
		w.hdrs = make([]mmsghdr, messages)
	}
	if len(w.iovs) < len(parts) {
		w.iovs = make([]unix.Iovec, len(parts))
	}
	for k, b := range parts {
		w.iovs[k].Base = unsafe.SliceData(b)
		w.iovs[k].SetLen(len(b))
	}
	for i := range messages {
		first, end := i*per, min((i+1)*per, count)
		h := &w.hdrs[i].hdr
		*h = unix.Msghdr{Iov: &w.iovs[first*pieces]}
		h.SetIovlen((end - first) * pieces)
		control := oob
		if end-first == 1 {
			control = w.oob // no segments, no segment size
		}
		if len(control) > 0 {
			h.Control = &control[0]
			h.SetControllen(len(control))
		}
		if w.name != nil {
			h.Name = &w.name[0]
			h.Namelen = uint32(len(w.name))
		}
	}
	done, retried := 0, false
	for done < messages {
		n, errno := w.call(w.hdrs[done:messages])
		switch {
		case errno == 0:
			done += n
		case errno == unix.EINTR:
		case Passing(errno) && !retried:
			retried = true // the error of an earlier datagram; this one did not leave
		default:
			runtime.KeepAlive(parts)
			return min(done*per, count), errno
		}
	}
	runtime.KeepAlive(parts)
	return count, nil
}

// system hands messages to the kernel. The call for a single one is the cheaper.
func (w *Sender) system(hdrs []mmsghdr) (int, syscall.Errno) {
	if len(hdrs) == 1 {
		_, _, errno := syscall.RawSyscall(unix.SYS_SENDMSG, uintptr(w.fd), uintptr(unsafe.Pointer(&hdrs[0].hdr)), unix.MSG_DONTWAIT) // the layout of the call
		return 1, errno
	}
	n, _, errno := syscall.RawSyscall6(unix.SYS_SENDMMSG, uintptr(w.fd), uintptr(unsafe.Pointer(&hdrs[0])), uintptr(len(hdrs)), // the layout of the call
		unix.MSG_DONTWAIT, 0, 0)
	return int(n), errno
}

// Passing tells errors that are late news about an earlier datagram (ICMP, or an
// unanswered ARP) and a full queue of the interface (ENOBUFS) from errors of the
// socket: the next datagram may leave.
func Passing(err error) bool {
	return errors.Is(err, unix.ECONNREFUSED) || errors.Is(err, unix.EHOSTUNREACH) ||
		errors.Is(err, unix.ENETUNREACH) || errors.Is(err, unix.ENOBUFS)
}
