package dhcp

import (
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"castpoint/boot"
	"castpoint/dhcp/dhcp4"
	"castpoint/dhcp/dhcp6"
	"castpoint/dhcp/lease"
	"castpoint/dhcp/socket"

	"github.com/insomniacslk/dhcp/dhcpv6"
	"go.uber.org/zap"
)

// Config is what a Server needs. The zero value of a field is its default
// unless said otherwise.
type Config struct {
	Mode dhcp4.Mode // "" is ModeProxy
	// Interfaces names the interfaces to answer on; none means all that are up
	// with an IPv4 address.
	Interfaces []string
	Planner    boot.Planner // required unless the mode is off
	Log        *zap.Logger
	// Observer is told of every decision. It is called from several goroutines
	// and must return soon.
	Observer func(Event)

	// Server mode.
	Pools         []dhcp4.Pool // at least one
	Reservations  []dhcp4.Reservation
	Store         lease.Store // nil keeps leases in memory only
	Prober        Prober      // nil asks by ARP, and by ICMP behind relays
	NoProbe       bool        // offer addresses without asking first
	MatchClientID bool        // see dhcp4.LeasesConfig

	// Quirks go in front of the table that comes with castpoint. A row whose
	// MACs holds a whole MAC decides for one device.
	Quirks []dhcp4.Quirk
	// Menu says whether a client is shown a boot menu by its firmware; nil, or
	// a nil result, is no menu.
	Menu func(boot.Client, boot.Plan) *dhcp4.Menu

	// Allow, when not empty, names the only clients that are answered; Deny
	// names clients that never are. Entries are UUIDs, MACs or beginnings of
	// MACs ("b8:27:eb").
	Allow, Deny []string
	// Device says what one machine has instead of the general terms; nil when none
	// has its own. It runs for each packet and must be fast and safe for
	// concurrent use.
	Device func(boot.Client) DeviceTerms
	// Delay before a DISCOVER is answered, so that another server on the segment
	// comes first. At most 30 s.
	Delay time.Duration

	// IPv6 switches DHCPv6 on as well; nil leaves it off.
	IPv6 *IPv6

	// Share leaves port 67 to a DHCP server on the same host: castpoint hears
	// the requests beside it. Proxy mode only; needs CAP_NET_RAW.
	Share bool
	// Sighted is told once of each other DHCP or PXE server on the segments.
	Sighted func(Sighting)

	ports, ports6 [2]uint16 // of the server and of the boot server; tests
}

// Tuning of the server.
const (
	queueLength = 4096 // packets waiting for each worker; 0.4 s of a storm of 10 000 a second
	queueShed   = 2048 // beyond so many, no DISCOVER or SOLICIT is taken in

	maxLater   = 1024 // answers that wait for a delay or a probe
	watchEvery = 2 * time.Second
	maxDelay   = 30 * time.Second
)

// Server answers on its interfaces from Listen to the end of Serve.
type Server struct {
	config Config
	log    *zap.Logger
	manner atomic.Pointer[manner]
	leases *dhcp4.Leases
	limits *limiter

	serverID dhcpv6.DUID // DHCPv6: castpoint's own name
	leases6  *dhcp6.Leases
	macs6    *macs

	links     []*link
	listeners []*listener
	frames    *socket.Frames // nil when the host does not allow them

	queues  []chan job
	buffers chan []byte   // free ones
	made    atomic.Int64  // buffers made so far; at most cap(buffers)
	later   chan struct{} // tokens of answers that wait for the delay
	probes  chan struct{} // tokens of answers that wait for a probe
	seen    *sightings
	watches []watch
	strange chan struct{} // a client named a DHCPv6 server that is not known
	waiting sync.WaitGroup
	seed    maphash.Seed

	received, malformed, limited, dropped, silent, answered, failed, unprobed atomic.Uint64
}

// job is a packet on its way from a reader to a worker.
type job struct {
	from   *listener
	buffer []byte // bufferSize long, given back to the pool
	socket.Received
}

