package netio

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"sync"
	"time"
	"unsafe"

	"golang.org/x/sys/windows"
)

// readBatch is how many datagrams one ReadGroup hands over at most.
const readBatch = 64

// GroupReceiver is a member's end of a session: datagrams of the group in,
// reports out. ReadGroup may run at the same time as WriteReport.
//
// Windows has no call for several datagrams, and one that blocks cannot be ended
// by a deadline. So there is always one read under way in the system
// (overlapped); ReadGroup waits for its event, for another deadline and for
// Close, and goes on reading as long as datagrams are there at once.
type GroupReceiver struct {
	ifi      *net.Interface
	addr     netip.Addr // of the group
	group    windows.Handle
	feedback windows.Handle
	wake     windows.Handle // event: deadline has changed, or Close

	mu       sync.Mutex
	deadline time.Time
	closed   bool

	reading sync.Mutex // guards read
	read    *pendingRead
}

// pendingRead is what the system writes to while a read is under way. It lives
// until the socket is closed and the read has ended.
type pendingRead struct {
	under  bool // way
	op     windows.Overlapped
	flags  uint32
	buffer windows.WSABuf
	from   windows.RawSockaddrAny
	length int32 // of from
	bytes  [1 << 16]byte
}

// OpenGroupReceiver joins the group.
func OpenGroupReceiver(cfg GroupReceiverConfig) (_ *GroupReceiver, err error) {
	ifi, err := cfg.joinInterface()
	if err != nil {
		return nil, err
	}
	r := &GroupReceiver{ifi: ifi, addr: cfg.Group.Addr(), group: windows.InvalidHandle, feedback: windows.InvalidHandle, read: &pendingRead{}}
	defer func() {
		if err != nil {
			_ = r.Close()
		}
	}()
	if r.wake, err = windows.CreateEvent(nil, 0, 0, nil); err != nil {
		return nil, os.NewSyscallError("CreateEvent", err)
	}
	if r.read.op.HEvent, err = windows.CreateEvent(nil, 1, 0, nil); err != nil {
		return nil, os.NewSyscallError("CreateEvent", err)
	}
	r.read.buffer = windows.WSABuf{Len: uint32(len(r.read.bytes)), Buf: &r.read.bytes[0]}
	if r.group, err = listenGroup(cfg.Group); err != nil {
		return nil, fmt.Errorf("join group %s: listen on UDP port %d: %w", cfg.Group.Addr(), cfg.Group.Port(), err)
	}
	if err := joinGroup(r.group, ifi, cfg.Group.Addr()); err != nil {
		return nil, fmt.Errorf("join group %s on interface %s: %w", cfg.Group.Addr(), ifi.Name, err)
	}
	// A smaller buffer only costs speed.
	_ = windows.SetsockoptInt(r.group, windows.SOL_SOCKET, windows.SO_RCVBUF, receiveBuffer)
	if r.feedback, err = connectSocket(cfg.Feedback); err != nil {
		return nil, fmt.Errorf("open feedback to %s: %w", cfg.Feedback, err)
	}
	return r, nil
}

// listenGroup listens on every address: Windows binds no socket to a group, and
// gives a socket only the groups that it joined itself.
func listenGroup(group netip.AddrPort) (windows.Handle, error) {
	any := netip.IPv6Unspecified()
	if group.Addr().Is4() {
		any = netip.IPv4Unspecified()
	}
	family, at := socketFamily(netip.AddrPortFrom(any, group.Port()))
	s, err := openSocket(family)
	if err != nil {
		return s, err
	}
	// Several receivers on one host share the port.
	err = os.NewSyscallError("setsockopt", windows.SetsockoptInt(s, windows.SOL_SOCKET, windows.SO_REUSEADDR, 1))
	if err == nil {
		err = os.NewSyscallError("bind", windows.Bind(s, at))
	}
	if err != nil {
		_ = closeSocket(s)
		return windows.InvalidHandle, err
	}
	return s, nil
}

func joinGroup(s windows.Handle, ifi *net.Interface, group netip.Addr) error {
	return membership(s, ifi, group, windows.IP_ADD_MEMBERSHIP, windows.IPV6_JOIN_GROUP)
}

func leaveGroup(s windows.Handle, ifi *net.Interface, group netip.Addr) error {
	return membership(s, ifi, group, windows.IP_DROP_MEMBERSHIP, windows.IPV6_LEAVE_GROUP)
}

// membership sets the option of the group's family.
func membership(s windows.Handle, ifi *net.Interface, group netip.Addr, option4, option6 int) error {
	if group.Is4() {
		at, err := AddressOn(ifi, group)
		if err != nil {
			return err
		}
		return os.NewSyscallError("setsockopt", windows.SetsockoptIPMreq(s, windows.IPPROTO_IP, option4,
			&windows.IPMreq{Multiaddr: group.As4(), Interface: at.As4()}))
	}
	req := windows.IPv6Mreq{Multiaddr: group.As16(), Interface: uint32(ifi.Index)}
	return os.NewSyscallError("setsockopt", windows.Setsockopt(s, windows.IPPROTO_IPV6, int32(option6),
		(*byte)(unsafe.Pointer(&req)), int32(unsafe.Sizeof(req))))
}

// Rejoin leaves the group and joins it again: hosts tell the network which groups they
// want when they join, and otherwise only when a querier asks. It is for a network that
// has forgotten this member.
func (r *GroupReceiver) Rejoin() error {
	_ = leaveGroup(r.group, r.ifi, r.addr) // one that was not joined cannot be left
	if err := joinGroup(r.group, r.ifi, r.addr); err != nil {
		return fmt.Errorf("join group %s on interface %s again: %w", r.addr, r.ifi.Name, err)
	}
	return nil
}

