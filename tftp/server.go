package tftp

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"syscall"
	"time"

	"go.uber.org/zap"
	"golang.org/x/time/rate"

	"castpoint/internal/netio"
	"castpoint/tftp/flow"
)

// Endpoint is where a Server listens.
type Endpoint struct {
	Address netip.AddrPort // port 0 lets the kernel choose, see Server.Addrs
	Device  string         // name of the interface to be tied to; "" for all

	// Conn is a socket that is bound so already, by systemd; nil to bind one. Listen
	// takes it over, and closes it when it fails.
	Conn *net.UDPConn
}

// Server is a TFTP server. The order of use is New, Listen, Serve; Close at any
// time.
type Server struct {
	cfg  Config
	log  *zap.Logger
	rate *rate.Limiter // all transfers together; nil when not limited

	mu        sync.Mutex
	state     state
	listeners []*listener
	loops     []*loop // while it serves
	active    map[tid]*transfer
	clients   map[netip.Addr]*client
	count     uint64 // transfers ever begun
	nextPort  uint16 // of the port range

	stop   context.CancelCauseFunc // ends Serve; nil before
	served chan struct{}           // closed when Serve has returned
	wg     sync.WaitGroup          // transfers
}

type state uint8

const (
	idle state = iota
	serving
	closed
)

// tid names a transfer by where it was asked from and by: one at a time for each.
type tid struct {
	l    *listener
	peer netip.AddrPort
}

// client is what one client address shares between its transfers.
type client struct {
	transfers map[*transfer]struct{}
	rate      *rate.Limiter
}

// New checks the configuration and makes a server that does not listen yet.
func New(cfg Config) (*Server, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	s := &Server{
		cfg:     cfg,
		log:     cfg.Log,
		rate:    flow.NewLimiter(cfg.Rate),
		active:  make(map[tid]*transfer),
		clients: make(map[netip.Addr]*client),
		served:  make(chan struct{}),
	}
	return s, nil
}

// Listen binds sockets and starts nothing, so that a program can bind all that it
// needs before it answers anybody. When one address cannot be bound, none is. It
// may be called several times before Serve.
func (s *Server) Listen(endpoints ...Endpoint) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.state != idle {
		return errors.New("tftp: listen after serve or close")
	}
	var bound []*listener
	for _, e := range endpoints {
		sock, err := listen(e)
		if err != nil {
			for _, l := range bound {
				_ = l.sock.Close()
			}
			return listenError(e, err)
		}
		bound = append(bound, newListener(s, sock, e))
	}
	s.listeners = append(s.listeners, bound...)
	return nil
}

func listen(e Endpoint) (*netio.Socket, error) {
	var err error
	conn := e.Conn
	if conn == nil {
		conn, err = listenUDP(e.Address, e.Device)
	} else {
		err = prepareUDP(conn, e.Address.Addr().Is6())
	}
	if err != nil {
		return nil, err
	}
	return netio.NewSocket(conn)
}

// listenError says in words why a port cannot be had.
func listenError(e Endpoint, err error) error {
	where := fmt.Sprintf("UDP port %d of %s", e.Address.Port(), e.Address.Addr())
	if e.Device != "" {
		where += " on interface " + e.Device
	}
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return fmt.Errorf("listen for TFTP on %s: another program has the port (dnsmasq, tftpd-hpa, atftpd and Windows Deployment Services use it): %w", where, err)
	case errors.Is(err, syscall.EACCES):
		return fmt.Errorf("listen for TFTP on %s: ports below 1024 need root or the capability CAP_NET_BIND_SERVICE: %w", where, err)
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		return fmt.Errorf("listen for TFTP on %s: this machine does not have the address: %w", where, err)
	}
	return fmt.Errorf("listen for TFTP on %s: %w", where, err)
}

// Addrs are the addresses that are listened on, in the order of Listen.
func (s *Server) Addrs() []netip.AddrPort {
	s.mu.Lock()
	defer s.mu.Unlock()
	addrs := make([]netip.AddrPort, len(s.listeners))
	for i, l := range s.listeners {
		addrs[i] = l.addr
	}
	return addrs
}

// Transfers is the number of transfers that run now.
func (s *Server) Transfers() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.active)
}

// Serve answers requests until ctx ends or Close is called, which is no error, or
// until a socket fails. Before it returns, every running transfer has told its
// client and ended. It can be called once; after Close it returns at once.
func (s *Server) Serve(ctx context.Context) error {
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(ErrShutdown)
	s.mu.Lock()
	if s.state != idle || len(s.listeners) == 0 {
		st := s.state
		s.mu.Unlock()
		switch st {
		case closed:
			return nil // Close came first
		case serving:
			return errors.New("tftp: serve called twice")
		}
		return errors.New("tftp: serve without a successful listen")
	}
	s.state, s.stop = serving, stop
	listeners := s.listeners
	s.mu.Unlock()
	defer close(s.served)

	// Transfers end by a context of their own, with a cause that the client is told.
	transfers, end := context.WithCancelCause(context.WithoutCancel(ctx))
	defer end(ErrShutdown)

	running, err := s.startLoops()
	if err == nil {
		err = s.listen(ctx, transfers, stop, listeners)
		// No new transfer can begin any more; single-port transfers still send by the
		// listening sockets, so these close last.
		end(ErrShutdown)
		s.wg.Wait()
		for _, l := range s.loops {
			l.close()
		}
		running.Wait()
	}
	errs := []error{err}
	for _, l := range s.loops {
		errs = append(errs, l.poll.Close())
	}
	for _, l := range listeners {
		errs = append(errs, l.sock.Close())
	}
	s.mu.Lock()
	s.state = closed
	s.mu.Unlock()
	return errors.Join(errs...)
}

