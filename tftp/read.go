package tftp

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"golang.org/x/time/rate"

	"castpoint/internal/netio"
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
	heard    func()      // called for each datagram of the client
	moved    func() bool // whether the client has asked for something else since
	stats    *Stats

	est    estimator
	window int

	// Block numbers. acked <= next-1 <= maxSent <= acked+window.
	acked   int64 // this block and all before it are acknowledged
	next    int64 // the next block to send
	maxSent int64 // the highest block ever sent
	final   int64 // the last block of the file; -1 until it was read
	tail    int64 // its payload in bytes

	place   netio.Place // of blocks that are sent for the first time
	resent  int64       // blocks up to this one may have been sent twice
	flight  time.Time   // when the flight's first block left, or the last ACK that moved the window
	sent    time.Time   // when the newest block left
	suspect time.Time   // when a complaint will be believed; zero when there is none
	pacer   pacer

	progress   time.Time // when something new was acknowledged, or the start
	complaints int       // believed since then
	heardSince bool      // something came from the client since then
	refusals   int       // how many refused datagrams in a row
	known      bool      // the client has answered at least once

	in [256]byte // the client's datagram: ACK, or the beginning of an ERROR
}

// maxRefusals is how many ICMP refusals in a row end a transfer: the first may be
// a machine that restarts its network stack between two loaders.
const maxRefusals = 3

// run carries the transfer out. It returns nil when the last block was
// acknowledged or may be taken as such; *PeerError, ErrPeerClosed, ErrSilent,
// ErrStalled, the cause of ctx's end, or an error of the file or the network otherwise.
func (r *reader) run(ctx context.Context) error {
	r.final = -1
	r.window = r.terms.Window
	r.next = 1
	r.est.ceiling = r.terms.Timeout
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
		if err := r.src.ahead(r.next); err != nil {
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
			r.progress, r.heardSince = now, false
			r.setWindow(a)
			return nil
		}
		r.stats.Timeouts++
		if err := r.givenUp(); err != nil {
			return err
		}
		r.est.expired()
		again = true
	}
}

