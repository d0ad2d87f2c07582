package multicast

import "time"

// Rate control. The sender looks for the highest rate at which datagrams do not
// queue up and are not lost because of it. Two signs are used, each the worst
// of all members in a round of reports:
//
//   - queueing delay, which rises before anything is lost;
//   - loss above the member's floor. A floor exists because some links lose at
//     any rate (wireless, bad cables): when a cut does not make the loss
//     smaller, the loss is not of our making and becomes the floor.
//
// After a cut the rate starts from what the worst member really received.
const (
	startRate = 100e6 // bits per second
	minRate   = 2e6   // bits per second: keeps the loop of reports alive

	startGrowth = 1.5  // per round, until the first cut
	growth      = 1.04 // per round, afterwards
	cutTo       = 0.92 // of what the worst member received
	floorDecay  = 0.98 // per round, so that a floor is checked again

	delayTarget = 20 * time.Millisecond // queueing delay that asks for a cut
	lossTarget  = 0.03                  // loss above the floor that asks for a cut
	minRound    = 50 * time.Millisecond
)

// controller holds the rate of one session. The session's lock is held.
type controller struct {
	rate  float64 // bits per second
	limit float64 // bits per second; the cap by setting

	starting bool
	roundEnd time.Time
	cutLoss  float64 // worst loss above floor that caused the last cut; 0 after a good round
	worst    *lossMeter
	delay    time.Duration
	busy     bool // the last round sent as much as it was allowed to
}

func newController(limit float64) *controller {
	if limit <= 0 {
		limit = 100e9
	}
	return &controller{rate: min(startRate, limit), limit: limit, starting: true}
}

// lossMeter follows one member's loss, over windows that hold enough packets to
// mean something.
type lossMeter struct {
	sent, got uint64 // at the start of the window
	loss      float64
	floor     float64
	fresh     bool // loss was measured in this round
}

// minWindow is the number of packets a loss figure is made of.
const minWindow = 400

// report takes a member's counters: the highest packet number it saw and how
// many packets it received.
func (m *lossMeter) report(highest, received uint64) {
	if m.sent == 0 || highest < m.sent || received < m.got {
		m.sent, m.got = highest, received
		return
	}
	if n := highest - m.sent; n >= minWindow {
		m.loss = max(0, 1-float64(received-m.got)/float64(n))
		m.fresh = true
		m.sent, m.got = highest, received
	}
}

// observe takes one member's news in the current round.
func (c *controller) observe(m *lossMeter, delay time.Duration) {
	c.delay = max(c.delay, delay)
	if m.fresh {
		if c.worst == nil || m.loss-m.floor > c.worst.loss-c.worst.floor {
			c.worst = m
		}
		m.fresh = false
	}
}

// round ends a round when it is over and adapts the rate. interval is the time
// between reports; utilisation is the share of the allowed rate that was used.
func (c *controller) round(now time.Time, interval time.Duration, utilisation float64) {
	if c.roundEnd.IsZero() {
		c.roundEnd = now.Add(max(2*interval, minRound))
		return
	}
	if now.Before(c.roundEnd) {
		return
	}
	c.roundEnd = now.Add(max(2*interval, minRound))
	excess, loss := 0.0, 0.0
	if c.worst != nil {
		loss = c.worst.loss
		excess = loss - c.worst.floor
	}
	switch {
	case excess > lossTarget && c.cutLoss > 0 && excess > 0.7*c.cutLoss:
		// The cut changed nothing: this link loses by itself.
		c.worst.floor = loss
		c.cutLoss = 0
	case excess > lossTarget:
		c.cut(c.rate * min(utilisation, 1) * (1 - loss) * cutTo)
		c.cutLoss = excess
	case c.delay > delayTarget:
		c.cut(c.rate * min(utilisation, 1) * cutTo)
		c.cutLoss = 0
	default:
		c.cutLoss = 0
		if utilisation > 0.7 {
			g := growth
			if c.starting {
				g = startGrowth
			}
			c.rate = min(c.rate*g, c.limit)
		}
	}
	if c.worst != nil {
		c.worst.floor *= floorDecay
	}
	c.worst = nil
	c.delay = 0
}

func (c *controller) cut(to float64) {
	c.starting = false
	c.rate = min(max(to, c.rate/2, minRate), c.limit)
}