// New checks the settings. It opens nothing.
func New(c Config) (*Server, error) {
	if c.Mode == "" {
		c.Mode = dhcp4.ModeProxy
	}
	if c.Log == nil {
		c.Log = zap.NewNop()
	}
	if c.ports == [2]uint16{} {
		c.ports = [2]uint16{dhcp4.PortServer, dhcp4.PortProxy}
	}
	if c.ports6 == [2]uint16{} {
		c.ports6 = [2]uint16{dhcp6.PortServer, dhcp6.PortProxy}
	}
	switch c.Mode {
	case dhcp4.ModeProxy, dhcp4.ModeServer, dhcp4.ModeOff:
	default:
		return nil, fmt.Errorf("dhcp mode %q is not one of %s, %s, %s", c.Mode, dhcp4.ModeProxy, dhcp4.ModeServer, dhcp4.ModeOff)
	}
	if c.Planner == nil && c.Mode != dhcp4.ModeOff {
		return nil, errors.New("dhcp: no planner")
	}
	if c.Mode == dhcp4.ModeServer && len(c.Pools) == 0 {
		return nil, errors.New("dhcp mode server needs a pool of addresses")
	}
	if c.Mode != dhcp4.ModeServer && len(c.Pools) > 0 {
		return nil, fmt.Errorf("dhcp mode %s gives no addresses, but a pool is set", c.Mode)
	}
	for _, p := range c.Pools {
		if err := p.Validate(); err != nil {
			return nil, err
		}
	}
	if c.IPv6 != nil {
		if err := c.IPv6.validate(c.Mode); err != nil {
			return nil, err
		}
	}
	if c.Share && c.Mode != dhcp4.ModeProxy {
		return nil, fmt.Errorf("dhcp mode %s cannot share port %d: two servers would answer every client", c.Mode, dhcp4.PortServer)
	}
	if c.Prober == nil {
		c.Prober = linkProber{}
	}
	if c.Delay < 0 || c.Delay > maxDelay {
		return nil, fmt.Errorf("dhcp response delay %s is not between 0 and %s", c.Delay, maxDelay)
	}
	for _, q := range c.Quirks {
		if err := q.Style.Validate(); err != nil {
			return nil, fmt.Errorf("quirk %q: %w", q.Name, err)
		}
	}
	s := &Server{
		config: c,
		log:    c.Log,
		limits: newLimiter(),
		later:  make(chan struct{}, maxLater),
		probes: make(chan struct{}, probesMax),
		seen:   newSightings(),
		macs6:  newMACs(),

		strange: make(chan struct{}, 1),
		seed:    maphash.MakeSeed(),
	}
	s.manner.Store(newManner(&c))
	return s, nil
}

// Listen opens the sockets: ports 67 and 4011 on every interface. When one
// fails, none stays open, and the error names port and interface. In mode off
// it does nothing.
func (s *Server) Listen() error {
	if s.config.Mode == dhcp4.ModeOff {
		return nil
	}
	if err := s.listen(); err != nil {
		_ = s.Close()
		return err
	}
	return nil
}

func (s *Server) listen() error {
	names := s.config.Interfaces
	if len(names) == 0 {
		var err error
		if names, err = broadcastLinks(); err != nil {
			return err
		}
	}
	for _, name := range names {
		l := &link{name: name}
		if err := l.refresh(); err != nil {
			return err
		}
		if len(l.state.Load().networks) == 0 {
			return fmt.Errorf("interface %s has no IPv4 address", name)
		}
		s.links = append(s.links, l)
		for i, port := range s.config.ports {
			sock := &listener{link: l, port: port, tap: s.config.Share && i == 0}
			if err := sock.open(context.Background()); err != nil {
				return err
			}
			s.listeners = append(s.listeners, sock)
		}
	}
	if err := s.listen6(); err != nil {
		return err
	}
	var err error
	if s.frames, err = socket.OpenFrames(); err != nil {
		s.frames = nil
		s.log.Info("no raw frames: clients without an address are answered by broadcast", zap.Error(err))
	}
	s.openWatches()
	s.openWatches6()
	if s.config.Mode == dhcp4.ModeServer {
		return s.openLeases()
	}
	return nil
}

// openLeases completes pools that leave their network to the interface.
func (s *Server) openLeases() error {
	pools := slices.Clone(s.config.Pools)
	for i := range pools {
		p := &pools[i]
		for _, l := range s.links {
			for _, n := range l.state.Load().networks {
				if !p.Network.IsValid() && n.Contains(p.From) && n.Contains(p.To) {
					p.Network = n.Masked()
				}
			}
		}
		if !p.Network.IsValid() {
			return fmt.Errorf("pool %s-%s lies in no network of the interfaces; set its network", p.From, p.To)
		}
	}
	var err error
	s.leases, err = dhcp4.NewLeases(dhcp4.LeasesConfig{
		Pools: pools, Reservations: s.config.Reservations, Store: s.config.Store, MatchClientID: s.config.MatchClientID,
	})
	return err
}

// Serve answers until ctx ends, then closes the sockets and returns nil. Listen
// comes first. An interface that goes away is waited for, not an error.
func (s *Server) Serve(ctx context.Context) error {
	if s.config.Mode == dhcp4.ModeOff {
		<-ctx.Done()
		return nil
	}
	if len(s.listeners) == 0 {
		return errors.New("dhcp: Serve without Listen")
	}
	workers := max(2, runtime.GOMAXPROCS(0))
	s.queues = make([]chan job, workers)
	s.buffers = make(chan []byte, workers*queueLength)
	var working, reading sync.WaitGroup
	for i := range s.queues {
		s.queues[i] = make(chan job, queueLength)
		working.Go(func() { s.serveQueue(ctx, s.queues[i]) })
	}
	for _, l := range s.listeners {
		reading.Go(func() { s.serveSocket(ctx, l) })
	}
	for _, w := range s.watches {
		reading.Go(func() { s.serveSightings(w) })
	}
	if s.config.IPv6 != nil {
		reading.Go(func() { s.serveQuestions(ctx) })
	}
	reading.Go(func() { s.serveWatch(ctx) })

	<-ctx.Done()
	s.closeSockets()
	reading.Wait()
	for _, q := range s.queues {
		close(q)
	}
	working.Wait()
	s.waiting.Wait()
	return s.Close()
}

