package tftp

import (
	"net"
	"os"
	"sync"
	"time"
)

// Single-port mode: how many of a client's datagrams may wait for its transfer,
// and how long they may be. A full queue drops, as a socket would; ACKs are 5
// bytes, so only uploads come near the size.
const (
	portQueue    = 64
	portDatagram = 2048
)

// datagram is a received datagram on its way from the listener to a transfer.
type datagram struct {
	n int
	b [portDatagram]byte
}

// portLink is a link over the listening socket.
type portLink struct {
	l     *listener
	req   Request
	mtu   int
	out   *batcher
	in    chan *datagram
	stop  chan struct{}
	once  sync.Once
	timer *time.Timer
	one   []byte // a datagram on its way
}

func newPortLink(l *listener, req Request, mtu int) *portLink {
	p := &portLink{
		l: l, req: req, mtu: mtu,
		in:    make(chan *datagram, portQueue),
		stop:  make(chan struct{}),
		timer: time.NewTimer(time.Hour),
	}
	p.out = &batcher{
		conn: l.batch, gso: l.gso, room: payloadRoom(req.Peer.Addr(), mtu), addr: net.UDPAddrFromAddrPort(req.Peer),
	}
	if local := req.Local.Addr(); !local.IsUnspecified() {
		p.out.oob = sourceOOB(local, req.Interface)
	}
	return p
}

// deliver hands a datagram over without waiting.
func (p *portLink) deliver(b []byte) {
	if len(b) > portDatagram {
		return
	}
	d := p.l.s.datagrams.Get().(*datagram)
	d.n = copy(d.b[:], b)
	select {
	case p.in <- d:
	default:
		p.l.s.datagrams.Put(d)
	}
}

func (p *portLink) receive(buf []byte, deadline time.Time) (int, error) {
	p.timer.Reset(time.Until(deadline))
	select {
	case d := <-p.in:
		n := copy(buf, d.b[:d.n])
		p.l.s.datagrams.Put(d)
		return n, nil
	case <-p.timer.C:
		return 0, os.ErrDeadlineExceeded
	case <-p.stop:
		return 0, errInterrupted
	}
}

func (p *portLink) interrupt() { p.once.Do(func() { close(p.stop) }) }

func (p *portLink) send(b []byte) error {
	p.l.answer(p.req, b)
	return nil
}

func (p *portLink) sendBlocks(first int64, count, blockSize int, data []byte) error {
	if count == 1 && len(data) <= copyLimit {
		p.one = appendData(p.one[:0], first, data)
		_, _, err := p.l.conn.WriteMsgUDPAddrPort(p.one, p.out.oob, p.req.Peer)
		if err != nil && passing(err) {
			return nil
		}
		return err
	}
	return p.out.sendBlocks(first, count, blockSize, data)
}

func (p *portLink) pathMTU() int { return p.mtu }

func (p *portLink) close() error {
	p.timer.Stop()
	return nil
}
