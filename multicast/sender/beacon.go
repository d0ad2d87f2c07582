package sender

import (
	"context"
	"time"

	"castpoint/multicast"
	"castpoint/multicast/seal"
	"castpoint/multicast/wire"
)

// StartNow overrides the start rule.
func (s *Session) StartNow() {
	s.mu.Lock()
	s.now = true
	s.mu.Unlock()
	nudge(s.joined)
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
			s.chooseCipher()
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
		// A start by the calendar is waited for, also when the clock is put back meanwhile.
		over = now.Sub(since) >= s.cfg.Linger && !(s.state == wire.StateWaiting && now.Before(s.cfg.StartAt))
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
	t := time.NewTicker(multicast.BeaconInterval)
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
		State: s.state, Epoch: s.keys.Current().Epoch, Members: uint16(min(len(s.members), 1<<16-1)),
		ReportInterval: uint32(s.interval.Microseconds()), Rate: uint64(s.throughput),
	}
	if s.state == wire.StateWaiting {
		_, wait := s.startsIn(now)
		b.WaitMembers = uint32(s.cfg.MinMembers)
		b.WaitMillis = uint32(wait.Milliseconds())
	}
	b.Moved = s.movedNow()
	key := s.keys.Current()
	number := s.number.Add(1)
	s.mu.Unlock()
	h := wire.Header{Type: wire.TypeBeacon, Epoch: key.Epoch, Session: s.cfg.ID,
		Number: wire.PacketNumber(number), Object: s.g.Tag, Sent: s.clock(now)}
	buf := h.Append(make([]byte, 0, 192+4*len(b.Moved)))
	d := key.Seal(buf, seal.Sign(s.signer, buf, b.Append(nil)), number)
	return s.cfg.Conn.WriteGroup(d, len(d))
}

// clock is the sender's time in datagrams.
func (s *Session) clock(now time.Time) uint32 { return uint32(now.Sub(s.start).Microseconds()) }