// Close releases what Listen opened, for a server that is not going to serve.
// Serve does it when it ends; doing it twice does no harm.
func (s *Server) Close() error {
	s.closeSockets()
	var err error
	if s.frames != nil {
		err = s.frames.Close()
		s.frames = nil
	}
	return err
}

func (s *Server) closeSockets() {
	for _, l := range s.listeners {
		l.close()
	}
	for _, w := range s.watches {
		_ = w.Close()
	}
}

// Stats is what has happened so far.
func (s *Server) Stats() Stats {
	return Stats{
		Received: s.received.Load(), Malformed: s.malformed.Load(), Limited: s.limited.Load(), Dropped: s.dropped.Load(),
		Silent: s.silent.Load(), Answered: s.answered.Load(), Failed: s.failed.Load(), Unprobed: s.unprobed.Load(),
	}
}

// Leases is the state of server mode; nil in other modes and before Listen.
func (s *Server) Leases() *dhcp4.Leases { return s.leases }

// serveWatch follows the interfaces: addresses may change, and an interface
// that was deleted and made again needs new sockets.
func (s *Server) serveWatch(ctx context.Context) {
	tick := time.NewTicker(watchEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		for _, l := range s.links {
			if err := l.refresh(); err != nil {
				s.log.Debug("interface not readable", zap.String("interface", l.name), zap.Error(err))
			}
		}
		for _, l := range s.listeners {
			if l.stale() {
				s.log.Info("interface came back, opening its socket again",
					zap.String("interface", l.link.name), zap.Uint16("port", l.port))
				l.drop()
			}
		}
	}
}

// serveSocket reads one socket and opens it again when it fails.
func (s *Server) serveSocket(ctx context.Context, l *listener) {
	for told := false; ctx.Err() == nil; {
		if conn := l.current(); conn != nil {
			told = false
			err := conn.Receive(func(b []byte, r socket.Received) []byte { return s.enqueue(l, b, r) })
			if ctx.Err() != nil {
				return
			}
			s.log.Warn("dhcp socket failed", zap.String("interface", l.link.name), zap.Uint16("port", l.port), zap.Error(err))
			l.drop()
		}
		if err := l.open(ctx); err != nil {
			if !told {
				s.log.Warn("dhcp socket not opened, trying again", zap.Error(err))
				told = true
			}
			select {
			case <-ctx.Done():
			case <-time.After(time.Second):
			}
		}
	}
}

// enqueue hands a packet to the worker of its client, so that one client's
// packets stay in order, and returns the buffer for the next packet. A full
// queue drops it: the client will ask again. Before that, what begins an
// exchange is dropped, so that those that were begun come to an end: in a storm
// that nothing can answer whole, some clients are served instead of none.
func (s *Server) enqueue(l *listener, buffer []byte, r socket.Received) []byte {
	s.received.Add(1)
	var client []byte
	switch {
	case l.v6 && r.Length == 0:
		s.malformed.Add(1)
		return buffer
	case l.v6:
		client = clientBytes6(buffer[:r.Length], r.Source)
	default:
		if client = dhcp4.ClientBytes(buffer[:r.Length]); client == nil {
			s.malformed.Add(1)
			return buffer
		}
	}
	h := maphash.Bytes(s.seed, client)
	queue := s.queues[h%uint64(len(s.queues))]
	if len(queue) < queueShed || !begins(buffer[:r.Length], l.v6) {
		if spare := s.spare(); spare != nil {
			select {
			case queue <- job{l, buffer, r}:
				return spare
			default:
				s.buffers <- spare
			}
		}
	}
	s.dropped.Add(1)
	return buffer
}

// spare is a buffer that is free, or a new one while there are less than the
// queues can hold; else nil.
func (s *Server) spare() []byte {
	select {
	case b := <-s.buffers:
		return b
	default:
	}
	if s.made.Add(1) > int64(cap(s.buffers)) {
		s.made.Add(-1)
		return nil
	}
	return make([]byte, socket.BufferSize)
}

// begins says whether a packet is one that begins an exchange, without reading
// it as a whole.
func begins(packet []byte, v6 bool) bool {
	if v6 {
		return packet[0] == byte(dhcpv6.MessageTypeSolicit)
	}
	return dhcp4.Begins(packet)
}

func (s *Server) serveQueue(ctx context.Context, queue <-chan job) {
	for j := range queue {
		if j.from.v6 {
			packet := slices.Clone(j.buffer[:j.Length])
			s.buffers <- j.buffer
			if ctx.Err() == nil {
				s.handle6(ctx, j, packet)
			}
			continue
		}
		packet, err := dhcp4.Parse(j.buffer[:j.Length])
		s.buffers <- j.buffer
		if ctx.Err() != nil {
			continue // the sockets are closed: nothing can be answered any more
		}
		if err != nil {
			s.malformed.Add(1)
			continue
		}
		s.handle(ctx, j, packet)
	}
}