// startLoops makes the loops and lets them run.
func (s *Server) startLoops() (*sync.WaitGroup, error) {
	for range loops() {
		l, err := newLoop(s.log)
		if err != nil {
			return nil, err
		}
		s.loops = append(s.loops, l)
	}
	var running sync.WaitGroup
	for _, l := range s.loops {
		running.Go(l.run)
	}
	return &running, nil
}

// listen lets the listeners begin transfers until ctx ends or one of them fails.
func (s *Server) listen(ctx, transfers context.Context, stop context.CancelCauseFunc, listeners []*listener) error {
	failed := make(chan error, len(listeners))
	var err error
	for i, l := range listeners {
		l.loop = s.loops[i%len(s.loops)]
		l.ctx = transfers
		l.fail = func(err error) {
			l.loop.poll.Remove(l.sock)
			failed <- err
			stop(err)
		}
		l.loop.call(func() { err = errors.Join(err, l.loop.poll.Add(l.sock, l.receive)) })
	}
	if err == nil {
		<-ctx.Done()
	}
	for _, l := range listeners {
		l.loop.call(func() { l.loop.poll.Remove(l.sock) })
	}
	select {
	case err := <-failed:
		return err
	default:
		return err
	}
}

// Close ends Serve and waits for it; without Serve it closes the sockets. It may
// be called more than once.
func (s *Server) Close() error {
	s.mu.Lock()
	switch s.state {
	case idle:
		s.state = closed
		var errs []error
		for _, l := range s.listeners {
			errs = append(errs, l.sock.Close())
		}
		s.mu.Unlock()
		return errors.Join(errs...)
	case serving:
		s.stop(ErrShutdown)
		s.mu.Unlock()
		<-s.served
		return nil
	}
	s.mu.Unlock()
	return nil
}

// admit decides whether a request becomes a transfer, and books it. It returns
// nil when the request is to be dropped without an answer, an error that the
// client is told, or a transfer that must be started and then released, with its
// context, which ends with ctx.
func (s *Server) admit(ctx context.Context, l *listener, raw []byte, req Request) (*transfer, error) {
	key := tid{l, req.Peer}
	now := time.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	if old := s.active[key]; old != nil {
		if old.repeats(raw, now) {
			return nil, nil
		}
		// The machine started over without a word: what ran is of no use to anybody.
		old.cancel(ErrReplaced)
		s.forget(old)
	}
	if s.cfg.MaxTransfers >= 0 && len(s.active) >= s.cfg.MaxTransfers {
		return nil, errFull
	}
	host := req.Peer.Addr()
	c := s.clients[host]
	if c == nil {
		c = &client{transfers: make(map[*transfer]struct{}), rate: flow.NewLimiter(s.cfg.ClientRate)}
		s.clients[host] = c
	}
	if s.cfg.MaxPerClient >= 0 && len(c.transfers) >= s.cfg.MaxPerClient {
		return nil, fmt.Errorf("%w: %d transfers to %s are running", ErrBusy, len(c.transfers), host)
	}
	for other := range c.transfers {
		other.moved.Store(true)
	}
	s.count++
	t := &transfer{
		s: s, l: l, key: key, id: s.count, raw: string(raw), req: req, client: c, started: now,
	}
	t.ctx, t.cancel = context.WithCancelCause(ctx)
	s.active[key] = t
	c.transfers[t] = struct{}{}
	s.wg.Add(1)
	return t, nil
}

// errFull is the drop of a request for which there is no room.
var errFull = errors.New("the limit of transfers at once is reached")

// release takes a transfer out of the books.
func (s *Server) release(t *transfer) {
	s.mu.Lock()
	s.forget(t)
	s.mu.Unlock()
	t.cancel(nil)
	s.wg.Done()
}

// forget frees the transfer's place. s.mu is held.
func (s *Server) forget(t *transfer) {
	if s.active[t.key] != t {
		return // another one has the place
	}
	delete(s.active, t.key)
	delete(t.client.transfers, t)
	if len(t.client.transfers) == 0 {
		delete(s.clients, t.key.peer.Addr())
	}
}

// dial makes a transfer's own socket, on a port of the range when there is one.
func (s *Server) dial(ctx context.Context, local netip.Addr, peer netip.AddrPort, device string) (*net.UDPConn, int, error) {
	lo, hi := s.cfg.PortMin, s.cfg.PortMax
	if lo == 0 {
		return dialUDP(ctx, netip.AddrPortFrom(local, 0), peer, device)
	}
	n := int(hi) - int(lo) + 1
	for range n {
		s.mu.Lock()
		if s.nextPort < lo || s.nextPort > hi {
			s.nextPort = lo
		}
		port := s.nextPort
		s.nextPort++
		s.mu.Unlock()
		conn, mtu, err := dialUDP(ctx, netip.AddrPortFrom(local, port), peer, device)
		if err == nil || !errors.Is(err, syscall.EADDRINUSE) {
			return conn, mtu, err
		}
	}
	return nil, 0, fmt.Errorf("%w: all ports from %d to %d are taken", ErrBusy, lo, hi)
}
