package tftp

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"sync/atomic"
	"time"

	"go.uber.org/zap"
	"golang.org/x/time/rate"
)

// listener receives requests on one socket and, in single-port mode, everything
// else too.
type listener struct {
	s     *Server
	conn  *net.UDPConn
	batch batchConn
	addr  netip.AddrPort
	dev   string
	gso   bool // UDP segmentation offload may be tried
	stop  atomic.Bool

	strays *rate.Limiter // answers to datagrams of no transfer
}

func newListener(s *Server, conn *net.UDPConn, e Endpoint) *listener {
	addr := conn.LocalAddr().(*net.UDPAddr).AddrPort()
	return &listener{
		s: s, conn: conn, batch: newBatchConn(conn, addr.Addr().Is6()), addr: addr, dev: e.Device,
		gso: !s.cfg.NoOffload && offloadSupported(conn), strays: rate.NewLimiter(10, 10),
	}
}

// maxFailures is how many receive errors in a row end a listener; one alone may
// be the network's.
const maxFailures = 10

// serve receives until interrupt. ctx is that of the transfers it begins.
func (l *listener) serve(ctx context.Context) error {
	buf := make([]byte, 64<<10)
	oob := make([]byte, 128)
	failures := 0
	for {
		n, noob, _, peer, err := l.conn.ReadMsgUDPAddrPort(buf, oob)
		if err != nil {
			if l.stop.Load() || errors.Is(err, net.ErrClosed) {
				return nil
			}
			if errors.Is(err, os.ErrDeadlineExceeded) || passing(err) {
				continue
			}
			if failures++; failures >= maxFailures {
				return fmt.Errorf("receive TFTP requests on %s: %w", l.addr, err)
			}
			continue
		}
		failures = 0
		l.take(ctx, buf[:n], oob[:noob], netip.AddrPortFrom(peer.Addr().Unmap(), peer.Port()))
	}
}

// interrupt ends serve.
func (l *listener) interrupt() {
	l.stop.Store(true)
	_ = l.conn.SetReadDeadline(time.Unix(1, 0))
}

// take deals with one datagram.
func (l *listener) take(ctx context.Context, b, oob []byte, peer netip.AddrPort) {
	req := Request{Peer: peer, Local: l.addr}
	if a, ok := parseArrival(oob); ok {
		if a.dst != a.local || a.dst.IsMulticast() {
			return // RFC 1123 section 4.2.3.5: not by broadcast
		}
		req.Local = netip.AddrPortFrom(a.dst, l.addr.Port())
		req.Interface = a.index
	}
	r, err := parseRequest(b)
	if errors.Is(err, errNotRequest) {
		l.route(b, req)
		return
	}
	req.Name, req.Write, req.Mode, req.Options = r.name, r.write, r.mode, r.options
	if err != nil {
		l.s.refuse(l, req, err)
		return
	}
	t, err := l.s.admit(ctx, l, b, req)
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
	op := opcode(b)
	if (op == opDATA || op == opACK && !l.s.cfg.SinglePort) && l.strays.Allow() {
		l.answer(req, appendError(nil, CodeUnknownTID, "no such transfer, start over"))
	}
}

// answer sends a datagram from the address that the request was sent to.
func (l *listener) answer(req Request, b []byte) {
	var oob []byte
	if local := req.Local.Addr(); !local.IsUnspecified() {
		oob = sourceOOB(local, req.Interface)
	}
	if _, _, err := l.conn.WriteMsgUDPAddrPort(b, oob, req.Peer); err != nil {
		l.s.log.Debug("answer not sent", zap.Stringer("client", req.Peer), zap.Error(err))
	}
}

// link makes a transfer's way to its client.
func (l *listener) link(ctx context.Context, t *transfer) (link, error) {
	local := t.req.Local.Addr()
	conn, mtu, err := l.s.dial(ctx, local, t.req.Peer, l.dev)
	if err != nil {
		return nil, err
	}
	if l.s.cfg.SinglePort {
		// The socket has told the path MTU and that there is a way; no more is needed.
		_ = conn.Close()
		p := newPortLink(l, t.req, mtu)
		t.inbox.Store(p)
		return p, nil
	}
	lnk, err := newSocketLink(conn, mtu, payloadRoom(t.req.Peer.Addr(), mtu), l.gso)
	if err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	return lnk, nil
}
