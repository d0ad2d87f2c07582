package netio

import (
	"encoding/binary"
	"errors"
	"fmt"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Poller waits for many sockets at once. One goroutine uses it; Wake may be called
// by any.
type Poller struct {
	epoll, wake int
	sockets     map[int32]func()
	events      [128]unix.EpollEvent
	coarse      bool // the kernel does not know epoll_pwait2 (Linux 5.11)
}

// NewPoller makes a poller of no sockets.
func NewPoller() (*Poller, error) {
	p := &Poller{sockets: make(map[int32]func())}
	var err error
	if p.epoll, err = unix.EpollCreate1(unix.EPOLL_CLOEXEC); err != nil {
		return nil, fmt.Errorf("make a poller: %w", err)
	}
	if p.wake, err = unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK); err == nil {
		err = unix.EpollCtl(p.epoll, unix.EPOLL_CTL_ADD, p.wake, &unix.EpollEvent{Events: unix.EPOLLIN, Fd: int32(p.wake)})
	}
	if err != nil {
		_ = p.Close()
		return nil, fmt.Errorf("make a poller: %w", err)
	}
	return p, nil
}

// Close ends the poller; the sockets stay open.
func (p *Poller) Close() error {
	err := unix.Close(p.epoll)
	if p.wake > 0 {
		err = firstError(err, unix.Close(p.wake))
	}
	return err
}

// Add makes Wait call ready as long as the socket has something to read.
func (p *Poller) Add(s *Socket, ready func()) error {
	if err := unix.EpollCtl(p.epoll, unix.EPOLL_CTL_ADD, s.fd, &unix.EpollEvent{Events: unix.EPOLLIN, Fd: int32(s.fd)}); err != nil {
		return fmt.Errorf("watch a socket: %w", err)
	}
	p.sockets[int32(s.fd)] = ready
	return nil
}

// Remove undoes Add.
func (p *Poller) Remove(s *Socket) {
	delete(p.sockets, int32(s.fd))
	_ = unix.EpollCtl(p.epoll, unix.EPOLL_CTL_DEL, s.fd, nil)
}

// Wake ends a Wait, or the next one when there is none now.
func (p *Poller) Wake() {
	var one [8]byte
	binary.NativeEndian.PutUint64(one[:], 1)
	_, _ = unix.Write(p.wake, one[:])
}

// Wait waits for sockets, for Wake, and no longer than timeout, without end when
// that is negative, and calls what was given to Add for the sockets that are ready.
func (p *Poller) Wait(timeout time.Duration) error {
	n, err := p.wait(timeout)
	if err != nil {
		return fmt.Errorf("wait for sockets: %w", err)
	}
	for _, e := range p.events[:n] {
		if e.Fd == int32(p.wake) {
			var b [8]byte
			_, _ = unix.Read(p.wake, b[:])
		} else if ready := p.sockets[e.Fd]; ready != nil {
			ready()
		}
	}
	return nil
}

func (p *Poller) wait(timeout time.Duration) (int, error) {
	if !p.coarse {
		var until *unix.Timespec
		if timeout >= 0 {
			t := unix.NsecToTimespec(int64(timeout))
			until = &t
		}
		n, err := epollPwait2(p.epoll, p.events[:], until)
		if !errors.Is(err, unix.ENOSYS) {
			return n, err
		}
		p.coarse = true
	}
	ms := -1
	if timeout >= 0 {
		ms = int((timeout + time.Millisecond - 1) / time.Millisecond)
	}
	n, err := unix.EpollWait(p.epoll, p.events[:], ms)
	if errors.Is(err, unix.EINTR) {
		return 0, nil
	}
	return n, err
}

// epollPwait2 waits to the nanosecond; golang.org/x/sys has no such call.
func epollPwait2(epoll int, events []unix.EpollEvent, until *unix.Timespec) (int, error) {
	n, _, errno := syscall.Syscall6(unix.SYS_EPOLL_PWAIT2, uintptr(epoll), uintptr(unsafe.Pointer(&events[0])), uintptr(len(events)), // the layout of the call
		uintptr(unsafe.Pointer(until)), 0, 0)
	switch errno {
	case 0:
		return int(n), nil
	case unix.EINTR:
		return 0, nil
	}
	return 0, errno
}