// Interface is the interface the group was joined on.
func (r *GroupReceiver) Interface() *net.Interface { return r.ifi }

// ReadGroup waits for datagrams and hands each of them, with the address that it says it
// came from and the time when it was read, to handle, which must not keep it. It returns after at least one, or
// with an error that satisfies os.ErrDeadlineExceeded or net.ErrClosed.
func (r *GroupReceiver) ReadGroup(handle func(datagram []byte, from netip.Addr, at time.Time)) error {
	r.reading.Lock()
	defer r.reading.Unlock()
	for handled := 0; handled < readBatch; {
		n, err := r.start()
		if errors.Is(err, windows.ERROR_IO_PENDING) {
			if handled > 0 {
				return nil // no more at once
			}
			n, err = r.await()
		}
		switch {
		case ignorable(err):
		case err != nil:
			return err
		default:
			handle(r.read.bytes[:n], sender(&r.read.from), time.Now())
			handled++
		}
	}
	return nil
}

// start begins a read. Its error is ERROR_IO_PENDING while it is under way.
func (r *GroupReceiver) start() (n uint32, err error) {
	p := r.read
	switch {
	case r.isClosed():
		return 0, net.ErrClosed
	case p.under:
		return 0, windows.ERROR_IO_PENDING
	}
	p.flags, p.length = 0, int32(unsafe.Sizeof(p.from))
	err = windows.WSARecvFrom(r.group, &p.buffer, 1, &n, &p.flags, &p.from, &p.length, &p.op, nil)
	p.under = errors.Is(err, windows.ERROR_IO_PENDING)
	return n, err
}

// sender is the address in a sockaddr, without its zone; invalid when it is neither of
// IPv4 nor of IPv6.
func sender(name *windows.RawSockaddrAny) netip.Addr {
	switch name.Addr.Family {
	case windows.AF_INET:
		return netip.AddrFrom4((*windows.RawSockaddrInet4)(unsafe.Pointer(name)).Addr)
	case windows.AF_INET6:
		return netip.AddrFrom16((*windows.RawSockaddrInet6)(unsafe.Pointer(name)).Addr).Unmap()
	}
	return netip.Addr{}
}

// await waits for the read that is under way.
func (r *GroupReceiver) await() (n uint32, err error) {
	p := r.read
	for {
		wait, err := r.waitTime()
		if err != nil {
			return 0, err
		}
		event, err := windows.WaitForMultipleObjects([]windows.Handle{p.op.HEvent, r.wake}, false, wait)
		if err != nil {
			return 0, os.NewSyscallError("WaitForMultipleObjects", err)
		}
		if event != windows.WAIT_OBJECT_0 {
			continue // another deadline, none left, or Close
		}
		p.under = false
		return n, windows.WSAGetOverlappedResult(r.group, &p.op, &n, false, &p.flags)
	}
}

func (r *GroupReceiver) isClosed() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.closed
}

// waitTime is how long a read may still wait, in milliseconds.
func (r *GroupReceiver) waitTime() (uint32, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	switch left := time.Until(r.deadline); {
	case r.closed:
		return 0, net.ErrClosed
	case r.deadline.IsZero():
		return windows.INFINITE, nil
	case left <= 0:
		return 0, os.ErrDeadlineExceeded
	default:
		return uint32(min(left, time.Hour)/time.Millisecond) + 1, nil
	}
}

// ignorable errors are about one datagram: one that is larger than any of a
// session, or an answer of ICMP to an earlier one.
func ignorable(err error) bool {
	return errors.Is(err, windows.WSAEMSGSIZE) || errors.Is(err, windows.WSAENETRESET) || errors.Is(err, windows.WSAECONNRESET)
}

// SetReadDeadline bounds ReadGroup, also one that waits already.
func (r *GroupReceiver) SetReadDeadline(t time.Time) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return net.ErrClosed
	}
	r.deadline = t
	return os.NewSyscallError("SetEvent", windows.SetEvent(r.wake))
}

// WriteReport sends one datagram to the session's feedback address.
func (r *GroupReceiver) WriteReport(b []byte) error {
	r.mu.Lock() // Close must not take the socket away meanwhile
	defer r.mu.Unlock()
	if r.closed {
		return net.ErrClosed
	}
	return sendConnected(r.feedback, b)
}

// Close leaves the group. A ReadGroup that waits ends with net.ErrClosed.
func (r *GroupReceiver) Close() error {
	r.mu.Lock()
	if r.closed {
		r.mu.Unlock()
		return net.ErrClosed
	}
	r.closed = true
	if r.wake != 0 {
		_ = windows.SetEvent(r.wake)
	}
	r.mu.Unlock()
	r.reading.Lock()
	defer r.reading.Unlock()
	p := r.read
	if p.under {
		// The system writes to the buffer until the read has ended.
		_ = windows.CancelIoEx(r.group, &p.op)
		_, _ = windows.WaitForSingleObject(p.op.HEvent, windows.INFINITE)
		p.under = false
	}
	var errs []error
	for _, s := range []windows.Handle{r.group, r.feedback} {
		if s != windows.InvalidHandle {
			errs = append(errs, closeSocket(s))
		}
	}
	for _, e := range []windows.Handle{r.wake, p.op.HEvent} {
		if e != 0 {
			errs = append(errs, windows.CloseHandle(e))
		}
	}
	return firstError(errs...)
}
