package tftp

import "time"

// estimator follows the round-trip time and says how long to wait before a
// flight is repeated (RFC 6298). Its zero value has measured nothing yet.
type estimator struct {
	ceiling time.Duration // the client's timeout option; 0 when it did not ask

	srtt, rttvar time.Duration
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

// patience is how long after a complaint the client may still prove it wrong:
// about a round trip. Before the first measurement, and on networks faster than a
// timer, it is a guess at what a retransmission is worth.
func (e *estimator) patience() time.Duration {
	if e.srtt == 0 {
		return 10 * time.Millisecond
	}
	return max(e.srtt+2*e.rttvar, time.Millisecond)
}
