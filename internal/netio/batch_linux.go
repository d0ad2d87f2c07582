package netio

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"runtime"
	"sync"
	"sync/atomic"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

const (
	// readBatch is how many buffers one call fills, each with one datagram or,
	// with UDP_GRO, with up to 64 KiB of them.
	readBatch = 64
	// readBuffer is the distance between buffers. It is not a multiple of 64 KiB:
	// the beginnings of all buffers would share a few sets of the processor's
	// caches. 1536 bytes more put them side by side there.
	readBuffer = 1<<16 + 1536
	// readAncillary is room for a time stamp and a segment size.
	readAncillary = 64
	// readName is room for the address that a buffer's datagrams came from.
	readName = unix.SizeofSockaddrInet6
	// A reader that has emptied the socket lets datagrams collect while they keep
	// coming, for minGather to maxGather, so that the next read finds about
	// enoughBytes. A thread that is woken for each datagram spends more on waking than
	// on reading; the socket's buffer holds more than ten times as much.
	minGather   = time.Millisecond
	maxGather   = 4 * time.Millisecond
	enoughBytes = 192 << 10
	// readSlice bounds how long a reader sleeps in the kernel, which neither Close
	// nor an earlier deadline interrupts.
	readSlice = 20 * time.Millisecond
	// stampRest is how long a sampling reader does without times of arrival, which
	// are a twentieth of the work of reading a datagram.
	stampRest = 4 * time.Millisecond
)

// batchReader reads with recvmmsg and UDP_GRO: one call returns several buffers,
// each holding datagrams of one size back to back. Its socket is not in the net
// package's poller, which would wake a thread for every datagram that arrives,
// whether somebody waits for it or not; the reader sleeps in the kernel itself.
type batchReader struct {
	mu     sync.Mutex // held while fd is in use
	fd     int
	closed atomic.Bool

	headers  [readBatch]mmsghdr
	vectors  [readBatch]unix.Iovec
	memory   []byte // buffers; used only as far as it is filled
	oob      [readBatch * readAncillary]byte
	names    [readBatch][readName]byte
	deadline atomic.Pointer[time.Time]
	flowing  bool // the last read emptied the socket, and found something there
	gather   time.Duration
	sampling bool      // some times of arrival are enough
	stamps   bool      // the next read has them
	stamped  time.Time // when a read last had
}

// open takes the socket over. sample is whether some times of arrival are enough.
func (r *batchReader) open(c *net.UDPConn, sample bool) error {
	r.sampling = sample
	err := errors.ErrUnsupported
	control(c, func(fd int) {
		// Refused before Linux 5.0: then every buffer holds one datagram.
		_ = unix.SetsockoptInt(fd, unix.IPPROTO_UDP, unix.UDP_GRO, 1)
		r.stamp(fd, true)
		r.fd, err = unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 0)
	})
	_ = c.Close() // the socket lives on
	if err != nil {
		return fmt.Errorf("take the socket from the poller: %w", err)
	}
	r.memory = make([]byte, readBatch*readBuffer)
	for i := range r.headers {
		v, h := &r.vectors[i], &r.headers[i].hdr
		v.Base = &r.memory[i*readBuffer]
		v.SetLen(1 << 16)
		h.Iov = v
		h.SetIovlen(1)
		h.Control = &r.oob[i*readAncillary]
		h.SetControllen(readAncillary)
		h.Name, h.Namelen = &r.names[i][0], readName
	}
	return nil
}

// close waits for a read, which ends with its slice.
func (r *batchReader) close() error {
	if r.closed.Swap(true) {
		return net.ErrClosed
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	return unix.Close(r.fd)
}

// rejoin leaves the socket's group and joins it again.
func (r *batchReader) rejoin(ifi *net.Interface, group netip.Addr) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed.Load() {
		return net.ErrClosed
	}
	if group.Is4() {
		at := &unix.IPMreqn{Multiaddr: group.As4(), Ifindex: int32(ifi.Index)}
		// One that was not joined, because the interface was down, cannot be left.
		_ = unix.SetsockoptIPMreqn(r.fd, unix.IPPROTO_IP, unix.IP_DROP_MEMBERSHIP, at)
		return os.NewSyscallError("IP_ADD_MEMBERSHIP", unix.SetsockoptIPMreqn(r.fd, unix.IPPROTO_IP, unix.IP_ADD_MEMBERSHIP, at))
	}
	at := &unix.IPv6Mreq{Multiaddr: group.As16(), Interface: uint32(ifi.Index)}
	_ = unix.SetsockoptIPv6Mreq(r.fd, unix.IPPROTO_IPV6, unix.IPV6_LEAVE_GROUP, at)
	return os.NewSyscallError("IPV6_JOIN_GROUP", unix.SetsockoptIPv6Mreq(r.fd, unix.IPPROTO_IPV6, unix.IPV6_JOIN_GROUP, at))
}

func (r *batchReader) setDeadline(t time.Time) { r.deadline.Store(&t) }

