package sender

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"castpoint/multicast"
	"castpoint/multicast/block"
	"castpoint/multicast/rate"
	"castpoint/multicast/seal"
	"castpoint/multicast/wire"
)

// Tuning of sessions.
const (
	// burst is the number of symbols that go out in one send.
	burst = 44
	// reportsPerSecond bounds what many members send together: at 10 µs each their
	// reports take 4 % of a core.
	reportsPerSecond = 4000
	// silence is after how long without reports a member is not waited for, at
	// least; it is never less than missedReports report intervals.
	silence = 2 * time.Second
	// missedReports is how many reports in a row a member that lives does not
	// lose.
	missedReports = 4
	// window is how many packets the sender may be ahead of the slowest member's
	// reports, at least; as many are on the link and in receive buffers. It holds
	// the sender back when a member's processor, not its network, is busy. It is
	// never less than five report intervals at the session's rate.
	window = 3000
	// stale is after how long without reports the window and repairs do not wait
	// for a member, at least; it is never less than missedReports report intervals.
	stale = 250 * time.Millisecond
	// forget is after how long a silent member ends.
	forget = 60 * time.Second
	// finishTime is how long a member that lacks nothing may take to check the
	// whole and to make it durable, on a slow disk.
	finishTime = 15 * time.Minute

	defaultLinger = 10 * time.Second
)

// Config describes a session to be.
type Config struct {
	ID       uint32         // random, unique among the sessions of a server
	Objects  []block.Object // in the order in which they are sent at first
	Sources  []io.ReaderAt  // their bytes; must stay readable until Run has returned
	Conn     Conn           // closed by Run
	Group    netip.AddrPort
	Feedback netip.AddrPort
	Source   netip.Addr // that the datagrams come from; invalid where members are not to look

	// Cipher seals the datagrams; "" chooses when the session starts, by what the
	// members' processors are good at.
	Cipher seal.Cipher

	MaxRate   int64 // bits per second; 0 for no cap
	LinkSpeed int64 // bits per second of the interface, as a hint where to start; 0 when not known
	// MinRate is what the session does not go below, in bits per second, for any
	// member: who cannot take it moves to unicast. 0 for none.
	MinRate int64
	// Link says what has been sent by the interface of the session so far; a session
	// that knows leaves others their share of the link, or none of it when it is
	// greedy. One that does not know takes what it gets.
	Link       func() (rate.LinkUse, bool)
	Greedy     bool
	MinMembers int           // start when so many have joined ...
	MaxWait    time.Duration // ... or so long after the first ...
	StartAt    time.Time     // ... or then; all zero: start with the first
	MaxMembers int           // at the same time; 0 for any number
	// KeepTogether keeps members that are far slower than the others in the
	// session, at their pace; otherwise they are told to take the object by unicast.
	KeepTogether bool
	Linger       time.Duration // how long to stay open when no member is left; 0 means 10 s

	Log    *zap.Logger
	Events func(Event) // may be nil; called without locks held, must not block for long
}

// EventKind says what an Event tells.
type EventKind string

// Events of a session.
const (
	EventStarted EventKind = "started"
	EventJoined  EventKind = "joined"
	EventSilent  EventKind = "silent"
	EventBack    EventKind = "back"
	EventLeft    EventKind = "left"
	EventEnded   EventKind = "ended"
)

// Event is something that happened in a session.
type Event struct {
	Kind    EventKind
	Session uint32
	Member  uint32 // 0 when it is about the session
	Name    string // of the member
	Reason  string
}

// Session sends objects to its members. Create it with New, start it
// with Run; the other methods may be called from any goroutine.
type Session struct {
	cfg   Config
	log   *zap.Logger
	g     block.Geometry
	code  *block.Code
	start time.Time

	number atomic.Uint64 // packets sent to the group
	wake   chan struct{} // something to send may have appeared
	joined chan struct{} // the start rule may be fulfilled
	ended  chan struct{}

	mu       sync.Mutex
	state    wire.State
	keys     *seal.Keys
	signer   ed25519.PrivateKey // of beacons
	members  map[uint32]*member
	order    []*member // in order of joining, for people
	moved    []uint32  // members that were told to take the rest by unicast
	heard    wire.PacketNumber
	edge     wire.PacketNumber // like heard, of members that the sender waits for
	schedule *schedule
	rate     *rate.Controller
	others   rate.Neighbours
	first    time.Time // first admission
	began    time.Time // first symbol
	lastGone time.Time // when the last member ended
	now      bool      // start rule overridden
	interval time.Duration
	heardDue time.Time // when heard and edge are worked out again

	wireBytes   uint64 // datagrams of symbols with their headers
	sentBytes   uint64 // symbols' payload
	repairBytes uint64
	meterAt     time.Time
	meterBytes  uint64
	throughput  float64 // bits per second over the last round
}

