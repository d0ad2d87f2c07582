package sender

import (
	"time"

	"castpoint/multicast/wire"
)

// A member that has moved takes ranges of the object by HTTPS, and tells with each
// how fast the last one came. That is how the session knows what has become of it:
//
//   - ranges that come at half of the session's rate are a sign that the member
//     could keep up: it is asked back for a trial. Only a sign, because the ranges
//     share the sender's link with the session. In the trial it is tested like a
//     straggler, and holds up nobody; it must get more than a straggler must, so
//     that nobody goes to and fro, and each further move makes the time until the
//     next trial twice as long;
//   - several such members are better served together: they are asked into a
//     session of their own, which goes at their pace.
const (
	returnEvidence = 0.5 // of the session's rate, ...
	returnRanges   = 2   // ... for so many ranges in a row
	returnShare    = 0.8 // of what is sent that a member must get to stay; above stragglerShare
	returnWait     = 10 * time.Second
	returnWaitMost = 10 * time.Minute
	// slowerMembers is how many members that have moved make a slower session, and
	// apartMemory after how long without a range one is not counted.
	slowerMembers = 2
	apartMemory   = 2 * time.Minute
)

// Advice is what a member that takes ranges should do.
type Advice int

// What Advise answers.
const (
	AdviceStay   Advice = iota // go on
	AdviceBack                 // join again: it may keep up with the session now
	AdviceSlower               // join again: there are enough of its kind for a slower session
)

// apart is a member's time outside the session. The zero value: never moved.
type apart struct {
	moves int       // how often its machine has moved
	since time.Time // last move
	asked time.Time // last range
	fast  int       // ranges in a row that came fast enough
	asks  bool      // it was asked back
	trial bool      // it has come back and has to show what it gets
}

// leave begins a time outside.
func (a *apart) leave(now time.Time) {
	*a = apart{moves: a.moves + 1, since: now, asked: now}
}

// wait is how long the member stays outside at least.
func (a *apart) wait() time.Duration {
	return min(returnWait<<min(a.moves-1, 10), returnWaitMost)
}

// Advise tells a member that has moved, and asks for a range, what to do. rate is
// what its last range came at, in bits per second; 0 when it is the first. slower is
// how many members the slower session has. Members that have not moved are told to
// go on.
func (s *Session) Advise(id uint32, rate float64, slower int) Advice {
	now := time.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	m := s.members[id]
	if m == nil || m.state != MemberMoved {
		return AdviceStay
	}
	a := &m.apart
	a.asked = now
	switch {
	case s.state != wire.StateSending, rate < returnEvidence*s.rate.Rate():
		a.fast = 0
	default:
		a.fast++
	}
	if a.fast >= returnRanges && now.Sub(a.since) >= a.wait() {
		a.asks = true
		return AdviceBack
	}
	n := slower
	for _, id := range s.moved {
		if o := s.members[id]; o != nil && o.state == MemberMoved && now.Sub(o.apart.asked) < apartMemory {
			n++
		}
	}
	// One that may soon come back is not sent away.
	if n >= slowerMembers && a.fast == 0 {
		return AdviceSlower
	}
	return AdviceStay
}

// Outpaced reports whether the session is too fast for a member: it has moved and
// was not asked back. When it joins again, a slower session is the place for it.
func (s *Session) Outpaced(id uint32) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	m := s.members[id]
	return m != nil && m.state == MemberMoved && !m.apart.asks
}

// Rejoined tells that the member id is the machine that was the member former.
func (s *Session) Rejoined(id, former uint32) {
	s.mu.Lock()
	defer s.mu.Unlock()
	m, old := s.members[id], s.members[former]
	if m == nil || old == nil || m == old {
		return
	}
	m.apart = apart{moves: old.apart.moves, trial: old.apart.trial || old.state == MemberMoved}
}

// Present is how many members take part.
func (s *Session) Present() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.present()
}
