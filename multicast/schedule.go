package multicast

import (
	"math"
	"time"

	"castpoint/multicast/wire"
)

// inFlight stands in schedule.sent for a block whose symbols are being sent.
const inFlight = wire.PacketNumber(math.MaxUint64)

// schedule decides which symbols are sent next. It knows for each block the
// worst deficit that members have told of since the block was last sent, and
// nothing about who told it.
//
// Blocks of which a member lacks more than half are sent whole, in order, round
// and round (the carousel): that is the first transmission and what late
// members get. Blocks that lack less get as many repair symbols as the worst
// deficit, as soon as every member has spoken about them.
//
// It has no lock; the session's is held.
type schedule struct {
	g *geometry

	wanted []uint8             // worst deficit; full[b] says it in another way
	sent   []wire.PacketNumber // last packet of the block; 0 never, inFlight now
	cursor []uint8             // symbol of the next repair, counted over sent source symbols, then repair symbols
	queued []bool              // in repairs

	full     bitmap // blocks to send whole
	next     int    // carousel position
	frontier int    // blocks from here on have never been sent

	repairs []repairEntry // FIFO, oldest first
}

type repairEntry struct {
	block int
	since time.Time
}

// work is what to send: count symbols of a block, starting at the cursor.
type work struct {
	block, count int
	whole        bool
}

func newSchedule(g *geometry) *schedule {
	return &schedule{
		g:      g,
		wanted: make([]uint8, g.blocks),
		sent:   make([]wire.PacketNumber, g.blocks),
		cursor: make([]uint8, g.blocks),
		queued: make([]bool, g.blocks),
		full:   newBitmap(g.blocks),
	}
}

// lack notes that a member that has seen packets up to highest lacks deficit
// symbols of block b.
func (s *schedule) lack(b, deficit int, highest wire.PacketNumber, now time.Time) {
	if s.sent[b] > highest || s.full.has(b) {
		return // told before what was sent had arrived, or comes anyway
	}
	source := s.g.source(b)
	if s.sent[b] == 0 || deficit*2 > source || deficit > s.g.m {
		s.full.add(b)
		return
	}
	s.wanted[b] = max(s.wanted[b], uint8(deficit))
	if !s.queued[b] {
		s.queued[b] = true
		s.repairs = append(s.repairs, repairEntry{b, now})
	}
}

// pick takes the next work. heard is the lowest packet number that all members
// have spoken about; a repair that not all have spoken about waits until it is
// patience old. When there is nothing to do now, wait says how long until a
// repair is due, or 0 for nothing in sight.
func (s *schedule) pick(heard wire.PacketNumber, now time.Time, patience time.Duration) (w work, ok bool, wait time.Duration) {
	for len(s.repairs) > 0 {
		e := s.repairs[0]
		if s.full.has(e.block) || s.wanted[e.block] == 0 {
			s.drop()
			continue
		}
		age := now.Sub(e.since)
		if s.sent[e.block] > heard && age < patience {
			wait = patience - age
			break
		}
		s.drop()
		w = work{block: e.block, count: int(s.wanted[e.block])}
		s.begin(w.block)
		return w, true, 0
	}
	if s.full.n > 0 {
		n := s.g.blocks
		b := s.full.nextPresent(s.next, n)
		if b == n {
			b = s.full.nextPresent(0, n)
		}
		s.full.remove(b)
		s.next = b + 1
		s.frontier = max(s.frontier, b+1)
		s.begin(b)
		return work{block: b, count: s.g.source(b), whole: true}, true, 0
	}
	return work{}, false, wait
}

func (s *schedule) drop() {
	s.queued[s.repairs[0].block] = false
	s.repairs = s.repairs[1:]
}

func (s *schedule) begin(b int) {
	s.wanted[b] = 0
	s.sent[b] = inFlight
}

// symbols appends the indices of the symbols that w sends and moves the cursor.
func (s *schedule) symbols(dst []uint16, w work) []uint16 {
	source := s.g.source(w.block)
	if w.whole {
		for i := range source {
			dst = append(dst, uint16(i))
		}
		s.cursor[w.block] = uint8(source)
		return dst
	}
	at := int(s.cursor[w.block])
	for range w.count {
		if at >= source+s.g.m {
			at = 0
		}
		i := at
		if i >= source {
			i += s.g.k - source
		}
		dst = append(dst, uint16(i))
		at++
	}
	s.cursor[w.block] = uint8(at)
	return dst
}

// done notes the number of the last packet of block b.
func (s *schedule) done(b int, last wire.PacketNumber) { s.sent[b] = last }

// idle reports whether nothing is known to be lacking.
func (s *schedule) idle() bool { return s.full.n == 0 && len(s.repairs) == 0 }