// stamp switches times of arrival on and off.
func (r *batchReader) stamp(fd int, on bool) {
	value := 0
	if on {
		value = 1
	}
	if unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_TIMESTAMPNS, value) == nil {
		r.stamps = on
	}
}

// sample decides whether the read after this one has times of arrival.
func (r *batchReader) sample(now time.Time) {
	if r.stamps {
		r.stamped = now
	}
	if on := now.Sub(r.stamped) >= stampRest; on != r.stamps {
		r.stamp(r.fd, on)
	}
}

// read hands all datagrams that are there to handle, waiting for the first.
func (r *batchReader) read(handle func([]byte, netip.Addr, time.Time)) error {
	n := 0
	for n == 0 {
		var err error
		if n, err = r.receive(); err != nil {
			return err
		}
	}
	for i := range r.headers[:n] {
		h := &r.headers[i]
		b := r.memory[i*readBuffer : i*readBuffer+int(h.n)]
		size, at := ancillary(r.oob[i*readAncillary : i*readAncillary+int(h.hdr.Controllen)])
		h.hdr.SetControllen(readAncillary)
		from := sender(r.names[i][:min(h.hdr.Namelen, readName)]) // of all in it: the kernel puts those of one sender together
		h.hdr.Namelen = readName
		if size <= 0 {
			size = len(b)
		}
		if at.IsZero() && !r.sampling {
			at = time.Now()
		}
		for len(b) > size {
			handle(b[:size], from, at)
			b = b[size:]
		}
		if len(b) > 0 {
			handle(b, from, at)
		}
	}
	return nil
}

// receive fills buffers, waiting for readSlice at most.
func (r *batchReader) receive() (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed.Load() {
		return 0, net.ErrClosed
	}
	wait := readSlice
	if d := r.deadline.Load(); d != nil && !d.IsZero() {
		wait = min(wait, time.Until(*d))
	}
	if r.flowing && wait > 0 {
		pause := unix.NsecToTimespec(int64(min(r.gather, wait)))
		rest(&pause)
		wait -= r.gather
	}
	if n, err := r.take(); n > 0 || err != nil {
		return n, err
	}
	if wait <= 0 {
		return 0, os.ErrDeadlineExceeded
	}
	fds := [1]unix.PollFd{{Fd: int32(r.fd), Events: unix.POLLIN}}
	until := unix.NsecToTimespec(int64(wait))
	if _, err := unix.Ppoll(fds[:], &until, nil); err != nil && !errors.Is(err, unix.EINTR) {
		return 0, fmt.Errorf("wait for datagrams: %w", err)
	}
	return r.take()
}

// rest sleeps for a short time. Where there is a place for other goroutines besides,
// the thread keeps its own meanwhile, for the same reason as in take. A signal of the
// scheduler, which may want to stop everything, ends the rest early.
func rest(pause *unix.Timespec) {
	if runtime.GOMAXPROCS(0) > 1 {
		_, _, _ = unix.RawSyscall(unix.SYS_NANOSLEEP, uintptr(unsafe.Pointer(pause)), 0, 0)
		return
	}
	_, _, _ = unix.Syscall(unix.SYS_NANOSLEEP, uintptr(unsafe.Pointer(pause)), 0, 0)
}

// take reads what is there.
func (r *batchReader) take() (int, error) {
	// It does not block, so the scheduler need not know of it: told, it would give
	// this thread's place to another one after 20 µs, and wake that for nothing.
	n, _, errno := unix.RawSyscall6(unix.SYS_RECVMMSG, uintptr(r.fd), uintptr(unsafe.Pointer(&r.headers[0])), readBatch, unix.MSG_DONTWAIT, 0, 0)
	switch errno {
	case 0:
	case unix.EAGAIN, unix.EINTR:
		n = 0
	default:
		return 0, fmt.Errorf("read datagrams: %w", errno)
	}
	r.flowing = n > 0 && n < readBatch
	r.pace(r.headers[:n])
	if n > 0 && r.sampling {
		r.sample(time.Now())
	}
	return int(n), nil
}

// pace lets the next read wait longer when this one brought little.
func (r *batchReader) pace(got []mmsghdr) {
	size := 0
	for i := range got {
		size += int(got[i].n)
	}
	switch {
	case size < enoughBytes/2:
		r.gather *= 2
	case size > enoughBytes:
		r.gather /= 2
	}
	r.gather = max(minGather, min(r.gather, maxGather))
}

// sender is the address in a sockaddr, without its zone; invalid when it is neither of
// IPv4 nor of IPv6.
func sender(name []byte) netip.Addr {
	if len(name) < unix.SizeofSockaddrInet4 {
		return netip.Addr{}
	}
	switch family := binary.NativeEndian.Uint16(name); {
	case family == unix.AF_INET:
		return netip.AddrFrom4([4]byte(name[4:8]))
	case family == unix.AF_INET6 && len(name) >= unix.SizeofSockaddrInet6:
		return netip.AddrFrom16([16]byte(name[8:24])).Unmap()
	}
	return netip.Addr{}
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