// New checks the configuration and makes the first group key.
func New(cfg Config) (*Session, error) {
	g, err := block.NewGeometry(cfg.Objects, block.DefaultSymbolSize, block.DefaultRepairSymbols)
	if err != nil {
		return nil, fmt.Errorf("session: %w", err)
	}
	if len(cfg.Sources) != len(cfg.Objects) || slices.Contains(cfg.Sources, nil) || cfg.Conn == nil {
		return nil, errors.New("session needs a source for each object, and a connection")
	}
	if !cfg.Group.Addr().IsMulticast() {
		return nil, fmt.Errorf("session group %s is not a multicast address", cfg.Group)
	}
	if cfg.MinRate > 0 && cfg.MaxRate > 0 && cfg.MinRate > cfg.MaxRate {
		return nil, fmt.Errorf("session's least rate of %d bits per second is above its highest of %d", cfg.MinRate, cfg.MaxRate)
	}
	cfg.StartAt = cfg.StartAt.Round(0) // of the calendar alone: clocks are set
	if cfg.Linger == 0 {
		cfg.Linger = defaultLinger
	}
	if cfg.Log == nil {
		cfg.Log = zap.NewNop()
	}
	s := &Session{
		cfg: cfg, log: cfg.Log, g: g,
		start: time.Now(), wake: make(chan struct{}, 1), joined: make(chan struct{}, 1), ended: make(chan struct{}),
		state: wire.StateWaiting, members: make(map[uint32]*member), interval: multicast.ReportInterval,
		rate: rate.NewController(float64(cfg.MaxRate), float64(cfg.MinRate), float64(cfg.LinkSpeed)),
	}
	ciphers := []seal.Cipher{seal.AES256GCM, seal.ChaCha20}
	if cfg.Cipher != "" {
		ciphers = []seal.Cipher{cfg.Cipher}
	}
	if s.keys, err = seal.NewKeys(ciphers...); err != nil {
		return nil, fmt.Errorf("session: %w", err)
	}
	if _, s.signer, err = ed25519.GenerateKey(nil); err != nil {
		return nil, fmt.Errorf("session: %w", err)
	}
	s.schedule = newSchedule(&s.g)
	if s.code, err = block.NewCode(&s.g); err != nil {
		return nil, err
	}
	return s, nil
}

// ID is the session's id.
func (s *Session) ID() uint32 { return s.cfg.ID }

// Done is closed when the session has ended.
func (s *Session) Done() <-chan struct{} { return s.ended }

// What Admit refuses for.
var (
	// ErrEnded is returned to those who come after the end.
	ErrEnded = errors.New("session has ended")
	// ErrFull is returned when there are as many members as there may be.
	ErrFull = errors.New("session has as many members as it may have")
)

// Run transmits until no member is left and Linger is over, or until ctx is
// done; both are the normal end. It closes the connection.
func (s *Session) Run(ctx context.Context) error {
	ctx, stop := context.WithCancel(ctx)
	var routines sync.WaitGroup
	var sendErr, reportErr error
	routines.Go(func() { defer stop(); sendErr = s.routineSend(ctx) })
	routines.Go(func() { defer stop(); s.routineBeacon(ctx) })
	routines.Go(func() { defer stop(); reportErr = s.routineReports() })
	<-ctx.Done()
	s.mu.Lock()
	s.state = wire.StateEnded
	s.mu.Unlock()
	// Members that still listen learn of the end at once, even if one is lost.
	for range 3 {
		_ = s.sendBeacon(time.Now())
	}
	err := s.cfg.Conn.Close()
	stop()
	routines.Wait()
	close(s.ended)
	s.event(Event{Kind: EventEnded})
	if err = errors.Join(sendErr, reportErr, err); err != nil {
		return fmt.Errorf("session %08x: %w", s.cfg.ID, err)
	}
	return nil
}

func (s *Session) event(e Event) {
	e.Session = s.cfg.ID
	s.log.Info("session event", zap.String("event", string(e.Kind)), zap.String("session", fmt.Sprintf("%08x", e.Session)),
		zap.Uint32("member", e.Member), zap.String("name", e.Name), zap.String("reason", e.Reason))
	if s.cfg.Events != nil {
		s.cfg.Events(e)
	}
}

// nudge makes whoever waits on c have a look; one nudge is enough for all that
// has happened until then.
func nudge(c chan<- struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// SetMaxRate changes the cap of a session, in bits per second; 0 takes it away. A
// session that is faster slows down at once, one that may be faster gets there
// round by round.
func (s *Session) SetMaxRate(bits int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.rate.SetLimit(float64(bits))
}

// ethernetHeader is what a datagram's IP packet has in front of it on most links.
const ethernetHeader = 14

// frames is how many bytes have left by the interface, as the system counts them.
func (s *Session) frames() uint64 { return s.wireBytes + ethernetHeader*s.number.Load() }

// Sending reports whether the session has something to send.
func (s *Session) Sending() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.state == wire.StateSending
}

// SentBytes is how many bytes the session has sent by its interface, as
// Config.Link counts them.
func (s *Session) SentBytes() uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.frames()
}
