package tftp

import (
	"errors"
	"net/netip"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"castpoint/internal/netio"
	"castpoint/tftp/flow"
	"castpoint/tftp/wire"
)

// copyLimit is the payload in bytes up to which a block that goes alone, as all do
// in lock-step, is copied behind its header: cheaper than gathering it.
const copyLimit = 4096

// fullWait is how long a full socket buffer is given to drain: 30 kB at 1 Gbit/s.
const fullWait = 250 * time.Microsecond

// loopLink is a link whose coroutine a loop resumes, over a connected socket of
// its own, where the kernel filters what does not come from the client's port, or
// over the listening socket.
type loopLink struct {
	coroutine
	inbox *inbox // of what came by the listening socket
	out   *netio.Sender
	mtu   int
	stop  atomic.Bool
	place netio.Place // of what is sent; netio.Ordinary at first

	one     []byte // a datagram on its way
	headers []byte
	parts   [][]byte
}

// newSocketLink makes a link over a connected socket, and owns it then.
func newSocketLink(on *loop, sock *netio.Socket, mtu, room int, segment bool) *loopLink {
	l := &loopLink{mtu: mtu, out: sock.Sender(netio.SenderConfig{Room: room, Segment: segment})}
	l.coroutine = coroutine{loop: on, sock: sock, turn: make(chan bool, 1), ready: l.stop.Load}
	return l
}

// newPortLink makes a link over the listening socket.
func newPortLink(on *loop, sock *netio.Socket, req Request, mtu int, segment bool) *loopLink {
	cfg := netio.SenderConfig{To: req.Peer, Room: payloadRoom(req.Peer.Addr(), mtu), Segment: segment}
	cfg.Control = sourceControl(req)
	l := &loopLink{mtu: mtu, inbox: &inbox{}, out: sock.Sender(cfg)}
	l.coroutine = coroutine{loop: on, turn: make(chan bool, 1), ready: func() bool {
		return l.stop.Load() || l.listening && !l.inbox.empty()
	}}
	return l
}

// wait lets the coroutine rest until the deadline or, when it listens, until
// something came.
func (l *loopLink) wait(deadline time.Time, listening bool) {
	l.deadline, l.listening = deadline, listening
	l.yield(pauseWait)
}

func (l *loopLink) Receive(buf []byte, deadline time.Time) (int, error) {
	for looked := false; ; looked = true {
		if l.stop.Load() {
			return 0, flow.ErrInterrupted
		}
		if looked || l.inbox != nil {
			n, err := l.read(buf)
			switch {
			case err == nil:
				return n, nil
			case errors.Is(err, syscall.EAGAIN):
				if looked && !time.Now().Before(deadline) {
					return 0, os.ErrDeadlineExceeded
				}
			case errors.Is(err, syscall.ECONNREFUSED):
				return 0, flow.ErrPeerClosed
			case netio.Passing(err):
				continue
			default:
				return 0, err
			}
		}
		l.wait(deadline, true)
	}
}

// read takes a datagram that is there.
func (l *loopLink) read(buf []byte) (int, error) {
	if l.inbox != nil {
		return l.inbox.take(buf)
	}
	return l.sock.Read(buf)
}

func (l *loopLink) Sleep(d time.Duration) error {
	for end := time.Now().Add(d); !l.stop.Load(); {
		if !time.Now().Before(end) {
			return nil
		}
		l.wait(end, false)
	}
	return flow.ErrInterrupted
}

func (l *loopLink) Blocking() {
	if l.inLoop {
		l.yield(pauseBlocking)
	}
}

func (l *loopLink) interrupt() {
	l.stop.Store(true)
	l.loop.post(func() {
		if l.held {
			l.step()
		}
	})
}

// deliver hands over a datagram that came by the listening socket; the loop calls
// it.
func (l *loopLink) deliver(b []byte) {
	if l.inbox.put(b) && l.held && l.listening {
		l.step()
	}
}

func (l *loopLink) Send(b []byte) error {
	for {
		err := l.out.Send(b)
		switch {
		case err == nil || netio.Passing(err):
			return nil // to the transfer what did not leave is a lost datagram
		case !errors.Is(err, syscall.EAGAIN):
			return err
		}
		if err := l.Sleep(fullWait); err != nil {
			return err
		}
	}
}

func (l *loopLink) SendBlocks(first int64, count, blockSize int, data []byte) error {
	if count == 1 && len(data) <= copyLimit {
		l.one = wire.AppendData(l.one[:0], first, data)
		return l.Send(l.one)
	}
	if len(l.headers) < count*wire.HeaderSize {
		l.headers = make([]byte, count*wire.HeaderSize)
		l.parts = make([][]byte, 2*count)
	}
	parts := l.parts[:2*count]
	for i := range count {
		h := l.headers[i*wire.HeaderSize : (i+1)*wire.HeaderSize]
		wire.PutDataHeader(h, first+int64(i))
		parts[2*i] = h
		parts[2*i+1] = data[i*blockSize : min((i+1)*blockSize, len(data))]
	}
	for {
		n, err := l.out.SendGathered(parts, 2, blockSize+wire.HeaderSize)
		switch {
		case err == nil || netio.Passing(err):
			return nil
		case !errors.Is(err, syscall.EAGAIN):
			return err
		}
		parts = parts[2*n:]
		if err := l.Sleep(fullWait); err != nil {
			return err
		}
	}
}

// Stand does nothing over the listening socket, which is that of all transfers.
func (l *loopLink) Stand(place netio.Place) {
	if l.sock != nil && l.place != place {
		l.place = place
		l.sock.SetPlace(place)
	}
}

func (l *loopLink) pathMTU() int { return l.mtu }

func (l *loopLink) close() error {
	if l.sock == nil {
		return nil
	}
	return l.sock.Close()
}

// Single-port mode: how many of a client's datagrams may wait for its transfer,
// and how long they may be. A full queue drops, as a socket would; ACKs are 5
// bytes, so only uploads come near the size.
const (
	inboxPlaces = 64
	inboxBytes  = 2048
)

// inbox is what came for a transfer by the listening socket.
type inbox struct {
	mu    sync.Mutex
	queue [][]byte
	spare [][]byte // buffers to be used again
}

// put returns whether there was room.
func (q *inbox) put(b []byte) bool {
	if len(b) > inboxBytes {
		return false
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.queue) == inboxPlaces {
		return false
	}
	var place []byte
	if n := len(q.spare); n > 0 {
		place, q.spare = q.spare[n-1], q.spare[:n-1]
	}
	q.queue = append(q.queue, append(place[:0], b...))
	return true
}

// take returns syscall.EAGAIN when there is nothing.
func (q *inbox) take(b []byte) (int, error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.queue) == 0 {
		return 0, syscall.EAGAIN
	}
	first := q.queue[0]
	q.spare = append(q.spare, first)
	copy(q.queue, q.queue[1:])
	q.queue = q.queue[:len(q.queue)-1]
	return copy(b, first), nil
}

func (q *inbox) empty() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return len(q.queue) == 0
}

// sourceControl is the control data that makes a datagram leave from the address that the
// request was sent to.
func sourceControl(req Request) []byte {
	if local := req.Local.Addr(); !local.IsUnspecified() {
		return sourceOOB(local, req.Interface)
	}
	return nil
}

// payloadRoom is the UDP payload that one IP packet carries.
func payloadRoom(peer netip.Addr, mtu int) int {
	if peer.Is6() {
		return mtu - 40 - 8
	}
	return mtu - 20 - 8
}
