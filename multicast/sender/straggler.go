package sender

import (
	"time"

	"go.uber.org/zap"

	"castpoint/multicast/rate"
	"castpoint/multicast/wire"
)

// One member on a slow link, or with a slow disk, must not set the pace for all.
// When fewer than half of the members ask for a lower rate or hold the window back,
// they are put to the test: for some seconds the session goes on without listening to
// them. Who still gets half of what is sent was not that
// slow, and is listened to from then on; who gets less moves to unicast, where it
// goes at its own pace and costs the others nothing.
const (
	// stragglerTest is how long a test lasts, at least; it is never less than two
	// times missedReports report intervals. Its second half is measured, when the
	// rate has settled at what the others can take.
	stragglerTest = 3 * time.Second
	// stragglerShare is the share of what is sent that a member must get.
	stragglerShare = 0.5
	// stragglerRest is how long after a test that it passed a member is not
	// tested again.
	stragglerRest = 30 * time.Second
	// stragglerMembers is how many members a session must have for tests.
	stragglerMembers = 3
)

// test is what a member's test has measured. The zero value: no test.
type test struct {
	began    time.Time
	rate     float64   // of the session then, in bits per second
	halfSent uint64    // packets that the sender has sent at half time, and ...
	halfGot  uint64    // ... that the member has received
	passed   time.Time // when the last test was passed
	least    float64   // the rate that it got through then, in bits per second
}

// excused reports whether m is being tested, so that its wish for a lower rate
// does not count; it begins and ends tests. received is how many packets the
// member has received. The lock is held.
func (s *Session) excused(m *member, received uint64, now time.Time) bool {
	t, length := &m.test, max(stragglerTest, 2*missedReports*s.interval)
	switch {
	case s.cfg.KeepTogether:
		return false
	case now.Sub(t.passed) < stragglerRest && !t.passed.IsZero():
		// It is listened to down to the rate that it was seen to take.
		return s.rate.Rate() <= t.least
	case t.began.IsZero():
		// Loss that no lower rate makes smaller is left alone, but not when it is
		// most of what is sent: the disk of such a member is behind by so much that
		// blocks are sent to it again and again.
		hopeless := m.loss.Floor() > 1-stragglerShare
		slow := hopeless || m.holds(now) || m.loss.WantsLess(m.delay)
		switch {
		case m.apart.trial:
		case !slow, !hopeless && !s.mayTest():
			return false
		}
		*t = test{began: now, rate: s.rate.Rate()}
		return true
	case now.Sub(t.began) < length:
		if t.halfSent == 0 && now.Sub(t.began) >= length/2 {
			t.halfSent, t.halfGot = s.number.Load(), received
		}
		return true
	}
	sent, got := s.number.Load()-t.halfSent, received-t.halfGot
	share := 1.0
	if t.halfSent > 0 && sent >= rate.MinWindow {
		share = float64(got) / float64(sent)
	}
	need := stragglerShare
	if m.apart.trial {
		need, m.apart.trial = returnShare, false
	}
	if share >= need && s.rate.Rate() < stragglerShare*t.rate {
		// Somebody else has brought the rate down meanwhile: that it could take what
		// was left tells nothing.
		*t = test{}
		return false
	}
	*t = test{passed: now, least: s.rate.Rate() * share}
	if share >= need {
		return false
	}
	m.state = MemberMoved
	m.apart.leave(now)
	s.moved = append(s.moved, m.id)
	s.setInterval()
	s.log.Info("member is too slow for the session", zap.Uint32("member", m.id), zap.String("name", m.name), zap.Float64("share", share))
	return true
}

// heldBack notes that the sender has waited for d for the members whose reports
// are the furthest behind. The lock is held.
func (s *Session) heldBack(d time.Duration) {
	for _, m := range s.members {
		if m.active() && m.highest <= s.edge {
			m.held += d
		}
	}
}

// Holding back is measured over holdWindow; more than holdShare of it is slow.
const (
	holdWindow = 500 * time.Millisecond
	holdShare  = 0.3
)

// holds reports whether the sender has waited for this member for much of the
// time lately: it loses nothing, but its processor or its disk is behind.
func (m *member) holds(now time.Time) bool {
	took := now.Sub(m.heldFrom)
	if took < holdWindow {
		return false
	}
	share := m.held.Seconds() / took.Seconds()
	m.held, m.heldFrom = 0, now
	return share > holdShare
}

// mayTest reports whether one more member may be tested: fewer than half of them,
// because what most members want is what the network needs. Those that are slow
// together are tested together: one that is listened to meanwhile would bring the
// rate down to what the others can take, and they would pass. When a least
// rate is set and reached, there is nothing else that could be done for them.
func (s *Session) mayTest() bool {
	if s.cfg.MinRate > 0 && s.rate.Rate() <= float64(s.cfg.MinRate) {
		return true
	}
	active, tested := 0, 0
	for _, m := range s.members {
		if m.active() {
			active++
			if !m.test.began.IsZero() {
				tested++
			}
		}
	}
	return active >= stragglerMembers && tested < (active-1)/2
}

// movedNow lists members for a beacon: those that moved and have not left, as
// many as fit, in turns.
func (s *Session) movedNow() []uint32 {
	kept := s.moved[:0]
	for _, id := range s.moved {
		if m := s.members[id]; m != nil && m.state == MemberMoved {
			kept = append(kept, id)
		}
	}
	s.moved = kept
	if len(kept) <= wire.MaxMoved {
		return append([]uint32(nil), kept...)
	}
	turn := append([]uint32(nil), kept[:wire.MaxMoved]...)
	copy(kept, kept[wire.MaxMoved:])
	copy(kept[len(kept)-wire.MaxMoved:], turn)
	return turn
}
