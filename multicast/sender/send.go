package sender

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"time"

	"go.uber.org/zap"

	"castpoint/multicast/rate"
	"castpoint/multicast/wire"
)

func isClosed(err error) bool { return errors.Is(err, net.ErrClosed) }

// routineSend takes work from the schedule until ctx is done.
func (s *Session) routineSend(ctx context.Context) error {
	e := s.newEmitter()
	defer e.timer.Stop()
	for {
		now := time.Now()
		s.mu.Lock()
		var w work
		ok, wait := false, time.Duration(0)
		if s.state == wire.StateSending || s.state == wire.StateIdle {
			w, ok, wait = s.schedule.pick(s.heard, now, s.interval/2)
			if ok {
				e.order = s.schedule.symbols(e.order[:0], w)
			}
		}
		s.mu.Unlock()
		if ok {
			if err := e.emit(ctx, w); err != nil {
				if ctx.Err() != nil || isClosed(err) {
					return nil
				}
				return err
			}
			continue
		}
		e.pace.Rest()
		if wait == 0 {
			wait = time.Hour
		}
		if e.sleep(ctx, wait) != nil {
			return nil
		}
	}
}

// emitter turns work into datagrams. Its buffers are reused for every block.
type emitter struct {
	s        *Session
	source   []byte   // the block, padded with zeros, as far as ...
	read     int      // ... it has been read
	repair   []byte   // its repair symbols
	shards   [][]byte // scratch of the code
	order    []uint16 // symbols to send
	out      []byte   // a burst, datagram by datagram
	pace     rate.Pacer
	promiser promiser      // the connection, where it can tell; or nil
	looked   time.Time     // when others' traffic was looked at last
	blocked  time.Duration // in sends since then
	timer    *time.Timer
}

func (s *Session) newEmitter() *emitter {
	p, _ := s.cfg.Conn.(promiser)
	return &emitter{
		promiser: p,
		s:        s,
		source:   make([]byte, s.g.K*s.g.SymbolSize),
		repair:   make([]byte, s.g.M*s.g.SymbolSize),
		shards:   make([][]byte, 0, s.g.K+s.g.M),
		out:      make([]byte, 0, burst*(wire.HeaderSize+s.g.SymbolSize+wire.TagSize)),
		order:    make([]uint16, 0, s.g.K+s.g.M),
		timer:    time.NewTimer(time.Hour),
	}
}

// emit sends the symbols in e.order of one block.
func (e *emitter) emit(ctx context.Context, w work) error {
	s := e.s
	e.read = 0
	for _, i := range e.order {
		if int(i) < s.g.K {
			continue
		}
		err := e.load(w.block, s.g.BlockSize)
		if err != nil {
			return err
		}
		if e.shards, err = s.code.Encode(e.shards, e.source, e.repair); err != nil {
			return fmt.Errorf("compute repair symbols of block %d: %w", w.block, err)
		}
		break
	}
	var last wire.PacketNumber
	e.yield()
	for rest := e.order; len(rest) > 0; {
		part := rest[:min(burst, len(rest))]
		rest = rest[len(part):]
		// What a burst needs is read just before: it is in the processor's cache then.
		if err := e.load(w.block, (int(slices.Max(part))+1)*s.g.SymbolSize); err != nil {
			return err
		}
		if err := e.wait(ctx, len(part)); err != nil {
			return err
		}
		last = e.seal(w.block, part)
		before := time.Now()
		if err := s.cfg.Conn.WriteGroup(e.out, wire.HeaderSize+s.g.SymbolSize+wire.TagSize); err != nil {
			return err
		}
		if took := time.Since(before); took > blockedSend {
			e.blocked += took
		}
	}
	s.mu.Lock()
	s.schedule.done(w.block, last)
	if !w.whole {
		s.repairBytes += uint64(len(e.order) * s.g.SymbolSize)
	}
	s.mu.Unlock()
	return nil
}

// SourceError is what ends a session that cannot read one of its objects.
type SourceError struct {
	Digest [32]byte // of the object
	Err    error
}

func (s *SourceError) Error() string { return fmt.Sprintf("object %x: %v", s.Digest, s.Err) }
func (s *SourceError) Unwrap() error { return s.Err }

