package rate

import (
	"math"
	"slices"
	"time"
)

// Tuning of the controller.
const (
	startRate = 100e6 // bits per second, when nothing is known of the link
	maxStart  = 500e6 // bits per second, whatever the link's speed: others' may be slower
	startPart = 0.25  // of the link's speed, between the two
	minRate   = 2e6   // bits per second: keeps the loop of reports alive

	startGrowth = 2.0  // per round, until the first cut
	fastGrowth  = 1.15 // per round, far below the rate of the last cut
	growth      = 0.03 // per round, near it and above; ...
	patience    = 4    // ... doubled after so many rounds without a cut
	maxGrowth   = 0.5  // per round
	near        = 0.85 // of the rate of the last cut
	cutTo       = 0.85 // of what the worst member received

	delayTarget = 40 * time.Millisecond // queueing delay that asks for a cut
	delayNone   = 4 * time.Millisecond  // less than this is no queue
	lossTarget  = 0.03                  // loss above the floor that asks for a cut ...
	lossNoise   = 0.25                  // ... and this share of the floor, for its variance
	// pressLoss is borne while others are to give way, in place of lossTarget and
	// delayTarget. A TCP stream that loses so much moves next to nothing, whatever its
	// congestion control; repair symbols for it are what the link costs then.
	pressLoss  = 0.1
	minRound   = 50 * time.Millisecond
	startRound = 10 * time.Millisecond // until the first cut
	// trialReports is how many report intervals a cut's cause has to be measured
	// again: two windows of packets and a lost report.
	trialReports = 4
)

// Controller holds the rate of one session. It has no lock, and no clock: who calls
// says what time it is.
type Controller struct {
	rate  float64 // bits per second
	limit float64 // bits per second; the cap by setting
	least float64 // bits per second; never slower
	yield float64 // bits per second; the cap out of politeness, 0 for none
	press bool    // others on the link are to give way

	starting bool
	roundAt  time.Time    // when the running round began, and ...
	roundOut uint64       // ... how many bytes had been sent by then
	lossy    []*LossMeter // members with fresh loss figures in this round
	delay    time.Duration

	// The last cut, while it is on trial: whether it made the loss smaller for
	// the member that caused it.
	trial       bool
	cause       *LossMeter // nil when it was not loss
	verdict     time.Time  // the cause is not waited for any longer
	settling    time.Time  // until then what was sent before the cut is under way
	trials      int        // counts cuts
	good        int        // rounds of growth since the last cut
	trialExcess float64
	before      float64 // rate before it, as far as it got through
	wasStarting bool
}

// noLimit is the cap of a session without one, in bits per second.
const noLimit = 100e9

// NewController has a rate of at most limit, 0 for any, and at least least. It
// starts at a share of the speed of the sender's link, 0 when that is not known.
// All are bits per second.
func NewController(limit, least, speed float64) *Controller {
	c := &Controller{rate: max(min(max(startPart*speed, startRate), maxStart), least), least: max(minRate, least), starting: true}
	c.SetLimit(limit)
	return c
}

// SetLimit changes the cap; 0 takes it away.
func (c *Controller) SetLimit(limit float64) {
	if limit <= 0 {
		limit = noLimit
	}
	c.limit = limit
	c.rate = min(c.rate, limit)
}

// Rate is the present rate, in bits per second.
func (c *Controller) Rate() float64 { return c.rate }

// Press says whether others on the link are to give way.
func (c *Controller) Press(yes bool) { c.press = yes }

// Measure takes a member's counters into its meter: the highest packet number it saw
// and how many packets it received.
func (c *Controller) Measure(m *LossMeter, highest, received uint64) {
	m.report(highest, received, c.trials)
}

// Observe takes one member's news in the current round. The worst of many
// members has had the worst luck: with the number of members grows how much of
// its loss chance explains.
func (c *Controller) Observe(m *LossMeter, delay time.Duration, members int) {
	c.delay = max(c.delay, delay)
	if m.fresh {
		m.fresh = false
		deviation := math.Sqrt(m.loss * (1 - m.loss) / float64(m.packets))
		m.doubt = lossSmooth * math.Sqrt(2*math.Log(float64(max(members, 1)))) * deviation
		c.lossy = append(c.lossy, m)
	}
}

