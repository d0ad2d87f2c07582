package flow

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"golang.org/x/time/rate"

	"castpoint/internal/netio"
	"castpoint/tftp/wire"
)

// Sending is what a Sender is made of.
type Sending struct {
	Link  Link
	File  io.ReaderAt
	Size  int64 // of the file, in bytes
	Mode  wire.Mode
	Terms wire.Terms
	OACK  []byte        // first answer; nil when no option was agreed on
	Idle  time.Duration // without anything new acknowledged, then the transfer ends

	Limiters []*rate.Limiter // bytes per second, headers included; nil ones limit nothing
	Heard    func()          // called for each datagram of the client
	Moved    func() bool     // whether the client has asked for something else since
	Stats    *Stats          // counts what is done; Size is left alone
}

// Sender carries out one read transfer over a link: the sending side of RFC 1350
// and RFC 7440. It has no goroutine of its own and no lock.
type Sender struct {
	link     Link
	src      source
	terms    wire.Terms
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

// NewSender makes a sender, and no datagram leaves yet.
func NewSender(c Sending) *Sender {
	s := &Sender{
		link: c.Link, terms: c.Terms, oack: c.OACK, idle: c.Idle, limiters: limiters(c.Limiters),
		heard: c.Heard, moved: c.Moved, stats: c.Stats, place: netio.PlaceOf(c.Size),
	}
	if c.Mode == wire.Netascii {
		window := c.Terms.Window
		if c.Terms.VarWindow {
			window = wire.MaxVarWindow
		}
		s.src = newNetascii(c.File, c.Size, c.Terms.BlockSize, window, c.Link.Blocking)
	} else {
		s.src = newOctets(c.File, c.Size, c.Terms.BlockSize, c.Terms.Window, c.Link.Blocking)
	}
	return s
}

// Run carries the transfer out. It returns nil when the last block was
// acknowledged or may be taken as such; *wire.PeerError, ErrPeerClosed, ErrSilent,
// ErrStalled, the cause of ctx's end, or an error of the file or the network otherwise.
func (s *Sender) Run(ctx context.Context) error {
	s.final = -1
	s.window = s.terms.Window
	s.next = 1
	s.est.ceiling = s.terms.Timeout
	s.progress = time.Now()
	if len(s.oack) > 0 {
		if err := s.offer(ctx); err != nil {
			return err
		}
	}
	defer s.settle()
	for {
		if err := s.fly(ctx); err != nil {
			return err
		}
		if err := s.src.ahead(s.next); err != nil {
			return err
		}
		done, err := s.wait(ctx)
		if done || err != nil {
			return err
		}
	}
}

// settle counts what arrived.
func (s *Sender) settle() {
	s.stats.RTT = s.est.srtt
	s.stats.Blocks = s.acked
	s.stats.Bytes = s.acked * int64(s.terms.BlockSize)
	if s.acked == s.final {
		s.stats.Bytes += s.tail - int64(s.terms.BlockSize)
	}
}

// offer sends the OACK until ACK 0 comes.
func (s *Sender) offer(ctx context.Context) error {
	again := false
	for {
		if err := s.link.Send(s.oack); err != nil {
			return err
		}
		sent := time.Now()
		for {
			a, err := s.receive(ctx, sent.Add(s.est.interval()))
			if errors.Is(err, os.ErrDeadlineExceeded) {
				break
			}
			if err == ErrPeerClosed { //nolint:errorlint // see receive
				continue
			}
			if err != nil {
				return err
			}
			if a.Block != 0 {
				continue
			}
			now := time.Now()
			if !again {
				s.est.sample(now.Sub(sent))
			}
			s.est.progress()
			s.progress, s.heardSince = now, false
			s.setWindow(a)
			return nil
		}
		s.stats.Timeouts++
		if err := s.givenUp(); err != nil {
			return err
		}
		s.est.expired()
		again = true
	}
}

// fly sends from next to the end of the window or of the file. After an ACK of a
// whole flight that is a new flight; after an ACK of a part of it the window has
// moved on by that part.
func (s *Sender) fly(ctx context.Context) error {
	end := s.acked + int64(s.window)
	if s.final >= 0 {
		end = min(end, s.final)
	}
	if s.next > end {
		return nil
	}
	if s.next == s.acked+1 {
		s.flight = time.Now()
	}
	// What was lost goes first when it is sent again: a client whose window is lost
	// over and over in a full queue waits for each of the intervals, which double.
	if s.next <= s.maxSent {
		s.link.Stand(netio.Ordinary)
	} else {
		s.link.Stand(s.place)
	}
	limit := MaxBatch
	if len(s.limiters) > 0 {
		limit = max(1, min(limit, rateBurst/(s.terms.BlockSize+wire.HeaderSize+28)))
	}
	for burst := 0; s.next <= end; {
		if burst >= s.pacer.burst() {
			if err := s.rest(ctx, burstGap); err != nil {
				return err
			}
			burst = 0
		}
		data, count, last, err := s.src.read(s.next, int(min(int64(limit), end-s.next+1, int64(s.pacer.burst()-burst))))
		if err != nil {
			return err
		}
		if len(s.limiters) > 0 {
			if err := s.rest(ctx, reserve(len(data)+count*(wire.HeaderSize+28), s.limiters)); err != nil {
				return err
			}
		}
		if err := s.link.SendBlocks(s.next, count, s.terms.BlockSize, data); err != nil {
			return err
		}
		burst += count
		s.stats.Sent += int64(count)
		s.stats.Retransmitted += max(0, min(s.maxSent, s.next+int64(count)-1)-s.next+1)
		s.next += int64(count)
		s.maxSent = max(s.maxSent, s.next-1)
		if last {
			s.final = s.next - 1
			s.tail = int64(len(data) - (count-1)*s.terms.BlockSize)
			break
		}
	}
	s.sent = time.Now()
	return nil
}

// rest lets time pass.
func (s *Sender) rest(ctx context.Context, d time.Duration) error {
	if d <= 0 {
		return nil
	}
	if s.link.Sleep(d) != nil {
		return context.Cause(ctx)
	}
	return nil
}

// wait takes the client's datagrams until there is something to send, or nothing
// left to do.
func (s *Sender) wait(ctx context.Context) (done bool, err error) {
	for {
		finishing := s.finishing()
		deadline := s.sent.Add(s.est.interval())
		if finishing && !s.heardSince {
			end := s.progress.Add(lastWait)
			if s.moved() || end.Before(deadline) {
				deadline = end
			}
		}
		complaint := !s.suspect.IsZero() && s.suspect.Before(deadline)
		if complaint {
			deadline = s.suspect
		}
		a, err := s.receive(ctx, deadline)
		switch {
		case err == nil:
			if again, done := s.acknowledge(a); again || done {
				return done, nil
			}
		case errors.Is(err, ErrPeerClosed) && finishing:
			return true, nil // everything was sent, and the client has gone on
		case err == ErrPeerClosed: //nolint:errorlint // see receive
			// The retransmission asks again.
		case errors.Is(err, os.ErrDeadlineExceeded):
			if complaint {
				s.stats.GoBacks++
				s.complaints++
			} else {
				if finishing && !s.heardSince {
					if time.Since(s.progress) >= lastWait {
						return true, nil
					}
					if s.moved() {
						continue
					}
				}
				s.stats.Timeouts++
				s.est.expired()
			}
			s.goBack()
			return false, s.givenUp()
		default:
			return false, err
		}
	}
}

// finishing tells whether everything was sent, and the client is only to say that
// it has it. Some never do: the Windows boot manager keeps silent about the last
// block of what it has loaded and asks for its next file. Then nothing is repeated
// any more unless the client asks.
func (s *Sender) finishing() bool { return s.known && s.final >= 0 && s.next > s.final }

// givenUp returns an error when nothing new was acknowledged for too long. A client
// that never answered gets no more than a few answers: its address may be forged,
// and all that goes there a nuisance.
func (s *Sender) givenUp() error {
	switch {
	case time.Since(s.progress) < s.idle && (s.known || s.stats.Timeouts < firstTries):
		return nil
	case s.heardSince:
		return ErrStalled
	}
	return ErrSilent
}

// goBack makes fly start behind the last acknowledged block again.
func (s *Sender) goBack() {
	if s.window > 1 {
		s.pacer.lost()
	}
	s.resent = s.maxSent
	s.next = s.acked + 1
	s.suspect = time.Time{}
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
func (s *Sender) acknowledge(a wire.Ack) (again, done bool) {
	// The nearest block with this number, before or behind: up to 32767 either way.
	n := s.acked + int64(int16(a.Block-uint16(s.acked)))
	if n < s.acked || n > s.maxSent {
		s.stats.DuplicateACKs++
		return false, false
	}
	now := time.Now()
	if n == s.acked {
		s.stats.DuplicateACKs++
		if s.finishing() && s.moved() {
			s.goBack() // no timer would
			return true, false
		}
		if s.window > 1 && s.next > s.acked+1 && s.suspect.IsZero() {
			s.suspect = now.Add(s.est.patience() << min(s.complaints, 12))
		}
		return false, false
	}
	s.acked = n
	s.progress = now
	s.refusals, s.complaints, s.heardSince = 0, 0, false
	s.suspect = time.Time{}
	s.setWindow(a)
	s.est.progress()
	if n == s.final {
		s.stats.Confirmed = true
		return false, true
	}
	if n < s.next-1 {
		s.flight = now
		s.suspect = now.Add(s.est.patience() << min(s.complaints, 12))
		return s.next <= n+int64(s.window), false
	}
	if n > s.resent {
		s.est.sample(now.Sub(s.sent))
		s.est.turned(now.Sub(s.flight))
		s.pacer.passed()
	}
	s.next = n + 1
	return true, false
}

// setWindow takes the client's next window, when msftwindow was agreed on. A
// window of no blocks would stop the transfer, so 0 counts as the smallest.
func (s *Sender) setWindow(a wire.Ack) {
	if s.terms.VarWindow && a.HasWindow {
		s.window = max(1, int(a.Window))
	}
}

// receive returns the client's next ACK. It returns *wire.PeerError when the client
// sent an ERROR, ErrPeerClosed itself for a refused datagram that the transfer
// outlives, an error that wraps it when there were too many of them, and what
// Link.Receive returns.
func (s *Sender) receive(ctx context.Context, deadline time.Time) (wire.Ack, error) {
	for {
		n, err := s.link.Receive(s.in[:], deadline)
		if err != nil {
			switch {
			case errors.Is(err, ErrInterrupted):
				return wire.Ack{}, context.Cause(ctx)
			case errors.Is(err, ErrPeerClosed):
				if s.refusals++; s.refusals >= maxRefusals {
					return wire.Ack{}, fmt.Errorf("%w (told %d times)", ErrPeerClosed, s.refusals)
				}
			}
			return wire.Ack{}, err
		}
		s.known, s.heardSince = true, true
		s.heard()
		if a, ok := wire.ParseAck(s.in[:n]); ok {
			return a, nil
		}
		if e, ok := wire.ParseError(s.in[:n]); ok {
			return wire.Ack{}, &e
		}
		// Anything else has no meaning here.
	}
}
