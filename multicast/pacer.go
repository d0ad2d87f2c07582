package multicast

import "time"

// pacer spreads bursts so that their mean is the rate. A burst is what one
// segmented send carries; switches take that much, and smaller ones would cost
// a system call each.
type pacer struct {
	next time.Time // when the next burst is due
}

// maxLag is how late the pacer may be and still catch up. Timers wake late by
// up to a millisecond or two; what lies further back is forgotten, because it
// would go out as one flood.
const maxLag = 4 * time.Millisecond

// ahead is how early a burst may go. Bursts that are due within it go out one
// after the other, because a sleep for each costs more than sealing it; the train
// is what the session may send in that time, which any switch port's queue takes.
const ahead = time.Millisecond

// reserve books a burst of n bytes at rate bits per second and returns how long
// to wait before sending it, 0 for less than ahead.
func (p *pacer) reserve(now time.Time, n int, rate float64) time.Duration {
	if p.next.Before(now.Add(-maxLag)) {
		p.next = now.Add(-maxLag)
	}
	wait := p.next.Sub(now)
	p.next = p.next.Add(time.Duration(float64(n*8) / rate * float64(time.Second)))
	if wait < ahead {
		return 0
	}
	return wait
}
