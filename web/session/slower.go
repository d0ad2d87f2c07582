package session

import (
	"castpoint/multicast"
	"castpoint/multicast/sender"
)

// Machines on slow links must not hold up a session, and need not go without one:
// when a session has moved several of them to unicast, they are asked into a session
// of their own for the same content. It goes at their pace, and lives on when the
// first one ends. Who joins anew comes into the first one.

// Place is a member's place in a session.
type Place struct {
	Session *Session
	Member  uint32
	Parcel  Parcel // what it receives
}

// slower makes the start rule of the session for those that c outpaces: they have
// waited already. Each of them got less than half of what c sends.
func (c *Session) slower(rule StartRule) StartRule {
	if c.slow {
		return StartRule{Open: rule.Open, Rate: c.rate, slow: true}
	}
	return StartRule{Open: rule.Open, Rate: max(int64(c.Status().Target/2), slowestCap), slow: true}
}

// slowestCap is the least cap of a slower session, in bits per second: the first one
// may have been slow itself when it ended.
const slowestCap = 10e6

// Outpaced reports whether a member that joins again belongs into the slower
// session: it was there, or the first one has moved it and not asked it back.
func (m Place) Outpaced() bool {
	if m.Session.slow {
		return !m.Session.Over()
	}
	return m.Session.Outpaced(m.Member)
}

// Advise says why a member that takes ranges should join again; "" for going on.
func (k *Keeper) Advise(m Place, rate float64) string {
	c := m.Session
	k.mu.Lock()
	beside := 0
	for _, other := range k.live {
		if other.slow && !c.slow && other.link == c.link && other.cargo.carries(m.Parcel.Digest) && !other.Over() {
			beside += other.Present()
		}
	}
	k.mu.Unlock()
	switch c.Advise(m.Member, rate, beside) {
	case sender.AdviceBack:
		return multicast.JoinBack
	case sender.AdviceSlower:
		if !c.slow {
			return multicast.JoinSlower
		}
	}
	return ""
}
