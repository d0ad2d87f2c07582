package tftp

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"syscall"
	"time"

	"go.uber.org/zap"
	"golang.org/x/time/rate"

	"castpoint/internal/netio"
	"castpoint/tftp/flow"
	"castpoint/tftp/wire"
)

// listener receives requests on one socket and, in single-port mode, everything
// else too.
type listener struct {
	s    *Server
	sock *netio.Socket
	addr netip.AddrPort
	dev  string

	// Set by Serve.
	loop *loop
	ctx  context.Context // of the transfers it begins
	fail func(error)     // ends Serve

	// Only of the loop's goroutine.
	buf, oob []byte
	failures int           // to receive, in a row
	strays   *rate.Limiter // answers to datagrams of no transfer
}

func newListener(s *Server, sock *netio.Socket, e Endpoint) *listener {
	return &listener{
		s: s, sock: sock, addr: sock.Local(), dev: e.Device,
		buf: make([]byte, 64<<10), oob: make([]byte, 128), strays: rate.NewLimiter(10, 10),
	}
}

// maxFailures is how many receive errors in a row end a listener; one alone may
// be the network's.
const maxFailures = 10

// receive takes what has come. Its loop calls it.
func (l *listener) receive() {
	for range flow.MaxBatch {
		n, noob, peer, err := l.sock.ReadFrom(l.buf, l.oob)
		switch {
		case err == nil:
			l.failures = 0
			l.take(l.buf[:n], l.oob[:noob], netip.AddrPortFrom(peer.Addr().Unmap(), peer.Port()))
		case errors.Is(err, syscall.EAGAIN):
			return
		case netio.Passing(err):
		default:
			if l.failures++; l.failures >= maxFailures {
				l.fail(fmt.Errorf("receive TFTP requests on %s: %w", l.addr, err))
				return
			}
		}
	}
}

// take deals with one datagram.
func (l *listener) take(b, oob []byte, peer netip.AddrPort) {
	req := Request{Peer: peer, Local: l.addr}
	if a, ok := parseArrival(oob); ok {
		if a.dst != a.local || a.dst.IsMulticast() {
			return // RFC 1123 section 4.2.3.5: not by broadcast
		}
		req.Local = netip.AddrPortFrom(a.dst, l.addr.Port())
		req.Interface = a.index
	}
	r, err := wire.ParseRequest(b)
	if errors.Is(err, wire.ErrNotRequest) {
		l.route(b, req)
		return
	}
	req.Name, req.Write, req.Mode, req.Options = r.Name, r.Write, r.Mode, r.Options
	if err != nil {
		l.s.refuse(l, req, err)
		return
	}
	t, err := l.s.admit(l.ctx, l, b, req)
	switch {
	case errors.Is(err, errFull):
		l.s.publish(Event{Kind: Refused, Time: time.Now(), Request: req, Err: err})
	case err != nil:
		l.s.refuse(l, req, err)
	case t != nil:
		go t.serve()
	}
}

// route hands a datagram that is not a request to its transfer.
func (l *listener) route(b []byte, req Request) {
	if l.s.cfg.SinglePort {
		l.s.mu.Lock()
		t := l.s.active[tid{l, req.Peer}]
		l.s.mu.Unlock()
		if t != nil {
			if p := t.inbox.Load(); p != nil {
				p.deliver(b)
			}
			return
		}
	}
	// RFC 1350 section 4: a datagram of no transfer is told so, an ERROR is not. In
	// single-port mode a late copy of a last ACK looks like that too, and the answer
	// would hit the client's next request.
	op := wire.Opcode(b)
	if (op == wire.OpDATA || op == wire.OpACK && !l.s.cfg.SinglePort) && l.strays.Allow() {
		l.answer(req, wire.AppendError(nil, wire.CodeUnknownTID, "no such transfer, start over"))
	}
}

// answer sends a datagram from the address that the request was sent to.
func (l *listener) answer(req Request, b []byte) {
	if err := l.sock.Sender(netio.SenderConfig{To: req.Peer, Control: sourceControl(req)}).Send(b); err != nil {
		l.s.log.Debug("answer not sent", zap.Stringer("peer", req.Peer), zap.Error(err))
	}
}

// link makes a transfer's way to its client.
func (l *listener) link(ctx context.Context, t *transfer) (*loopLink, error) {
	local := t.req.Local.Addr()
	conn, mtu, err := l.s.dial(ctx, local, t.req.Peer, l.dev)
	if err != nil {
		return nil, err
	}
	if l.s.cfg.SinglePort {
		// The socket has told the path MTU and that there is a way; no more is needed.
		_ = conn.Close()
		p := newPortLink(l.loop, l.sock, t.req, mtu, !l.s.cfg.NoOffload)
		t.inbox.Store(p)
		return p, nil
	}
	sock, err := netio.NewSocket(conn)
	if err != nil {
		return nil, err
	}
	on := l.s.loops[t.id%uint64(len(l.s.loops))]
	return newSocketLink(on, sock, mtu, payloadRoom(t.req.Peer.Addr(), mtu), !l.s.cfg.NoOffload), nil
}
