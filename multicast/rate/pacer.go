package rate

import "time"

// Pacer spreads bursts so that their mean is the rate. A burst is what one
// segmented send carries; switches take that much, and smaller ones would cost
// a system call each. The zero value is ready to use, and counts as late: its first
// bursts catch up.
type Pacer struct {
	next  time.Time // when the next burst is due
	least time.Time // when it is due at the session's least rate, which is a promise
}

// NewPacer makes a pacer that is not late: its first burst is due at the given time.
func NewPacer(due time.Time) *Pacer { return &Pacer{next: due} }

// maxLag is how late the pacer may be and still catch up. Timers wake late by
// up to a millisecond or two; what lies further back is forgotten, because it
// would go out as one flood.
const maxLag = 4 * time.Millisecond

// maxDebt is how many bytes of the least rate are sent at once when the sender is late:
// 42 ms at 50 Mbit/s. On a host with more to do than its processors can, a timer is
// late by more than maxLag each time, and a session that forgets it never has the rate
// that it was promised.
const maxDebt = 256 << 10

// ahead is how early a burst may go. Bursts that are due within it go out one
// after the other, because a sleep for each costs more than sealing it; the train
// is what the session may send in that time, which any switch port's queue takes.
const ahead = time.Millisecond

// Reserve books a burst of n bytes at rate bits per second and returns how long
// to wait before sending it, 0 for less than ahead. least is the rate that is to be
// kept even when the sender is late again and again, 0 for none.
func (p *Pacer) Reserve(now time.Time, n int, rate, least float64) time.Duration {
	wait := book(&p.next, now, n, rate, maxLag)
	if least = min(least, rate); least > 0 {
		if p.least.IsZero() {
			p.least = now.Add(wait)
		}
		wait = min(wait, book(&p.least, now, n, least, max(maxLag, lasting(maxDebt, least))))
		if p.least.After(p.next) { // what was sent beyond the promise does not count against it
			p.least = p.next
		}
	}
	if wait < ahead {
		return 0
	}
	return wait
}

// Rest tells that there is nothing to send: the next burst is not late.
func (p *Pacer) Rest() { p.least = time.Time{} }

// book moves the time when the next burst is due, which may lie back by lag at most,
// and returns how far away it was.
func book(due *time.Time, now time.Time, n int, rate float64, lag time.Duration) time.Duration {
	if due.Before(now.Add(-lag)) {
		*due = now.Add(-lag)
	}
	wait := due.Sub(now)
	*due = due.Add(lasting(n, rate))
	return wait
}

// lasting is how long n bytes take at rate bits per second.
func lasting(n int, rate float64) time.Duration {
	return time.Duration(float64(n*8) / rate * float64(time.Second))
}
