package multicast

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"castpoint/multicast/wire"
)

// Tuning of sessions.
const (
	// burst is the number of symbols that go out in one send.
	burst = 44
	// beaconInterval bounds how long a member must listen to know that it hears
	// the session.
	beaconInterval = 100 * time.Millisecond
	// reportInterval of a few members; reportsPerSecond bounds what many of them
	// send together: at 10 µs each they take 4 % of a core.
	reportInterval   = 5 * time.Millisecond
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
	ID       uint32 // random, unique among the sessions of a server
	Object   Object
	Source   io.ReaderAt // the object's bytes; must stay readable until Run has returned
	Conn     GroupConn   // closed by Run
	Group    netip.AddrPort
	Feedback netip.AddrPort

	MaxRate   int64 // bits per second; 0 for no cap
	LinkSpeed int64 // bits per second of the interface, as a hint where to start; 0 when not known
	// MinRate is what the session does not go below, in bits per second, for any
	// member: who cannot take it moves to unicast. 0 for none.
	MinRate int64
	// Foreign is how many bytes others have sent by the interface of the session so
	// far; a session that knows leaves them their share of the link. nil takes all.
	Foreign    func() (uint64, bool)
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

// Session sends one object to its members. Create it with NewSession, start it
// with Run; the other methods may be called from any goroutine.
type Session struct {
	cfg   Config
	log   *zap.Logger
	g     geometry
	code  *code
	start time.Time

	number atomic.Uint64 // packets sent to the group
	wake   chan struct{} // something to send may have appeared
	joined chan struct{} // the start rule may be fulfilled
	ended  chan struct{}

	mu       sync.Mutex
	state    wire.State
	keys     []Key // all epochs that members may still use, the last is current
	sealer   *sealer
	epoch    uint8
	members  map[uint32]*member
	order    []*member // in order of joining, for people
	moved    []uint32  // members that were told to take the rest by unicast
	heard    wire.PacketNumber
	edge     wire.PacketNumber // like heard, of members that the sender waits for
	schedule *schedule
	rate     *controller
	others   neighbours
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

// NewSession checks the configuration and makes the first group key.
func NewSession(cfg Config) (*Session, error) {
	g, err := newGeometry(&cfg.Object, DefaultSymbolSize, DefaultRepairSymbols)
	if err != nil {
		return nil, fmt.Errorf("session of object %s: %w", cfg.Object.SHA256, err)
	}
	if cfg.Source == nil || cfg.Conn == nil {
		return nil, errors.New("session needs a source and a connection")
	}
	if !cfg.Group.Addr().IsMulticast() {
		return nil, fmt.Errorf("session group %s is not a multicast address", cfg.Group)
	}
	key, err := newGroupKey(0)
	if err != nil {
		return nil, err
	}
	seal, err := newSealer(key.Key, key.Salt)
	if err != nil {
		return nil, err
	}
	if cfg.MinRate > 0 && cfg.MaxRate > 0 && cfg.MinRate > cfg.MaxRate {
		return nil, fmt.Errorf("session's least rate of %d bits per second is above its highest of %d", cfg.MinRate, cfg.MaxRate)
	}
	if cfg.Linger == 0 {
		cfg.Linger = defaultLinger
	}
	if cfg.Log == nil {
		cfg.Log = zap.NewNop()
	}
	s := &Session{
		cfg: cfg, log: cfg.Log, g: g,
		start: time.Now(), wake: make(chan struct{}, 1), joined: make(chan struct{}, 1), ended: make(chan struct{}),
		state: wire.StateWaiting, keys: []Key{key}, sealer: seal,
		members: make(map[uint32]*member), interval: reportInterval,
		rate: newController(float64(cfg.MaxRate), float64(cfg.MinRate), float64(cfg.LinkSpeed)),
	}
	s.schedule = newSchedule(&s.g)
	if s.code, err = newCode(&s.g); err != nil {
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
	s.log.Info("session "+string(e.Kind), zap.String("session", fmt.Sprintf("%08x", e.Session)),
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
	s.rate.setLimit(float64(bits))
}

// ethernetHeader is what a datagram's IP packet has in front of it on most links.
const ethernetHeader = 14

// frames is how many bytes have left by the interface, as the system counts them.
func (s *Session) frames() uint64 { return s.wireBytes + ethernetHeader*s.number.Load() }

// SentBytes is how many bytes the session has sent by its interface, as
// Config.Foreign counts them.
func (s *Session) SentBytes() uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.frames()
}

// Params are the parameters that members get.
func (s *Session) params() Params {
	return Params{
		ID: s.cfg.ID, Group: s.cfg.Group, Feedback: s.cfg.Feedback,
		Cipher: CipherAES256GCM, Code: CodeLeopard8,
		SourceSymbols: s.g.k, RepairSymbols: s.g.m, SymbolSize: s.g.symbolSize,
		ReportInterval: s.interval,
	}
}

// Admit makes a new member. name is what people know it by. Errors: ErrEnded,
// ErrFull.
func (s *Session) Admit(name string) (Params, Member, []Key, error) {
	key := make([]byte, wire.KeySize)
	var id [4]byte
	_, err := rand.Read(key)
	if err == nil {
		_, err = rand.Read(id[:])
	}
	if err != nil {
		return Params{}, Member{}, nil, fmt.Errorf("admit member: %w", err)
	}
	seal, err := newSealer(key, memberSalt[:])
	if err != nil {
		return Params{}, Member{}, nil, fmt.Errorf("admit member: %w", err)
	}
	now := time.Now()
	s.mu.Lock()
	if s.state == wire.StateEnded {
		s.mu.Unlock()
		return Params{}, Member{}, nil, ErrEnded
	}
	if s.cfg.MaxMembers > 0 && s.present() >= s.cfg.MaxMembers {
		s.mu.Unlock()
		return Params{}, Member{}, nil, ErrFull
	}
	m := &member{id: uint32(id[0])<<24 | uint32(id[1])<<16 | uint32(id[2])<<8 | uint32(id[3]),
		name: name, key: seal, state: MemberJoined, joined: now, heard: now}
	for m.id == 0 || s.members[m.id] != nil {
		m.id++
	}
	s.members[m.id] = m
	s.order = append(s.order, m)
	if s.first.IsZero() {
		s.first = now
	}
	s.setInterval()
	p, keys := s.params(), s.keys[len(s.keys)-1:]
	s.mu.Unlock()
	s.event(Event{Kind: EventJoined, Member: m.id, Name: name})
	nudge(s.joined)
	return p, Member{ID: m.id, Key: key}, keys, nil
}

// present counts the members that take part.
func (s *Session) present() (n int) {
	for _, m := range s.members {
		if !m.gone() && m.state != MemberMoved {
			n++
		}
	}
	return n
}

// setInterval keeps the reports of all members together under reportsPerSecond.
func (s *Session) setInterval() {
	n := s.present()
	s.schedule.members = n
	s.interval = max(reportInterval, time.Duration(n)*time.Second/reportsPerSecond)
}

// Leave ends a member, as it asked.
func (s *Session) Leave(id uint32, req LeaveRequest) {
	state := MemberFailed
	if req.Complete {
		state = MemberDone
	}
	s.end(id, state, req)
}

// Kick ends a member against its will. The group key changes, so what is sent
// from now on stays closed to it; the others fetch the new key by joining again
// with their tickets.
func (s *Session) Kick(id uint32) error {
	if !s.end(id, MemberKicked, LeaveRequest{Reason: "kicked"}) {
		return fmt.Errorf("session has no member %d to kick", id)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	key, err := newGroupKey(s.epoch + 1)
	if err != nil {
		return err
	}
	seal, err := newSealer(key.Key, key.Salt)
	if err != nil {
		return err
	}
	s.epoch++
	s.sealer = seal
	s.keys = append(s.keys, key)
	return nil
}

func (s *Session) end(id uint32, state MemberState, req LeaveRequest) bool {
	now := time.Now()
	s.mu.Lock()
	m := s.members[id]
	if m == nil || m.gone() {
		s.mu.Unlock()
		return false
	}
	m.state, m.reason, m.left, m.ended = state, req.Reason, req, now
	if state == MemberDone {
		m.complete = uint32(s.g.blocks)
	}
	s.lastGone = now
	s.setInterval()
	s.setHeard(now)
	s.mu.Unlock()
	s.event(Event{Kind: EventLeft, Member: id, Name: m.name, Reason: string(state)})
	nudge(s.wake)
	return true
}

// StartNow overrides the start rule.
func (s *Session) StartNow() {
	s.mu.Lock()
	s.now = true
	s.mu.Unlock()
	nudge(s.joined)
}

// setHeard finds the lowest packet number that every active member has seen, of
// those that still report. It looks at all members, so with many it is done at
// most once in a microsecond for each: a figure that is behind only makes the
// sender wait a little longer.
func (s *Session) setHeard(now time.Time) {
	if now.Before(s.heardDue) {
		return
	}
	s.heardDue = now.Add(time.Duration(len(s.order)) * time.Microsecond)
	low := wire.PacketNumber(s.number.Load())
	edge := low
	fresh := now.Add(-max(stale, missedReports*s.interval))
	for _, m := range s.order {
		if !m.active() || m.heard.Before(fresh) {
			continue
		}
		low = min(low, m.highest)
		if m.test.began.IsZero() {
			edge = min(edge, m.highest)
		}
	}
	s.heard, s.edge = low, edge
}

// ahead reports whether the sender has to wait for reports.
func (s *Session) ahead() bool {
	perInterval := s.rate.rate / 8 / float64(s.g.symbolSize) * s.interval.Seconds()
	limit := s.edge + wire.PacketNumber(max(window, (missedReports+1)*perInterval))
	return wire.PacketNumber(s.number.Load()) > limit
}

// startsIn tells whether the start rule is fulfilled, and if not, in how many
// milliseconds it will be and how many members it waits for.
func (s *Session) startsIn(now time.Time) (ok bool, wait time.Duration) {
	if s.first.IsZero() {
		return false, 0
	}
	if s.now || s.cfg.MinMembers <= 1 && s.cfg.MaxWait == 0 && s.cfg.StartAt.IsZero() {
		return true, 0
	}
	n := 0
	for _, m := range s.members {
		if !m.gone() && m.state != MemberSilent {
			n++
		}
	}
	if s.cfg.MinMembers > 0 && n >= s.cfg.MinMembers {
		return true, 0
	}
	var latest time.Time
	if s.cfg.MaxWait > 0 {
		latest = s.first.Add(s.cfg.MaxWait)
	}
	if at := s.cfg.StartAt; !at.IsZero() && (latest.IsZero() || at.Before(latest)) {
		latest = at
	}
	if latest.IsZero() {
		return false, 0
	}
	wait = latest.Sub(now)
	return wait <= 0, max(wait, 0)
}

// tick looks after members and the session's state. It reports whether the
// session is over.
func (s *Session) tick(now time.Time) (over bool) {
	var events []Event
	s.mu.Lock()
	if s.state == wire.StateEnded {
		s.mu.Unlock()
		return true
	}
	quiet := max(silence, missedReports*s.interval)
	live, lacking := 0, 0
	for _, m := range s.order {
		if m.gone() || m.state == MemberMoved {
			continue // who has moved needs the session no more
		}
		age := now.Sub(m.heard)
		switch {
		case age > m.patience():
			m.state, m.reason, m.ended, s.lastGone = MemberFailed, "no report for "+age.Round(time.Second).String(), now, now
			events = append(events, Event{Kind: EventLeft, Member: m.id, Name: m.name, Reason: m.reason})
			continue
		case age > quiet && m.active():
			m.state = MemberSilent
			s.setHeard(now)
			events = append(events, Event{Kind: EventSilent, Member: m.id, Name: m.name, Reason: "no report for " + age.Round(100*time.Millisecond).String()})
		}
		live++
		if m.state == MemberReceiving {
			lacking++
		}
	}
	switch {
	case s.state == wire.StateWaiting:
		if ok, _ := s.startsIn(now); ok {
			s.state = wire.StateSending
			s.began = now
			events = append(events, Event{Kind: EventStarted})
			nudge(s.wake)
		}
	case lacking == 0 && s.schedule.idle():
		s.state = wire.StateIdle
	default:
		s.state = wire.StateSending
	}
	if live == 0 {
		since := s.lastGone
		if since.IsZero() {
			since = s.start
		}
		over = now.Sub(since) >= s.cfg.Linger
	}
	s.measure(now)
	s.mu.Unlock()
	for _, e := range events {
		s.event(e)
	}
	return over
}

func (s *Session) measure(now time.Time) {
	if d := now.Sub(s.meterAt); d > 0 && !s.meterAt.IsZero() {
		s.throughput = float64(s.sentBytes-s.meterBytes) * 8 / d.Seconds()
	}
	s.meterAt, s.meterBytes = now, s.sentBytes
}

// routineBeacon sends beacons and ends the session.
func (s *Session) routineBeacon(ctx context.Context) {
	t := time.NewTicker(beaconInterval)
	defer t.Stop()
	for {
		now := time.Now()
		if s.tick(now) {
			return
		}
		// A full local queue only delays a beacon; other errors show when symbols
		// are sent.
		_ = s.sendBeacon(now)
		select {
		case <-ctx.Done():
			return
		case <-s.joined:
		case <-t.C:
		}
	}
}

func (s *Session) sendBeacon(now time.Time) error {
	s.mu.Lock()
	b := wire.Beacon{
		State: s.state, Epoch: s.epoch, Members: uint16(min(len(s.members), 1<<16-1)),
		ReportInterval: uint32(s.interval.Microseconds()), Rate: uint64(s.throughput),
	}
	if s.state == wire.StateWaiting {
		_, wait := s.startsIn(now)
		b.WaitMembers = uint32(s.cfg.MinMembers)
		b.WaitMillis = uint32(wait.Milliseconds())
	}
	b.Moved = s.movedNow()
	seal, epoch := s.sealer, s.epoch
	number := s.number.Add(1)
	s.mu.Unlock()
	h := wire.Header{Type: wire.TypeBeacon, Epoch: epoch, Session: s.cfg.ID,
		Number: wire.PacketNumber(number), Object: s.cfg.Object.tag(), Sent: s.clock(now)}
	buf := h.Append(make([]byte, 0, 128+4*len(b.Moved)))
	d := seal.seal(buf, b.Append(nil), number)
	return s.cfg.Conn.WriteGroup(d, len(d))
}

// clock is the sender's time in datagrams.
func (s *Session) clock(now time.Time) uint32 { return uint32(now.Sub(s.start).Microseconds()) }

// routineReports reads what members report.
func (s *Session) routineReports() error {
	buf := make([]byte, 2*wire.MaxReport)
	plain := make([]byte, 0, 2*wire.MaxReport)
	for failures := 0; ; {
		n, _, err := s.cfg.Conn.ReadReport(buf)
		if err != nil {
			if isClosed(err) {
				return nil
			}
			// ICMP errors of members that have gone surface here.
			if failures++; failures > 100 {
				return fmt.Errorf("read reports: %w", err)
			}
			continue
		}
		failures = 0
		s.report(buf[:n], plain)
	}
}

// report applies one report. Foreign, forged and old ones are dropped.
func (s *Session) report(datagram, plain []byte) {
	h, err := wire.ParseReportHeader(datagram)
	if err != nil || h.Session != s.cfg.ID {
		return
	}
	s.mu.Lock()
	m := s.members[h.Member]
	s.mu.Unlock()
	if m == nil {
		return
	}
	plain, err = m.key.open(plain, datagram[:wire.ReportHeaderSize], datagram[wire.ReportHeaderSize:], h.Number)
	if err != nil {
		return
	}
	r, err := wire.ParseReport(plain, uint32(s.g.blocks))
	if err != nil {
		return
	}
	now := time.Now()
	back := false
	s.mu.Lock()
	if m.gone() || h.Number <= m.number {
		s.mu.Unlock()
		return
	}
	// A rogue member can make others believe in numbers that were never sent.
	r.Highest = min(r.Highest, wire.PacketNumber(s.number.Load()))
	m.number, m.heard = h.Number, now
	m.highest, m.complete = r.Highest, r.Complete
	m.delay = time.Duration(r.QueueDelay) * time.Microsecond
	m.backlog = int64(r.Backlog) << 10
	m.loss.report(uint64(r.Highest), r.Received, s.rate.trials)
	if m.state != MemberMoved {
		back = m.state == MemberSilent
		m.state = MemberReceiving
		if int(r.Complete) == s.g.blocks {
			m.state = MemberReceived
		}
		s.lacking(&r, now)
		if s.state == wire.StateSending {
			if !s.excused(m, r.Received, now) {
				s.rate.observe(&m.loss, m.delay, len(s.members))
				s.others.delay = max(s.others.delay, m.delay)
			}
			s.rate.round(now, s.interval, s.wireBytes)
		}
	}
	s.setHeard(now)
	s.mu.Unlock()
	if back {
		s.event(Event{Kind: EventBack, Member: m.id, Name: m.name})
	}
	nudge(s.wake)
}

// lacking gives a report's runs to the schedule.
func (s *Session) lacking(r *wire.Report, now time.Time) {
	at := int(r.From)
	for rest := r.Runs; len(rest) > 0; {
		run, tail, err := wire.NextRun(rest)
		if err != nil {
			return
		}
		rest = tail
		at += int(run.Gap)
		end := at + int(run.Count)
		// Blocks that are to be sent whole anyway need no look when the run lacks
		// much: a run may be the whole object. Who lacks little does not wait for them.
		full, deficit := &s.schedule.full, int(run.Deficit)
		skip := s.schedule.wholesale(s.g.k, deficit)
		for b := at; b < end; b++ {
			if skip {
				if b = full.nextMissing(b, end); b == end {
					break
				}
			}
			s.schedule.lack(b, min(deficit, s.g.source(b)), r.Highest, now)
		}
		at = end
	}
}
