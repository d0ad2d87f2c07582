package flow

import "time"

// Tuning. RFC 6298 is the model of the retransmission interval, with limits for
// a boot network instead of for the Internet.
const (
	initialInterval = time.Second           // RFC 6298 section 2.1, before the first measurement
	minInterval     = 50 * time.Millisecond // firmware that polls its card is late by up to 20 ms
	maxInterval     = 4 * time.Second       // no client waits longer than this before it repeats itself
	lastWait        = 5 * time.Second       // without the last ACK, then the transfer counts as finished, unconfirmed
	firstTries      = 6                     // answers to a request of which nothing more is heard
)

// estimator follows the round-trip time and says how long to wait before a
// flight is repeated (RFC 6298). Its zero value has measured nothing yet.
type estimator struct {
	ceiling time.Duration // the client's timeout option; 0 when it did not ask

	srtt, rttvar time.Duration
	turn         time.Duration // smoothed time from one ACK of a flight to the next
	doublings    uint
}

// sample adds a measurement. It must come from a flight of which no block was
// sent twice (Karn's rule).
func (e *estimator) sample(d time.Duration) {
	d = max(d, time.Microsecond)
	if e.srtt == 0 {
		e.srtt, e.rttvar = d, d/2
		return
	}
	diff := e.srtt - d
	if diff < 0 {
		diff = -diff
	}
	e.rttvar += (diff - e.rttvar) / 4
	e.srtt += (d - e.srtt) / 8
}

// progress tells that something new was acknowledged.
func (e *estimator) progress() { e.doublings = 0 }

// expired tells that the interval passed in vain; the next one is twice as long.
func (e *estimator) expired() {
	if e.doublings < 8 {
		e.doublings++
	}
}

// interval is the time to wait for an ACK before sending again. The client's own
// timeout is a ceiling and the first guess: it asked not to be left waiting
// longer, and a measured network may be served sooner.
func (e *estimator) interval() time.Duration {
	limit := maxInterval
	if e.ceiling > 0 {
		limit = min(e.ceiling, limit)
	}
	d := initialInterval
	if e.srtt > 0 {
		d = max(e.srtt+4*e.rttvar, minInterval)
	}
	d <<= e.doublings
	return min(d, limit)
}

// turned adds the time from the ACK that let a flight go, or from its start, to
// the ACK of the whole flight.
func (e *estimator) turned(d time.Duration) {
	d = max(d, time.Microsecond)
	if e.turn == 0 {
		e.turn = d
	}
	e.turn += (d - e.turn) / 8
}

// patience is how long after a complaint the client may still prove it wrong: the
// time in which it acknowledges a whole window, and half as much again. Before the
// first measurement, and on networks faster than a timer, it is a guess at what a
// retransmission is worth.
func (e *estimator) patience() time.Duration {
	if e.turn == 0 {
		return 10 * time.Millisecond
	}
	return max(e.turn*3/2, time.Millisecond)
}

// pacer spreads a flight over time for a client or a switch that loses a part of
// every window sent at line speed: a client must get all blocks of its window
// before it answers, so they cannot be fewer, only slower. Its zero value does not
// spread anything.
type pacer struct {
	limit int  // blocks in a burst; 0 is no limit
	clean int  // flights without a loss since the limit last changed
	need  int  // as many clean flights double the limit
	grown bool // the last change was to a higher limit
}

// Bursts are spread when losses repeat, never below what a port of 100 Mbit/s
// takes: 8 full blocks in a millisecond, the shortest sleep that can be relied on.
const (
	burstGap   = time.Millisecond
	burstStart = 32 // blocks in a burst after the first loss
	burstMin   = 8
	burstMax   = 256 // more than any usual window: not spread
	burstClean = 16  // flights without a loss that double the burst,
	burstTrust = 512 // and twice as many each time that this was too soon, up to here
)

func (p *pacer) burst() int {
	if p.limit == 0 {
		return burstMax
	}
	return p.limit
}

// lost tells of a flight that lost something.
func (p *pacer) lost() {
	p.clean = 0
	if p.need == 0 {
		p.need = burstClean
	}
	if p.grown {
		p.need = min(2*p.need, burstTrust)
	}
	p.grown = false
	if p.limit == 0 {
		p.limit = burstStart
		return
	}
	p.limit = max(p.limit/2, burstMin)
}

// passed tells of a flight that arrived whole at the first try.
func (p *pacer) passed() {
	if p.limit == 0 {
		return
	}
	if p.clean++; p.clean >= p.need {
		p.clean, p.grown = 0, true
		if p.limit *= 2; p.limit >= burstMax {
			p.limit = 0
		}
	}
}
