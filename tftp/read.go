package tftp

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"golang.org/x/time/rate"
)

// reader carries out one read transfer over a link: the sending side of RFC 1350
// and RFC 7440. It has no goroutine of its own and no lock.
type reader struct {
	link     link
	src      source
	terms    Terms
	oack     []byte // first answer; nil when no option was agreed on
	idle     time.Duration
	limiters []*rate.Limiter
	heard    func() // called for each datagram of the client
	stats    *Stats

	est    estimator
	window int

	// Block numbers. acked <= next-1 <= maxSent <= acked+window.
	acked   int64 // this block and all before it are acknowledged
	next    int64 // the next block to send
	maxSent int64 // the highest block ever sent
	final   int64 // the last block of the file; -1 until it was read
	tail    int64 // its payload in bytes

	flight   time.Time // when the current flight began to leave
	sent     time.Time // when its last block left
	again    bool      // the flight holds a block that was sent before
	patience int       // see spendPatience

	progress time.Time // when something new was acknowledged, or the start
	refusals int       // how many refused datagrams in a row
	tries    int       // how often the last flight was repeated

	in [256]byte // the client's datagram: ACK, or the beginning of an ERROR
}

// Dup ACKs that may make us go back: patienceStart at first, one more for every
// patienceFlights flights that went through.
const (
	patienceStart   = 4
	patienceMax     = 8
	patienceFlights = 8
)

// maxRefusals is how many ICMP refusals in a row end a transfer: the first may be
// a machine that restarts its network stack between two loaders.
const maxRefusals = 3

// run carries the transfer out. It returns nil when the last block was
// acknowledged or may be taken as such; *PeerError, ErrPeerClosed, ErrSilent,
// the cause of ctx's end, or an error of the file or the network otherwise.
func (r *reader) run(ctx context.Context) error {
	r.final = -1
	r.window = r.terms.Window
	r.next = 1
	r.est.ceiling = r.terms.Timeout
	r.patience = patienceStart * patienceFlights
	r.progress = time.Now()
	if len(r.oack) > 0 {
		if err := r.offer(ctx); err != nil {
			return err
		}
	}
	defer r.settle()
	for {
		if err := r.fly(ctx); err != nil {
			return err
		}
		done, err := r.wait(ctx)
		if done || err != nil {
			return err
		}
	}
}

// settle counts what arrived.
func (r *reader) settle() {
	r.stats.RTT = r.est.srtt
	r.stats.Blocks = r.acked
	r.stats.Bytes = r.acked * int64(r.terms.BlockSize)
	if r.acked == r.final {
		r.stats.Bytes += r.tail - int64(r.terms.BlockSize)
	}
}

// offer sends the OACK until ACK 0 comes.
func (r *reader) offer(ctx context.Context) error {
	again := false
	for {
		if err := r.link.send(r.oack); err != nil {
			return err
		}
		sent := time.Now()
		for {
			a, err := r.receive(ctx, sent.Add(r.est.interval()))
			if errors.Is(err, os.ErrDeadlineExceeded) {
				break
			}
			if err == ErrPeerClosed { //nolint:errorlint // see receive
				continue
			}
			if err != nil {
				return err
			}
			if a.block != 0 {
				continue
			}
			now := time.Now()
			if !again {
				r.est.sample(now.Sub(sent))
			}
			r.est.progress()
			r.progress = now
			r.setWindow(a)
			return nil
		}
		if time.Since(r.progress) >= r.idle {
			return ErrSilent
		}
		r.stats.Timeouts++
		r.est.expired()
		again = true
	}
}

// fly sends from next to the end of the window or of the file.
func (r *reader) fly(ctx context.Context) error {
	end := r.acked + int64(r.window)
	if r.final >= 0 {
		end = min(end, r.final)
	}
	if r.next > end {
		return nil
	}
	r.again = r.next <= r.maxSent
	r.flight = time.Now()
	limit := maxBatch
	limited := false
	for _, l := range r.limiters {
		if l != nil {
			limited = true
			limit = max(1, min(limit, rateBurst/(r.terms.BlockSize+headerSize+28)))
		}
	}
	for r.next <= end {
		data, count, last, err := r.src.read(r.next, int(min(int64(limit), end-r.next+1)))
		if err != nil {
			return err
		}
		if limited {
			if err := pace(ctx, len(data)+count*(headerSize+28), r.limiters...); err != nil {
				return err
			}
		}
		if err := r.link.sendBlocks(r.next, count, r.terms.BlockSize, data); err != nil {
			return err
		}
		r.stats.Sent += int64(count)
		r.stats.Retransmitted += max(0, min(r.maxSent, r.next+int64(count)-1)-r.next+1)
		r.next += int64(count)
		r.maxSent = max(r.maxSent, r.next-1)
		if last {
			r.final = r.next - 1
			r.tail = int64(len(data) - (count-1)*r.terms.BlockSize)
			break
		}
	}
	r.sent = time.Now()
	return nil
}

