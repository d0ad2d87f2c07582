package tftp

import (
	"errors"
	"os"
	"sync/atomic"
	"syscall"
	"time"
)

// link is a transfer's way to its client and back.
type link interface {
	// receive reads the client's next datagram into buf. It returns an error that
	// matches os.ErrDeadlineExceeded when none came in time, errInterrupted after
	// interrupt, and ErrPeerClosed when the client's machine refused a datagram.
	receive(buf []byte, deadline time.Time) (int, error)
	// interrupt makes receive return, now and from now on. It is safe to call at
	// any time, by any goroutine.
	interrupt()
	// send sends one datagram.
	send(b []byte) error
	// sendBlocks sends the DATA datagrams of count consecutive blocks; data holds
	// their payloads one behind the other, the last one possibly short or empty.
	sendBlocks(first int64, count, blockSize int, data []byte) error
	// pathMTU is the largest IP packet in bytes that is known to pass.
	pathMTU() int
	close() error
}

var errInterrupted = errors.New("interrupted")

// maxBatch is the most DATA datagrams handed to a link at once.
const maxBatch = 64

// copyLimit is the payload in bytes up to which a block that goes alone, as all do
// in lock-step, is copied behind its header: cheaper than gathering it.
const copyLimit = 4096

// socket is what a socketLink needs of a connected UDP socket.
type socket interface {
	Read(b []byte) (int, error)
	Write(b []byte) (int, error)
	SetReadDeadline(t time.Time) error
	Close() error
}

// socketLink is a link over a connected socket of its own: the kernel filters
// what does not come from the client's port.
type socketLink struct {
	conn  socket
	out   *batcher
	mtu   int
	one   []byte    // a datagram on its way
	armed time.Time // read deadline that is set
	stop  atomic.Bool
}

func (l *socketLink) receive(buf []byte, deadline time.Time) (int, error) {
	for {
		// Setting a deadline costs as much as a system call, and every ACK moves it
		// a little later: the earlier one stays, and is looked at when it passes.
		if l.armed.IsZero() || deadline.Before(l.armed) {
			l.armed = deadline
			if err := l.conn.SetReadDeadline(deadline); err != nil {
				return 0, err
			}
		}
		if l.stop.Load() {
			return 0, errInterrupted
		}
		n, err := l.conn.Read(buf)
		switch {
		case err == nil:
			return n, nil
		case l.stop.Load():
			return 0, errInterrupted
		case errors.Is(err, os.ErrDeadlineExceeded):
			l.armed = time.Time{}
			if !time.Now().Before(deadline) {
				return 0, err
			}
		case errors.Is(err, syscall.ECONNREFUSED):
			return 0, ErrPeerClosed
		case passing(err):
			// The next read waits.
		default:
			return 0, err
		}
	}
}

func (l *socketLink) interrupt() {
	l.stop.Store(true)
	_ = l.conn.SetReadDeadline(time.Unix(1, 0))
}

func (l *socketLink) send(b []byte) error {
	_, err := l.conn.Write(b)
	if err != nil && passing(err) {
		// The error belonged to an earlier datagram, this one did not leave.
		_, err = l.conn.Write(b)
	}
	if err != nil && passing(err) {
		return nil
	}
	return err
}

func (l *socketLink) sendBlocks(first int64, count, blockSize int, data []byte) error {
	if count == 1 && len(data) <= copyLimit {
		l.one = appendData(l.one[:0], first, data)
		return l.send(l.one)
	}
	return l.out.sendBlocks(first, count, blockSize, data)
}

func (l *socketLink) pathMTU() int { return l.mtu }

func (l *socketLink) close() error { return l.conn.Close() }

// passing tells whether a send error is of the kind that the next try may not
// meet: to the transfer it is a lost datagram. ECONNREFUSED and EHOSTUNREACH are
// late news about an earlier datagram (ICMP, or an unanswered ARP), ENOBUFS is a
// full queue of the interface.
func passing(err error) bool {
	return errors.Is(err, syscall.ECONNREFUSED) || errors.Is(err, syscall.EHOSTUNREACH) ||
		errors.Is(err, syscall.ENETUNREACH) || errors.Is(err, syscall.ENOBUFS) ||
		errors.Is(err, syscall.EAGAIN)
}