// load reads a block up to a size that may be more than it has; the rest are zeros.
func (e *emitter) load(block, size int) error {
	g := &e.s.g
	size = min(size, g.BlockSize)
	if size <= e.read {
		return nil
	}
	object, off := g.At(block)
	part := e.source[e.read:size]
	if n := g.Length(block) - e.read; n < len(part) {
		clear(part[max(n, 0):])
		part = part[:max(n, 0)]
	}
	if n, err := e.s.cfg.Sources[object].ReadAt(part, off+int64(e.read)); n < len(part) {
		if err == nil || errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF
		}
		return &SourceError{Digest: e.s.cfg.Objects[object].Digest, Err: fmt.Errorf("it cannot be read at byte %d: %w", off, err)}
	}
	e.read = size
	return nil
}

// blockedSend is a send that had to wait for the link.
const blockedSend = time.Millisecond

// yield looks at what others send by the same link, now and then, and gives way or
// does not.
func (e *emitter) yield() {
	s := e.s
	now := time.Now()
	if s.cfg.Link == nil || now.Sub(e.looked) < rate.LookEvery {
		return
	}
	use, ok := s.cfg.Link()
	if !ok {
		return
	}
	s.mu.Lock()
	s.others.Blocked(e.blocked)
	limit := s.others.Observe(now, use, s.frames())
	if s.cfg.Greedy {
		s.rate.Press(s.others.Crowded(now))
	} else {
		s.rate.Give(limit)
	}
	s.mu.Unlock()
	e.looked, e.blocked = now, 0
}

// wait holds a burst of n symbols back until members have kept up and the pacer
// lets it go.
func (e *emitter) wait(ctx context.Context, n int) error {
	s := e.s
	// The rate is that of datagrams with their IP and UDP headers.
	size := n * (wire.HeaderSize + s.g.SymbolSize + wire.TagSize + 28)
	s.mu.Lock()
	for s.ahead() {
		if s.setHeard(time.Now()); !s.ahead() {
			break
		}
		s.mu.Unlock()
		began := time.Now()
		if err := e.sleep(ctx, windowWait); err != nil {
			return err
		}
		s.mu.Lock()
		s.heldBack(time.Since(began))
	}
	rate := s.rate.Rate()
	if e.promiser != nil {
		// Behind the images that fill the link a session would have nothing, though it
		// leaves them their share already, or is to leave them none.
		e.promiser.Promised(s.cfg.Greedy || s.rate.Yields() || rate <= float64(s.cfg.MinRate))
	}
	s.wireBytes += uint64(size)
	s.sentBytes += uint64(n * s.g.SymbolSize)
	s.mu.Unlock()
	if d := e.pace.Reserve(time.Now(), size, rate, float64(s.cfg.MinRate)); d > 0 {
		return e.sleepFully(ctx, d)
	}
	return ctx.Err()
}

// windowWait is how long the sender waits for a report before it looks whether
// the member it waits for has become stale.
const windowWait = 20 * time.Millisecond

// sleep waits for d, or for something that may be worth a look.
func (e *emitter) sleep(ctx context.Context, d time.Duration) error {
	e.timer.Reset(d)
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-e.s.wake:
		e.timer.Stop()
	case <-e.timer.C:
	}
	return nil
}

// sleepFully waits for d.
func (e *emitter) sleepFully(ctx context.Context, d time.Duration) error {
	e.timer.Reset(d)
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-e.timer.C:
		return nil
	}
}

// seal fills e.out with the given symbols of a block and returns the last
// packet number.
func (e *emitter) seal(block int, symbols []uint16) wire.PacketNumber {
	s := e.s
	now := time.Now()
	s.mu.Lock()
	if err := s.keys.Turn(s.number.Load()); err != nil {
		s.log.Error("key not changed", zap.Error(err))
	}
	key := s.keys.Current()
	s.mu.Unlock()
	size := wire.HeaderSize + s.g.SymbolSize + wire.TagSize
	e.out = e.out[:len(symbols)*size]
	var number uint64
	for i, sym := range symbols {
		number = s.number.Add(1)
		h := wire.Header{Type: wire.TypeSymbol, Epoch: key.Epoch, Symbol: sym, Session: s.cfg.ID,
			Number: wire.PacketNumber(number), Block: uint32(block), Object: s.g.Tag, Sent: s.clock(now)}
		var payload []byte
		if j := int(sym); j < s.g.K {
			payload = e.source[j*s.g.SymbolSize : (j+1)*s.g.SymbolSize]
		} else {
			j -= s.g.K
			payload = e.repair[j*s.g.SymbolSize : (j+1)*s.g.SymbolSize]
		}
		at := e.out[i*size : i*size : (i+1)*size]
		key.Seal(h.Append(at), payload, number)
	}
	return wire.PacketNumber(number)
}