// wait takes the client's datagrams until there is something to send, or nothing
// left to do.
func (r *reader) wait(ctx context.Context) (done bool, err error) {
	for {
		interval := r.est.interval()
		finishing := r.final >= 0 && r.next > r.final
		if finishing {
			interval = min(interval, lastInterval)
		}
		a, err := r.receive(ctx, r.sent.Add(interval))
		switch {
		case err == nil:
			if again, done := r.acknowledge(a); again || done {
				return done, nil
			}
		case errors.Is(err, ErrPeerClosed) && finishing:
			return true, nil // everything was sent, and the client has gone on
		case err == ErrPeerClosed: //nolint:errorlint // see receive
			// The retransmission asks again.
		case errors.Is(err, os.ErrDeadlineExceeded):
			r.stats.Timeouts++
			if finishing {
				if r.tries++; r.tries >= lastTries {
					return true, nil
				}
			}
			if time.Since(r.progress) >= r.idle {
				return false, ErrSilent
			}
			r.est.expired()
			r.next = r.acked + 1
			return false, nil
		default:
			return false, err
		}
	}
}

// acknowledge works an ACK in. again means that there is something to send.
func (r *reader) acknowledge(a ack) (again, done bool) {
	// The nearest block with this number, before or behind: up to 32767 either way.
	n := r.acked + int64(int16(a.block-uint16(r.acked)))
	now := time.Now()
	switch {
	case n < r.acked || n > r.maxSent:
		r.stats.DuplicateACKs++
		return false, false

	case n == r.acked:
		// Told before. In lock-step an answer would double every block from here to
		// the end (the sorcerer's apprentice); the timer repeats what is lost. With a
		// window it is also how a client says that the window's first block is
		// missing (RFC 7440 section 4).
		r.stats.DuplicateACKs++
		if r.window == 1 || r.next <= r.acked+1 || now.Sub(r.flight) < r.est.early() || !r.spendPatience() {
			return false, false
		}
		r.stats.GoBacks++
		r.setWindow(a)
		r.next = r.acked + 1
		return true, false
	}

	flown := r.next - 1
	r.acked = n
	r.progress = now
	r.refusals, r.tries = 0, 0
	r.setWindow(a)
	r.est.progress()
	if n == r.final {
		r.stats.Confirmed = true
		return false, true
	}
	if n >= flown {
		if n == flown && !r.again {
			r.est.sample(now.Sub(r.sent))
			r.patience = min(r.patience+1, patienceMax*patienceFlights)
		}
		r.next = n + 1
		return true, false
	}
	// Less than the flight: the client misses block n+1, and dropped what followed.
	// When that block was just sent again, this ACK speaks of the time before.
	if r.again && now.Sub(r.flight) < r.est.early() {
		return false, false
	}
	r.stats.GoBacks++
	r.next = n + 1
	return true, false
}

// spendPatience tells whether a repeated ACK may make the server go back. A
// network that doubles every packet, or a client that repeats its ACK for every
// block it drops, looks the same as a lost block; so such repetitions may cause
// at most one flight in patienceFlights.
func (r *reader) spendPatience() bool {
	if r.patience < patienceFlights {
		return false
	}
	r.patience -= patienceFlights
	return true
}

// setWindow takes the client's next window, when msftwindow was agreed on. A
// window of no blocks would stop the transfer, so 0 counts as the smallest.
func (r *reader) setWindow(a ack) {
	if r.terms.VarWindow && a.hasWindow {
		r.window = max(1, int(a.window))
	}
}

// receive returns the client's next ACK. It returns *PeerError when the client
// sent an ERROR, ErrPeerClosed itself for a refused datagram that the transfer
// outlives, an error that wraps it when there were too many of them, and what
// link.receive returns.
func (r *reader) receive(ctx context.Context, deadline time.Time) (ack, error) {
	for {
		n, err := r.link.receive(r.in[:], deadline)
		if err != nil {
			switch {
			case errors.Is(err, errInterrupted):
				return ack{}, context.Cause(ctx)
			case errors.Is(err, ErrPeerClosed):
				if r.refusals++; r.refusals >= maxRefusals {
					return ack{}, fmt.Errorf("%w (told %d times)", ErrPeerClosed, r.refusals)
				}
			}
			return ack{}, err
		}
		r.heard()
		if a, ok := parseAck(r.in[:n]); ok {
			return a, nil
		}
		if e, ok := parseError(r.in[:n]); ok {
			return ack{}, &e
		}
		// Anything else has no meaning here.
	}
}
