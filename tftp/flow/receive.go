package flow

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"castpoint/tftp/wire"
)

// Receiving is what a Receiver is made of.
type Receiving struct {
	Link     Link
	To       io.Writer    // takes the bytes in order
	Commit   func() error // called when all are there; the client is told only when it returns nil
	Mode     wire.Mode
	Terms    wire.Terms
	First    []byte        // ACK 0 or OACK
	Idle     time.Duration // without anything new, then the transfer ends
	Limit    int64         // bytes; with more the transfer ends by TooLarge
	TooLarge error
	Heard    func() // called for each datagram of the client
	Stats    *Stats // counts what is done; Size is left alone
}

// Receiver carries out one write transfer over a link: the receiving side of RFC 1350
// and RFC 7440. It has no goroutine of its own and no lock.
type Receiver struct {
	link     Link
	dst      io.Writer // behind the netascii conversion
	commit   func() error
	terms    wire.Terms
	first    []byte // ACK 0 or OACK
	idle     time.Duration
	limit    int64
	tooLarge error
	heard    func()
	stats    *Stats

	in       []byte
	out      []byte
	expect   int64 // the next block
	pending  int   // blocks since the last ACK
	gap      bool  // the client was told of a gap, nothing new came since
	progress time.Time
}

// NewReceiver makes a receiver, and no datagram leaves yet.
func NewReceiver(c Receiving) *Receiver {
	r := &Receiver{
		link: c.Link, dst: c.To, commit: c.Commit, terms: c.Terms, first: c.First, idle: c.Idle,
		limit: c.Limit, tooLarge: c.TooLarge, heard: c.Heard, stats: c.Stats,
	}
	if c.Mode == wire.Netascii {
		r.dst = &fromNetascii{w: c.To}
	}
	return r
}

// Run receives until the last block is stored and acknowledged.
func (r *Receiver) Run(ctx context.Context) error {
	r.in = make([]byte, r.terms.BlockSize+wire.HeaderSize+1) // one more, to see what is too long
	r.expect = 1
	r.progress = time.Now()
	interval := initialInterval
	if r.terms.Timeout > 0 {
		interval = min(r.terms.Timeout, maxInterval)
	}
	if err := r.link.Send(r.first); err != nil {
		return err
	}
	refusals := 0
	deadline := time.Now().Add(interval)
	for {
		n, err := r.link.Receive(r.in, deadline)
		switch {
		case errors.Is(err, ErrInterrupted):
			return context.Cause(ctx)
		case errors.Is(err, ErrPeerClosed):
			if refusals++; refusals >= maxRefusals {
				return err
			}
			continue
		case errors.Is(err, os.ErrDeadlineExceeded):
			if time.Since(r.progress) >= r.idle {
				return ErrSilent
			}
			r.stats.Timeouts++
			if err := r.acknowledge(); err != nil {
				return err
			}
			deadline = time.Now().Add(interval)
			continue
		case err != nil:
			return err
		}
		r.heard()
		if e, ok := wire.ParseError(r.in[:n]); ok {
			return &e
		}
		block, payload, ok := wire.ParseData(r.in[:n])
		if !ok {
			continue
		}
		if len(payload) > r.terms.BlockSize {
			return fmt.Errorf("%w: a block of more than %d bytes", wire.ErrIllegal, r.terms.BlockSize)
		}
		if block != uint16(r.expect) {
			if err := r.disorder(block); err != nil {
				return err
			}
			continue
		}
		last, err := r.take(payload)
		if last || err != nil {
			return err
		}
		deadline = time.Now().Add(interval)
	}
}

// take stores the expected block.
func (r *Receiver) take(payload []byte) (last bool, err error) {
	r.stats.Bytes += int64(len(payload))
	if r.stats.Bytes > r.limit {
		return false, r.tooLarge
	}
	r.link.Blocking()
	if _, err := r.dst.Write(payload); err != nil {
		return false, err
	}
	r.progress = time.Now()
	r.stats.Blocks++
	r.expect++
	r.pending++
	r.gap = false
	last = len(payload) < r.terms.BlockSize
	if last {
		if f, ok := r.dst.(*fromNetascii); ok {
			if err := f.flush(); err != nil {
				return false, err
			}
		}
		if err := r.commit(); err != nil {
			return false, err
		}
		r.stats.Confirmed = true
	}
	if last || r.pending >= r.terms.Window {
		return last, r.acknowledge()
	}
	return false, nil
}

// disorder answers a block that is not the expected one: it is either known, and
// then our ACK was lost, or one before it was lost. In lock-step every such block
// is answered. A window full of them is answered once.
func (r *Receiver) disorder(block uint16) error {
	if int16(block-uint16(r.expect)) < 0 {
		r.stats.DuplicateACKs++ // a repeated block, in this direction
	} else if r.terms.Window == 1 {
		return nil // ahead of a lock-step transfer: not ours
	}
	if r.gap && r.terms.Window > 1 {
		return nil
	}
	r.gap = true
	r.stats.GoBacks++
	return r.acknowledge()
}

// acknowledge tells the client what has come, or repeats the first answer.
func (r *Receiver) acknowledge() error {
	r.pending = 0
	if r.expect == 1 {
		return r.link.Send(r.first)
	}
	r.out = wire.AppendAck(r.out[:0], uint16(r.expect-1))
	return r.link.Send(r.out)
}

// dallyTime is longer than the clients' retransmission after a quick network.
const dallyTime = 500 * time.Millisecond

// Dally stays a little while to acknowledge the last block again, should the ACK
// have been lost (RFC 1350 section 6).
func (r *Receiver) Dally() {
	deadline := time.Now().Add(dallyTime)
	for {
		n, err := r.link.Receive(r.in, deadline)
		if err != nil {
			return
		}
		if block, _, ok := wire.ParseData(r.in[:n]); ok && block == uint16(r.expect-1) {
			if r.acknowledge() != nil {
				return
			}
		}
	}
}

// fromNetascii undoes the conversion of netascii: CR LF is LF, CR NUL is CR.
type fromNetascii struct {
	w   io.Writer
	cr  bool
	buf []byte
}

func (f *fromNetascii) Write(p []byte) (int, error) {
	f.buf = f.buf[:0]
	for _, b := range p {
		if f.cr {
			f.cr = false
			switch b {
			case '\n':
				f.buf = append(f.buf, '\n')
				continue
			case 0:
				f.buf = append(f.buf, '\r')
				continue
			}
			f.buf = append(f.buf, '\r') // not netascii; kept as it is
		}
		if b == '\r' {
			f.cr = true
			continue
		}
		f.buf = append(f.buf, b)
	}
	if _, err := f.w.Write(f.buf); err != nil {
		return 0, err
	}
	return len(p), nil
}

// flush writes a CR that ended the file.
func (f *fromNetascii) flush() error {
	if !f.cr {
		return nil
	}
	f.cr = false
	_, err := f.w.Write([]byte{'\r'})
	return err
}
