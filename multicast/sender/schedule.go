package sender

import (
	"math"
	"time"

	"castpoint/multicast/block"
	"castpoint/multicast/wire"
)

// inFlight stands in schedule.sent for a block whose symbols are being sent.
const inFlight = wire.PacketNumber(math.MaxUint64)

// repairShare is the share of a block's symbols, 1/repairShare, that one round of
// repair sends at most. Members that lose little have the block then, and do not
// wait for those that lose much; these report what they still lack.
const repairShare = 16

// Of a block that has been repaired once, more is sent at once if at least
// 1/askShare of the members want it or if it is at most askLittle symbols.
// Otherwise it comes when everything has been sent once: few that lose much must
// not hold up many that lose little.
const (
	askShare  = 8
	askLittle = 2
)

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
	g *block.Geometry

	wanted []uint8             // worst deficit; full[b] says it in another way
	sent   []wire.PacketNumber // last packet of the block; 0 never, inFlight now
	cursor []uint8             // symbol of the next repair, counted over sent source symbols, then repair symbols
	queued []bool              // in repairs or in later
	rounds []uint8             // rounds of repair since the block was last sent whole
	asked  []uint16            // reports that lacked some of it since it was last sent

	members int // that receive

	full     block.Set // blocks to send whole
	next     int       // carousel position
	frontier int       // blocks from here on have never been sent

	repairs []repairEntry // FIFO, oldest first
	later   []int         // FIFO: blocks that only few members lack much of
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

func newSchedule(g *block.Geometry) *schedule {
	return &schedule{
		g:      g,
		wanted: make([]uint8, g.Blocks),
		sent:   make([]wire.PacketNumber, g.Blocks),
		cursor: make([]uint8, g.Blocks),
		queued: make([]bool, g.Blocks),
		rounds: make([]uint8, g.Blocks),
		asked:  make([]uint16, g.Blocks),
		full:   block.NewSet(g.Blocks),
	}
}

// wholesale reports whether a member that lacks deficit of source symbols is
// better served by all of them.
func (s *schedule) wholesale(source, deficit int) bool { return deficit*2 > source || deficit > s.g.M }

// lack notes that a member that has seen packets up to highest lacks deficit
// symbols of block b.
func (s *schedule) lack(b, deficit int, highest wire.PacketNumber, now time.Time) {
	if s.sent[b] > highest {
		return // told before what was sent had arrived
	}
	if s.sent[b] == 0 || s.wholesale(s.g.Source(b), deficit) {
		s.full.Add(b)
		return
	}
	s.wanted[b] = max(s.wanted[b], uint8(deficit))
	if s.asked[b] < math.MaxUint16 {
		s.asked[b]++
	}
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
		if s.wanted[e.block] == 0 {
			s.repairs = s.repairs[1:] // sent whole in the meantime
			s.queued[e.block] = false
			continue
		}
		age := now.Sub(e.since)
		if s.sent[e.block] > heard && age < patience {
			wait = patience - age
			break
		}
		s.repairs = s.repairs[1:]
		if s.few(e.block) {
			s.later = append(s.later, e.block)
			continue
		}
		return s.repair(e.block), true, 0
	}
	for len(s.later) > 0 && s.frontier == s.g.Blocks {
		b := s.later[0]
		s.later = s.later[1:]
		if s.wanted[b] > 0 {
			return s.repair(b), true, 0
		}
		s.queued[b] = false
	}
	if s.full.Len() > 0 {
		n := s.g.Blocks
		b := s.full.NextPresent(s.next, n)
		if b == n {
			b = s.full.NextPresent(0, n)
		}
		s.full.Remove(b)
		s.next = b + 1
		s.frontier = max(s.frontier, b+1)
		s.begin(b)
		s.rounds[b] = 0
		return work{block: b, count: s.g.Source(b), whole: true}, true, 0
	}
	return work{}, false, wait
}

// few reports whether what block b lacks can wait for the end of the first
// transmission.
func (s *schedule) few(b int) bool {
	return s.rounds[b] > 0 && s.wanted[b] > askLittle && int(s.asked[b])*askShare < s.members && s.frontier < s.g.Blocks
}

// repair begins a round of repair.
func (s *schedule) repair(b int) work {
	w := work{block: b, count: min(int(s.wanted[b]), max(s.g.K/repairShare, 1))}
	s.queued[b] = false
	if s.rounds[b] < math.MaxUint8 {
		s.rounds[b]++
	}
	s.begin(b)
	return w
}

func (s *schedule) begin(b int) {
	s.wanted[b], s.asked[b] = 0, 0
	s.sent[b] = inFlight
}

// symbols appends the indices of the symbols that w sends and moves the cursor.
func (s *schedule) symbols(dst []uint16, w work) []uint16 {
	source := s.g.Source(w.block)
	if w.whole {
		for i := range source {
			dst = append(dst, uint16(i))
		}
		s.cursor[w.block] = uint8(source)
		return dst
	}
	at := int(s.cursor[w.block])
	for range w.count {
		if at >= source+s.g.M {
			at = 0
		}
		i := at
		if i >= source {
			i += s.g.K - source
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
func (s *schedule) idle() bool { return s.full.Len() == 0 && len(s.repairs) == 0 && len(s.later) == 0 }