// fly sends from next to the end of the window or of the file. After an ACK of a
// whole flight that is a new flight; after an ACK of a part of it the window has
// moved on by that part.
func (r *reader) fly(ctx context.Context) error {
	end := r.acked + int64(r.window)
	if r.final >= 0 {
		end = min(end, r.final)
	}
	if r.next > end {
		return nil
	}
	if r.next == r.acked+1 {
		r.flight = time.Now()
	}
	// What was lost goes first when it is sent again: a client whose window is lost
	// over and over in a full queue waits for each of the intervals, which double.
	if r.next <= r.maxSent {
		r.link.stand(netio.Ordinary)
	} else {
		r.link.stand(r.place)
	}
	limit := maxBatch
	if len(r.limiters) > 0 {
		limit = max(1, min(limit, rateBurst/(r.terms.BlockSize+headerSize+28)))
	}
	for burst := 0; r.next <= end; {
		if burst >= r.pacer.burst() {
			if err := r.rest(ctx, burstGap); err != nil {
				return err
			}
			burst = 0
		}
		data, count, last, err := r.src.read(r.next, int(min(int64(limit), end-r.next+1, int64(r.pacer.burst()-burst))))
		if err != nil {
			return err
		}
		if len(r.limiters) > 0 {
			if err := r.rest(ctx, reserve(len(data)+count*(headerSize+28), r.limiters)); err != nil {
				return err
			}
		}
		if err := r.link.sendBlocks(r.next, count, r.terms.BlockSize, data); err != nil {
			return err
		}
		burst += count
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

// rest lets time pass.
func (r *reader) rest(ctx context.Context, d time.Duration) error {
	if d <= 0 {
		return nil
	}
	if r.link.sleep(d) != nil {
		return context.Cause(ctx)
	}
	return nil
}

// wait takes the client's datagrams until there is something to send, or nothing
// left to do.
func (r *reader) wait(ctx context.Context) (done bool, err error) {
	for {
		finishing := r.finishing()
		deadline := r.sent.Add(r.est.interval())
		if finishing && !r.heardSince {
			end := r.progress.Add(lastWait)
			if r.moved() || end.Before(deadline) {
				deadline = end
			}
		}
		complaint := !r.suspect.IsZero() && r.suspect.Before(deadline)
		if complaint {
			deadline = r.suspect
		}
		a, err := r.receive(ctx, deadline)
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
			if complaint {
				r.stats.GoBacks++
				r.complaints++
			} else {
				if finishing && !r.heardSince {
					if time.Since(r.progress) >= lastWait {
						return true, nil
					}
					if r.moved() {
						continue
					}
				}
				r.stats.Timeouts++
				r.est.expired()
			}
			r.goBack()
			return false, r.givenUp()
		default:
			return false, err
		}
	}
}

// finishing tells whether everything was sent, and the client is only to say that
// it has it. Some never do: the Windows boot manager keeps silent about the last
// block of what it has loaded and asks for its next file. Then nothing is repeated
// any more unless the client asks.
func (r *reader) finishing() bool { return r.known && r.final >= 0 && r.next > r.final }

// givenUp returns an error when nothing new was acknowledged for too long. A client
// that never answered gets no more than a few answers: its address may be forged,
// and all that goes there a nuisance.
func (r *reader) givenUp() error {
	switch {
	case time.Since(r.progress) < r.idle && (r.known || r.stats.Timeouts < firstTries):
		return nil
	case r.heardSince:
		return ErrStalled
	}
	return ErrSilent
}

// goBack makes fly start behind the last acknowledged block again.
func (r *reader) goBack() {
	if r.window > 1 {
		r.pacer.lost()
	}
	r.resent = r.maxSent
	r.next = r.acked + 1
	r.suspect = time.Time{}
}

// acknowledge works an ACK in. again means that there is something to send.
//
// An ACK that leaves a part of the window open is a complaint: the client misses
// the next block and has dropped what came behind it (RFC 7440 section 4). But the
// same ACK also comes from a client that acknowledges oftener than it asked for,
// or meets a block for the second time, or from a network that doubles packets;
// going back at once would then send everything twice, and make more of these
// ACKs: the sorcerer's apprentice of RFC 1123 section 4.2.3.1, a window at a time.
// So a complaint is believed only when nothing new is acknowledged in the time
// that a window normally takes, and twice as long each time that believing it did
// not help. In lock-step the timer alone repeats blocks.
func (r *reader) acknowledge(a ack) (again, done bool) {
	// The nearest block with this number, before or behind: up to 32767 either way.
	n := r.acked + int64(int16(a.block-uint16(r.acked)))
	if n < r.acked || n > r.maxSent {
		r.stats.DuplicateACKs++
		return false, false
	}
	now := time.Now()
	if n == r.acked {
		r.stats.DuplicateACKs++
		if r.finishing() && r.moved() {
			r.goBack() // no timer would
			return true, false
		}
		if r.window > 1 && r.next > r.acked+1 && r.suspect.IsZero() {
			r.suspect = now.Add(r.est.patience() << min(r.complaints, 12))
		}
		return false, false
	}
	r.acked = n
	r.progress = now
	r.refusals, r.complaints, r.heardSince = 0, 0, false
	r.suspect = time.Time{}
	r.setWindow(a)
	r.est.progress()
	if n == r.final {
		r.stats.Confirmed = true
		return false, true
	}
	if n < r.next-1 {
		r.flight = now
		r.suspect = now.Add(r.est.patience() << min(r.complaints, 12))
		return r.next <= n+int64(r.window), false
	}
	if n > r.resent {
		r.est.sample(now.Sub(r.sent))
		r.est.turned(now.Sub(r.flight))
		r.pacer.passed()
	}
	r.next = n + 1
	return true, false
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
		r.known, r.heardSince = true, true
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