// Round ends a round when it is over and adapts the rate. interval is the time
// between reports; out is how many bytes the session has sent so far.
func (c *Controller) Round(now time.Time, interval time.Duration, out uint64) {
	took, least := now.Sub(c.roundAt), minRound
	if c.starting {
		least = startRound
	}
	if took < max(2*interval, least) {
		return
	}
	if c.awaitsCause(now, interval) {
		return
	}
	first := c.roundAt.IsZero()
	utilisation := float64(out-c.roundOut) * 8 / took.Seconds() / c.rate
	c.roundAt, c.roundOut = now, out
	if first {
		return
	}
	var worst *LossMeter
	for _, m := range c.lossy {
		if worst == nil || m.excess() > worst.excess() {
			worst = m
		}
	}
	lossTarget, delayTarget := lossTarget, delayTarget
	if c.press {
		lossTarget, delayTarget = pressLoss, math.MaxInt64
	}
	switch {
	case now.Before(c.settling):
	case !c.settling.IsZero():
		// Only what is measured from here on speaks of the new rate.
		c.settling = time.Time{}
		c.trials++
		c.verdict = now.Add(2*minRound + trialReports*interval)
	case worst != nil && worst.excess() > lossTarget && c.trial && worst.excess() > floorSettled*c.trialExcess && c.delay < delayNone:
		// The cut changed nothing: these links lose by themselves.
		for _, m := range c.lossy {
			if m.excess() > lossTarget*floorSettled {
				m.floor = m.loss
			}
		}
		c.rate, c.starting, c.trial, c.cause = c.before, c.wasStarting, false, nil
		c.before = 0
	case worst != nil && worst.excess() > lossTarget:
		c.trial, c.trialExcess, c.wasStarting, c.cause = true, worst.excess(), c.starting, worst
		c.cut(now, utilisation*(1-worst.loss))
	case c.delay > delayTarget:
		c.trial, c.cause = false, nil
		c.cut(now, utilisation)
	case worst == nil && (c.trial || c.starting):
		// Too few packets to tell what the last step did.
	default:
		c.trial, c.cause = false, nil
		if utilisation > 0.7 {
			c.rate = min(c.rate*c.growth(), c.limit)
			c.good++
		}
	}
	c.Give(c.yield)
	c.lossy = c.lossy[:0]
	c.delay = 0
}

// Yields reports whether the rate is kept under what politeness leaves.
func (c *Controller) Yields() bool { return c.yield > 0 }

// Give keeps the rate under what politeness leaves; 0 leaves all.
func (c *Controller) Give(yield float64) {
	if c.yield = yield; yield > 0 && c.rate > yield {
		c.rate, c.starting = max(yield, c.least), false
	}
}

// awaitsCause reports whether a cut is on trial and the member that caused it has
// not been measured since. With many members only some report in a round.
func (c *Controller) awaitsCause(now time.Time, interval time.Duration) bool {
	if !c.trial || c.cause == nil || !c.settling.IsZero() || now.After(c.verdict) || c.delay > delayTarget {
		return false
	}
	return !slices.Contains(c.lossy, c.cause)
}

// growth is the factor for the next round. The longer all goes well, the less
// the last cut has to say: what it met may be gone.
func (c *Controller) growth() float64 {
	switch {
	case c.starting:
		return startGrowth
	case c.rate < near*c.before:
		return fastGrowth
	}
	return 1 + min(growth*float64(int(1)<<min(c.good/patience, 8)), maxGrowth)
}

// cut goes to what got through of the present rate. The queue that has built up
// takes as long to drain as it is long.
func (c *Controller) cut(now time.Time, through float64) {
	c.before = c.rate * min(through, 1)
	if c.trial {
		c.before = c.rate
	}
	c.starting, c.good = false, 0
	c.settling = now.Add(c.delay + c.delay/2)
	to := cutTo
	if c.press {
		to = 1
	}
	c.rate = min(max(c.rate*min(through, 1)*to, c.rate/2, c.least), c.limit)
}
