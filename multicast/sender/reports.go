package sender

import (
	"fmt"
	"time"

	"castpoint/multicast/wire"
)

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
	perInterval := s.rate.Rate() / 8 / float64(s.g.SymbolSize) * s.interval.Seconds()
	limit := s.edge + wire.PacketNumber(max(window, (missedReports+1)*perInterval))
	return wire.PacketNumber(s.number.Load()) > limit
}

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
	plain, err = m.key.Open(plain, datagram[:wire.ReportHeaderSize], datagram[wire.ReportHeaderSize:], h.Number)
	if err != nil {
		return
	}
	r, err := wire.ParseReport(plain, uint32(s.g.Blocks))
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
	s.rate.Measure(&m.loss, uint64(r.Highest), r.Received)
	if m.state != MemberMoved {
		back = m.state == MemberSilent
		m.state = MemberReceiving
		if int(r.Complete) == s.g.Blocks {
			m.state = MemberReceived
		}
		s.lacking(&r, now)
		if s.state == wire.StateSending {
			if !s.excused(m, r.Received, now) {
				s.rate.Observe(&m.loss, m.delay, len(s.members))
				s.others.Queued(m.delay)
			}
			s.rate.Round(now, s.interval, s.wireBytes)
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
		skip := s.schedule.wholesale(s.g.K, deficit)
		for b := at; b < end; b++ {
			if skip {
				if b = full.NextMissing(b, end); b == end {
					break
				}
			}
			s.schedule.lack(b, min(deficit, s.g.Source(b)), r.Highest, now)
		}
		at = end
	}
}
