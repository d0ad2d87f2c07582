//go:build !linux

package netio

import (
	"errors"
	"net"
	"net/netip"
	"sync"
	"syscall"
	"time"
)

// On other systems a goroutine for each socket waits in package net and queues
// what comes.

// Socket is a UDP socket whose Read never waits.
type Socket struct {
	conn  *net.UDPConn
	local netip.AddrPort
	in    chan packet

	mu    sync.Mutex
	ready func() // wakes the poller; nil while no poller knows the socket
}

type packet struct {
	b    []byte
	from netip.AddrPort
	err  error
}

// NewSocket takes over the connection.
func NewSocket(conn *net.UDPConn) (*Socket, error) {
	s := &Socket{conn: conn, local: conn.LocalAddr().(*net.UDPAddr).AddrPort(), in: make(chan packet, 64)}
	go s.receive()
	return s, nil
}

// receive ends when the socket is closed.
func (s *Socket) receive() {
	buf := make([]byte, 1<<16)
	for {
		n, from, err := s.conn.ReadFromUDPAddrPort(buf)
		select {
		case s.in <- packet{append([]byte(nil), buf[:n]...), from, err}:
		default: // a full queue drops, as a socket would
		}
		s.mu.Lock()
		if s.ready != nil {
			s.ready()
		}
		s.mu.Unlock()
		if err != nil && !Passing(err) {
			return
		}
	}
}

// Local is the address the socket is bound to.
func (s *Socket) Local() netip.AddrPort { return s.local }

// Close closes the socket.
func (s *Socket) Close() error { return s.conn.Close() }

// Read takes one datagram of a connected socket.
func (s *Socket) Read(b []byte) (int, error) {
	n, _, _, err := s.ReadFrom(b, nil)
	return n, err
}

// ReadFrom takes one datagram. There are no control messages here.
func (s *Socket) ReadFrom(b, _ []byte) (n, noob int, from netip.AddrPort, err error) {
	select {
	case p := <-s.in:
		return copy(b, p.b), 0, p.from, p.err
	default:
		return 0, 0, from, syscall.EAGAIN
	}
}

// Sender sends datagrams by a Socket to one peer.
type Sender struct {
	s   *Socket
	to  netip.AddrPort
	buf []byte
}

// SenderConfig says how a Sender sends; here only To has a meaning.
type SenderConfig struct {
	To      netip.AddrPort
	Control []byte
	Room    int
	Segment bool
}

// Sender makes a sender.
func (s *Socket) Sender(cfg SenderConfig) *Sender { return &Sender{s: s, to: cfg.To} }

// Send sends one datagram.
func (w *Sender) Send(b []byte) error {
	var err error
	if w.to.IsValid() {
		_, err = w.s.conn.WriteToUDPAddrPort(b, w.to)
	} else {
		_, err = w.s.conn.Write(b)
	}
	return err
}

// SendGathered sends datagrams that are made of pieces each.
func (w *Sender) SendGathered(parts [][]byte, pieces, _ int) (int, error) {
	for i := 0; i < len(parts); i += pieces {
		w.buf = w.buf[:0]
		for _, b := range parts[i : i+pieces] {
			w.buf = append(w.buf, b...)
		}
		if err := w.Send(w.buf); err != nil {
			return i / pieces, err
		}
	}
	return len(parts) / pieces, nil
}

// Passing tells errors of an earlier datagram from errors of the socket.
func Passing(err error) bool {
	return errors.Is(err, syscall.ECONNREFUSED) || errors.Is(err, syscall.EHOSTUNREACH) || errors.Is(err, syscall.ENETUNREACH)
}

// Poller waits for many sockets at once.
type Poller struct {
	woken chan struct{}

	mu      sync.Mutex
	sockets map[*Socket]func()
	pending map[*Socket]bool
}

// NewPoller makes a poller of no sockets.
func NewPoller() (*Poller, error) {
	return &Poller{woken: make(chan struct{}, 1), sockets: make(map[*Socket]func()), pending: make(map[*Socket]bool)}, nil
}

// Close ends the poller.
func (p *Poller) Close() error { return nil }

// Add makes Wait call ready as long as the socket has something to read.
func (p *Poller) Add(s *Socket, ready func()) error {
	p.mu.Lock()
	p.sockets[s] = ready
	p.mu.Unlock()
	s.mu.Lock()
	s.ready = func() {
		p.mu.Lock()
		p.pending[s] = true
		p.mu.Unlock()
		p.Wake()
	}
	s.ready()
	s.mu.Unlock()
	return nil
}

// Remove undoes Add.
func (p *Poller) Remove(s *Socket) {
	s.mu.Lock()
	s.ready = nil
	s.mu.Unlock()
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.sockets, s)
	delete(p.pending, s)
}

// Wake ends a Wait, or the next one.
func (p *Poller) Wake() {
	select {
	case p.woken <- struct{}{}:
	default:
	}
}

// Wait waits for sockets, for Wake, and no longer than timeout, without end when
// that is negative.
func (p *Poller) Wait(timeout time.Duration) error {
	var expired <-chan time.Time
	if timeout >= 0 {
		timer := time.NewTimer(timeout)
		defer timer.Stop()
		expired = timer.C
	}
	select {
	case <-p.woken:
	case <-expired:
	}
	p.mu.Lock()
	var ready []func()
	for s := range p.pending {
		if len(s.in) > 0 {
			ready = append(ready, p.sockets[s])
		}
		delete(p.pending, s)
	}
	p.mu.Unlock()
	for _, f := range ready {
		f()
	}
	// What a call left in the queue is ready again.
	p.mu.Lock()
	defer p.mu.Unlock()
	for s := range p.sockets {
		if len(s.in) > 0 {
			p.pending[s] = true
			p.Wake()
		}
	}
	return nil
}
