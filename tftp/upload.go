package tftp

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"time"
)

var errNoUploads = fmt.Errorf("%w: this server does not take uploads", ErrForbidden)

// serveWrite carries out a write request.
func (t *transfer) serveWrite(ctx context.Context) {
	if t.s.cfg.Create == nil {
		t.refuse(errNoUploads)
		return
	}
	size := int64(-1)
	if v, ok := t.req.Option("tsize"); ok {
		if n, err := strconv.ParseInt(v, 10, 64); err == nil && n >= 0 {
			size = n
		}
	}
	if size > t.s.cfg.MaxUpload {
		t.refuse(tooLarge(t.s.cfg.MaxUpload))
		return
	}
	lnk, err := t.l.link(ctx, t)
	if err != nil {
		t.refuse(fmt.Errorf("make a socket from %s to %s: %w", t.req.Local.Addr(), t.req.Peer, err))
		return
	}
	defer func() { _ = lnk.close() }()
	defer context.AfterFunc(ctx, lnk.interrupt)()
	upload, err := t.s.cfg.Create(ctx, t.req)
	if err != nil {
		t.refuse(err)
		return
	}

	block := t.s.blockLimit(t.req.Peer.Addr(), lnk.pathMTU())
	if t.s.cfg.SinglePort {
		block = min(block, inboxBytes-headerSize)
	}
	var answer []Option
	t.terms, answer = negotiate(t.req.Options, true, bounds{blockSize: block, window: t.s.cfg.MaxWindow, size: -1})
	t.stats = Stats{Size: size}
	w := &writer{
		link: lnk, upload: upload, dst: upload, terms: t.terms, first: appendAck(nil, 0),
		idle: t.s.cfg.IdleTimeout, limit: t.s.cfg.MaxUpload, heard: t.hear, stats: &t.stats,
	}
	if len(answer) > 0 {
		w.first = appendOACK(nil, answer)
	}
	if t.req.Mode == Netascii {
		w.dst = &fromNetascii{w: upload}
	}
	t.report(Started, nil)
	lnk.do(func() { err = w.run(ctx) })
	if err != nil {
		upload.Abort()
	}
	t.end(lnk, err)
	if err == nil {
		lnk.do(w.dally)
	}
}

func tooLarge(limit int64) error {
	return fmt.Errorf("%w: uploads may have %d bytes", ErrNoSpace, limit)
}

// writer carries out one write transfer: the receiving side of RFC 1350 and RFC
// 7440.
type writer struct {
	link   link
	upload Upload
	dst    io.Writer // upload, behind the netascii conversion
	terms  Terms
	first  []byte // ACK 0 or OACK
	idle   time.Duration
	limit  int64
	heard  func()
	stats  *Stats

	in       []byte
	out      []byte
	expect   int64 // the next block
	pending  int   // blocks since the last ACK
	gap      bool  // the client was told of a gap, nothing new came since
	progress time.Time
}

// run receives until the last block is stored and acknowledged.
func (w *writer) run(ctx context.Context) error {
	w.in = make([]byte, w.terms.BlockSize+headerSize+1) // one more, to see what is too long
	w.expect = 1
	w.progress = time.Now()
	interval := initialInterval
	if w.terms.Timeout > 0 {
		interval = min(w.terms.Timeout, maxInterval)
	}
	if err := w.link.send(w.first); err != nil {
		return err
	}
	refusals := 0
	deadline := time.Now().Add(interval)
	for {
		n, err := w.link.receive(w.in, deadline)
		switch {
		case errors.Is(err, errInterrupted):
			return context.Cause(ctx)
		case errors.Is(err, ErrPeerClosed):
			if refusals++; refusals >= maxRefusals {
				return err
			}
			continue
		case errors.Is(err, os.ErrDeadlineExceeded):
			if time.Since(w.progress) >= w.idle {
				return ErrSilent
			}
			w.stats.Timeouts++
			if err := w.acknowledge(); err != nil {
				return err
			}
			deadline = time.Now().Add(interval)
			continue
		case err != nil:
			return err
		}
		w.heard()
		if e, ok := parseError(w.in[:n]); ok {
			return &e
		}
		block, payload, ok := parseData(w.in[:n])
		if !ok {
			continue
		}
		if len(payload) > w.terms.BlockSize {
			return fmt.Errorf("%w: a block of more than %d bytes", ErrIllegal, w.terms.BlockSize)
		}
		if block != uint16(w.expect) {
			if err := w.disorder(block); err != nil {
				return err
			}
			continue
		}
		last, err := w.take(payload)
		if last || err != nil {
			return err
		}
		deadline = time.Now().Add(interval)
	}
}

// take stores the expected block.
func (w *writer) take(payload []byte) (last bool, err error) {
	w.stats.Bytes += int64(len(payload))
	if w.stats.Bytes > w.limit {
		return false, tooLarge(w.limit)
	}
	w.link.blocking()
	if _, err := w.dst.Write(payload); err != nil {
		return false, err
	}
	w.progress = time.Now()
	w.stats.Blocks++
	w.expect++
	w.pending++
	w.gap = false
	last = len(payload) < w.terms.BlockSize
	if last {
		if f, ok := w.dst.(*fromNetascii); ok {
			if err := f.flush(); err != nil {
				return false, err
			}
		}
		if err := w.upload.Commit(); err != nil {
			return false, err
		}
		w.stats.Confirmed = true
	}
	if last || w.pending >= w.terms.Window {
		return last, w.acknowledge()
	}
	return false, nil
}

// disorder answers a block that is not the expected one: it is either known, and
// then our ACK was lost, or one before it was lost. In lock-step every such block
// is answered. A window full of them is answered once.
func (w *writer) disorder(block uint16) error {
	if int16(block-uint16(w.expect)) < 0 {
		w.stats.DuplicateACKs++ // a repeated block, in this direction
	} else if w.terms.Window == 1 {
		return nil // ahead of a lock-step transfer: not ours
	}
	if w.gap && w.terms.Window > 1 {
		return nil
	}
	w.gap = true
	w.stats.GoBacks++
	return w.acknowledge()
}

// acknowledge tells the client what has come, or repeats the first answer.
func (w *writer) acknowledge() error {
	w.pending = 0
	if w.expect == 1 {
		return w.link.send(w.first)
	}
	w.out = appendAck(w.out[:0], uint16(w.expect-1))
	return w.link.send(w.out)
}

// dallyTime is longer than the clients' retransmission after a quick network.
const dallyTime = 500 * time.Millisecond

// dally stays a little while to acknowledge the last block again, should the ACK
// have been lost (RFC 1350 section 6).
func (w *writer) dally() {
	deadline := time.Now().Add(dallyTime)
	for {
		n, err := w.link.receive(w.in, deadline)
		if err != nil {
			return
		}
		if block, _, ok := parseData(w.in[:n]); ok && block == uint16(w.expect-1) {
			if w.acknowledge() != nil {
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
