package rate

import "time"

// MinWindow is how many packets a loss figure is made of, at least.
const MinWindow = 400

const (
	lossSmooth   = 0.4 // weight of a new window
	floorSmooth  = 0.1 // how fast the floor follows when there is less loss
	floorSettled = 0.7 // a cut that leaves more than this of the excess did not help
)

// LossMeter follows one member's loss, over windows that hold enough packets to
// mean something.
type LossMeter struct {
	sent, got uint64  // at the start of the window
	packets   uint64  // in the last window
	loss      float64 // smoothed
	floor     float64
	doubt     float64 // how much of loss may be chance
	fresh     bool    // loss was measured in this round
	trial     int     // the controller's trial that loss belongs to
}

// report takes a member's counters: the highest packet number it saw and how
// many packets it received. A new trial starts the figure anew.
func (m *LossMeter) report(highest, received uint64, trial int) {
	if m.sent == 0 || highest < m.sent || received < m.got || m.trial != trial {
		if m.trial != trial {
			m.loss = -1
		}
		m.sent, m.got, m.trial = highest, received, trial
		return
	}
	n := highest - m.sent
	if n < MinWindow {
		return
	}
	loss := max(0, 1-float64(received-m.got)/float64(n))
	if m.loss < 0 {
		m.loss = loss
	}
	m.loss += (loss - m.loss) * lossSmooth
	m.fresh, m.packets = true, n
	m.sent, m.got = highest, received
	switch {
	case m.loss < m.floor/2:
		m.floor = m.loss // the link is not what it was
	case m.loss < m.floor:
		m.floor += (m.loss - m.floor) * floorSmooth
	}
}

// excess is the loss above what the floor, its noise and chance explain.
func (m *LossMeter) excess() float64 { return m.loss - m.floor*(1+lossNoise) - m.doubt }

// WantsLess reports whether a member with this loss and this queueing delay asks for a
// lower rate.
func (m *LossMeter) WantsLess(delay time.Duration) bool {
	return m.excess() > lossTarget || delay > delayTarget
}

// Loss is the share of datagrams that was lost lately, 0 to 1.
func (m *LossMeter) Loss() float64 { return max(m.loss, 0) }

// Floor is the share of datagrams that is lost whatever the rate.
func (m *LossMeter) Floor() float64 { return m.floor }
