package decompress

import (
	"encoding/binary"
	"math/bits"
)

const (
	lzmsMaxOffset = 1180427428
	lzmsMaxLength = 1073809578

	lzmsOffsetSlots = 799
	lzmsLengthSlots = 54
	lzmsPowers      = 8 // distances of the bytes that a delta match subtracts: 1 to 128

	// A code is made anew after so many symbols.
	lzmsRebuildLiteral = 1024
	lzmsRebuildOffset  = 1024
	lzmsRebuildLength  = 512
	lzmsRebuildPower   = 512
)

// lzmsSlot is a class of numbers: the first of them, and how many bits say
// which.
type lzmsSlot struct{ base, bits uint32 }

// lzmsSlots makes the table of slots. runs says how many slots have widths of
// 1, 2, 4 and so on; last is the width of the last slot.
func lzmsSlots(runs []int, last uint32) []lzmsSlot {
	var t []lzmsSlot
	base, width := uint32(0), uint32(1)
	for i, n := range runs {
		for range n {
			base += width
			t = append(t, lzmsSlot{base: base})
		}
		width = 1 << (i + 1)
	}
	for i := range t {
		next := last
		if i+1 < len(t) {
			next = t[i+1].base
		}
		t[i].bits = uint32(bits.Len32(next-t[i].base) - 1)
	}
	return t
}

var (
	lzmsOffsets = lzmsSlots([]int{9, 0, 9, 7, 10, 15, 15, 20, 20, 30, 33, 40, 42, 45, 60, 73, 80, 85, 95, 105, 6}, lzmsMaxOffset+1)
	lzmsLengths = lzmsSlots([]int{27, 4, 6, 4, 5, 2, 1, 1, 1, 1, 1, 0, 0, 0, 0, 0, 1}, lzmsMaxLength+1)
)

// lzmsBit is what is known of one binary decision in one context: the last 64
// times it was made.
type lzmsBit struct {
	recent uint64
	zeros  uint32 // how many of recent are 0
	chance uint32 // of a 0, in 64ths: zeros, but neither 0 nor 64
}

// zero notes that it went for 0, so that not all were 1.
func (p *lzmsBit) zero() {
	p.zeros += uint32(p.recent >> 63)
	p.recent <<= 1
	p.chance = min(p.zeros, 63)
}

// one notes that it went for 1, so that not all were 0.
func (p *lzmsBit) one() {
	p.zeros += uint32(p.recent>>63) - 1
	p.recent = p.recent<<1 | 1
	p.chance = max(p.zeros, 1)
}

// lzmsDecisions are the contexts of one decision. The context is how the last
// times went, as many as the size of the table has bits.
type lzmsDecisions struct {
	bits  [64]lzmsBit
	state uint32
	mask  uint32
}

func (d *lzmsDecisions) reset(contexts uint32) {
	d.state, d.mask = 0, contexts-1
	for i := range d.bits {
		d.bits[i] = lzmsBit{recent: 0x55555555, zeros: 48, chance: 48}
	}
}

// LZMS decodes LZMS, the compression of solid resources (ESD files).
//
// A chunk is a row of 16-bit little-endian words that is read from both ends.
// From the front comes a range coder with adaptive probabilities: what kind the
// next item is. From the back come Huffman codes and plain bits: literals,
// lengths and offsets. Items are a literal; an LZ match, which repeats bytes; a
// delta match, which repeats differences of bytes that are a power of two
// apart. Each kind of match has a queue of the last three offsets. The codes
// follow the symbols that were met: each is made anew after a number of them.
// At the end the whole chunk goes through a filter that undoes a translation of
// addresses in x86 programs.
type LZMS struct {
	src []byte
	pos int // how much of dst is there

	// The range decoder.
	front int // of the next word, in src; runs on behind the end
	width uint32
	code  uint32

	// The bits from the back.
	back int    // end of what was not read, in src; runs on below 0
	buf  uint64 // bits not yet used, from the top
	n    uint   // how many

	after uint32    // what the last item was: one of the next three
	lz    [4]uint32 // the last offsets of LZ matches, the latest first
	delta [4]uint64 // those of delta matches, with the power in the upper half
	plain bool      // for tests: items decodes everything, and not fast

	isMatch, isDelta      lzmsDecisions
	lzRepeat, deltaRepeat lzmsDecisions
	lzSecond, lzThird     lzmsDecisions // which of the queue
	deltaSecond           lzmsDecisions
	deltaThird            lzmsDecisions
	literal               lzmsCode
	length                lzmsCode
	lzOffset, deltaOffset lzmsCode
	power                 lzmsCode

	// Of the filter: where each target was met, counted on from chunk to chunk.
	targets [1 << 16]int32
	base    int32 // what the start of the chunk counts as
}

// Kinds of items.
const (
	lzmsLiteral = iota
	lzmsLZ
	lzmsDelta
)

// NewLZMS makes a decoder. It takes some 400 KB.
func NewLZMS() *LZMS {
	d := new(LZMS)
	for _, c := range []struct {
		code        *lzmsCode
		bits, every int
	}{
		{&d.literal, lzmsLiteralBits, lzmsRebuildLiteral}, {&d.length, lzmsLengthBits, lzmsRebuildLength},
		{&d.lzOffset, lzmsOffsetBits, lzmsRebuildOffset}, {&d.deltaOffset, lzmsOffsetBits, lzmsRebuildOffset},
		{&d.power, lzmsPowerBits, lzmsRebuildPower},
	} {
		c.code.bits, c.code.every = uint(c.bits), c.every
	}
	return d
}

// Decode implements Decoder.
func (d *LZMS) Decode(dst, src []byte) error {
	if len(src) < 4 || len(src)%2 != 0 {
		return corrupt("LZMS data: %d bytes are too short or no whole words", len(src))
	}
	d.src, d.pos, d.front, d.width = src, 0, 4, 1<<32-1
	d.code = uint32(binary.LittleEndian.Uint16(src))<<16 | uint32(binary.LittleEndian.Uint16(src[2:]))
	d.back, d.buf, d.n = len(src), 0, 0
	d.after, d.lz, d.delta = lzmsLiteral, [4]uint32{1, 2, 3, 4}, [4]uint64{1, 2, 3, 4}
	d.isMatch.reset(16)
	d.isDelta.reset(32)
	for _, t := range []*lzmsDecisions{&d.lzRepeat, &d.lzSecond, &d.lzThird, &d.deltaRepeat, &d.deltaSecond, &d.deltaThird} {
		t.reset(64)
	}
	// Offsets that cannot be have no slots.
	slots := 1
	for slots < len(lzmsOffsets) && int64(lzmsOffsets[slots].base) < int64(len(dst)) {
		slots++
	}
	d.literal.reset(256)
	d.length.reset(lzmsLengthSlots)
	d.lzOffset.reset(slots)
	d.deltaOffset.reset(slots)
	d.power.reset(lzmsPowers)
	err := d.decode(dst)
	if err == nil && (d.back+int(d.n/8) < 0 || d.front > len(src)+4) {
		err = corrupt("LZMS data ends too early")
	}
	d.src = nil
	if err != nil {
		return err
	}
	d.untranslate(dst)
	return nil
}

// decide makes one binary decision.
func (d *LZMS) decide(t *lzmsDecisions) uint32 {
	if d.width < 1<<16 {
		d.width <<= 16
		d.code = d.code<<16 | frontWord(d.src, d.front)
		d.front += 2
	}
	p := &t.bits[t.state&63]
	bound := d.width >> 6 * p.chance
	if d.code < bound {
		d.width = bound
		p.zero()
		t.state = t.state << 1 & t.mask
		return 0
	}
	d.width -= bound
	d.code -= bound
	p.one()
	t.state = (t.state<<1 | 1) & t.mask
	return 1
}

// frontWord is a word of what is read from the front. Behind the end come zeros.
func frontWord(src []byte, pos int) uint32 {
	if pos+2 > len(src) {
		return 0
	}
	return uint32(binary.LittleEndian.Uint16(src[pos:]))
}

// fill makes sure of at least 49 bits. The words are read from the back, and the
// upper byte of a word is the one behind: so it is a row of bytes as well. Behind
// the last come zeros.
func (d *LZMS) fill() {
	if d.back >= 8 {
		d.buf |= binary.LittleEndian.Uint64(d.src[d.back-8:]) >> (d.n & 63)
		k := (63 - d.n) / 8
		d.back -= int(k)
		d.n += 8 * k
		return
	}
	for d.n < 49 {
		if d.back > 0 {
			d.buf |= uint64(d.src[d.back-1]) << (56 - d.n)
		}
		d.back--
		d.n += 8
	}
}

// symbol decodes a symbol, for which the buffer must have bits.
func (d *LZMS) symbol(c *lzmsCode) (uint32, bool) {
	e := c.entry(d.buf >> ((64 - c.bits) & 63))
	if e == 0 {
		e = c.long(d.buf)
	}
	l := uint(e & 15)
	d.buf <<= l
	d.n -= l
	sym := e >> 4 % lzmsSymbols
	c.counts[sym]++
	if c.left--; c.left == 0 {
		c.rebuild()
	}
	return uint32(sym), l != 0
}

// number decodes a number, slot and bits: 45 bits at most.
func (d *LZMS) number(c *lzmsCode, slots []lzmsSlot) (uint32, bool) {
	if d.n < 49 {
		d.fill()
	}
	sym, ok := d.symbol(c)
	s := slots[sym]
	v := s.base + uint32(d.buf>>32>>((32-s.bits)&63))
	d.buf <<= s.bits & 63
	d.n -= uint(s.bits)
	return v, ok
}

// A match cannot name the offset of the match of its kind right before it, which
// would have been one with that one: then the queue is looked at without its first
// entry.

// again moves the entry of a queue that has the given number to the front.
func again[T uint32 | uint64](q *[4]T, i int) T {
	m := q[i&3]
	for ; i > 0; i-- {
		q[i&3] = q[(i-1)&3]
	}
	q[0] = m
	return m
}

// enter puts a new entry into a queue.
func enter[T uint32 | uint64](q *[4]T, m T) {
	q[3], q[2], q[1], q[0] = q[2], q[1], q[0], m
}

// queued decodes which of the queue is meant.
func (d *LZMS) queued(second, third *lzmsDecisions) int {
	if d.decide(second) == 0 {
		return 0
	}
	return 1 + int(d.decide(third))
}

// items decodes until there are so many bytes of dst, or a few more. The bits from the
// back, the state of the range decoder and the commonest decisions and symbols are in
// local variables and written out, as nearly all time goes there where run does not
// take over: see decide, fill and symbol for what they do.
func (d *LZMS) items(dst []byte, until int) error {
	src, back, buf, n := d.src, d.back, d.buf, d.n
	front, width, code := d.front, d.width, d.code
	state, kindState := d.isMatch.state, d.isDelta.state
	afterLZ, afterDelta := 0, 0 // 1 right behind a match of that kind
	switch d.after {
	case lzmsLZ:
		afterLZ = 1
	case lzmsDelta:
		afterDelta = 1
	}
	until = min(until, len(dst))
	for pos := d.pos; ; {
		var p *lzmsBit
		var bound uint32
		for literal := false; ; literal = true {
			if literal {
				afterLZ, afterDelta = 0, 0
			}
			if pos >= until {
				d.back, d.buf, d.n = back, buf, n
				d.front, d.width, d.code = front, width, code
				d.isMatch.state, d.isDelta.state = state&15, kindState&31
				d.pos, d.after = pos, uint32(afterLZ*lzmsLZ+afterDelta*lzmsDelta)
				return nil
			}
			if width < 1<<16 {
				width <<= 16
				code = code<<16 | frontWord(src, front)
				front += 2
			}
			p = &d.isMatch.bits[state&15]
			bound = width >> 6 * p.chance
			if code >= bound {
				break
			}
			width = bound
			p.zero()
			state <<= 1
			if n < lzmsMaxCode {
				if uint(back-8) < uint(len(src)) {
					buf |= binary.LittleEndian.Uint64(src[back-8:]) >> (n & 63)
					k := (63 - n) / 8
					back -= int(k)
					n += 8 * k
				} else {
					d.back, d.buf, d.n = back, buf, n
					d.fill()
					back, buf, n = d.back, d.buf, d.n
				}
			}
			e := d.literal.entry(buf >> (64 - lzmsLiteralBits))
			if e == 0 {
				e = d.literal.long(buf)
			}
			buf <<= e & 15
			n -= uint(e & 15)
			dst[pos] = byte(e >> 4)
			pos++
			d.literal.counts[byte(e>>4)]++
			if d.literal.left--; d.literal.left == 0 {
				d.literal.rebuild()
			}
		}
		width -= bound
		code -= bound
		p.one()
		state = state<<1 | 1

		// Two more decisions of every match: delta or LZ, queue or not.
		if width < 1<<16 {
			width <<= 16
			code = code<<16 | frontWord(src, front)
			front += 2
		}
		p = &d.isDelta.bits[kindState&31]
		bound = width >> 6 * p.chance
		isDelta := code >= bound
		if isDelta {
			width -= bound
			code -= bound
			p.one()
			kindState = kindState<<1 | 1
		} else {
			width = bound
			p.zero()
			kindState <<= 1
		}
		if n < 49 {
			if uint(back-8) < uint(len(src)) {
				buf |= binary.LittleEndian.Uint64(src[back-8:]) >> (n & 63)
				k := (63 - n) / 8
				back -= int(k)
				n += 8 * k
			} else {
				d.back, d.buf, d.n = back, buf, n
				d.fill()
				back, buf, n = d.back, d.buf, d.n
			}
		}
		d.front, d.width, d.code = front, width, code
		var m uint64
		if !isDelta && d.decide(&d.lzRepeat) == 1 {
			m = uint64(again(&d.lz, afterLZ+d.queued(&d.lzSecond, &d.lzThird)))
		} else if isDelta && d.decide(&d.deltaRepeat) == 1 {
			m = again(&d.delta, afterDelta+d.queued(&d.deltaSecond, &d.deltaThird))
		} else if isDelta {
			d.back, d.buf, d.n = back, buf, n
			power, _ := d.symbol(&d.power)
			offset, ok := d.number(&d.deltaOffset, lzmsOffsets)
			if !ok {
				return corrupt("LZMS data: a code without symbols is used")
			}
			m = uint64(power)<<32 | uint64(offset)
			enter(&d.delta, m)
			back, buf, n = d.back, d.buf, d.n
		} else {
			e := d.lzOffset.entry(buf >> (64 - lzmsOffsetBits))
			if e == 0 {
				if e = d.lzOffset.long(buf); e == 0 {
					return corrupt("LZMS data: a code without symbols is used")
				}
			}
			buf <<= e & 15
			n -= uint(e & 15)
			d.lzOffset.counts[e>>4%lzmsSymbols]++
			if d.lzOffset.left--; d.lzOffset.left == 0 {
				d.lzOffset.rebuild()
			}
			slot := lzmsOffsets[e>>4]
			m = uint64(slot.base + uint32(buf>>32>>((32-slot.bits)&63)))
			buf <<= slot.bits & 63
			n -= uint(slot.bits)
			enter(&d.lz, uint32(m))
		}
		front, width, code = d.front, d.width, d.code

		if n < 49 {
			if uint(back-8) < uint(len(src)) {
				buf |= binary.LittleEndian.Uint64(src[back-8:]) >> (n & 63)
				k := (63 - n) / 8
				back -= int(k)
				n += 8 * k
			} else {
				d.back, d.buf, d.n = back, buf, n
				d.fill()
				back, buf, n = d.back, d.buf, d.n
			}
		}
		e := d.length.entry(buf >> (64 - lzmsLengthBits))
		if e == 0 {
			e = d.length.long(buf)
		}
		buf <<= e & 15
		n -= uint(e & 15)
		d.length.counts[e>>4%lzmsSymbols]++
		if d.length.left--; d.length.left == 0 {
			d.length.rebuild()
		}
		slot := lzmsLengths[e>>4]
		length := int(slot.base) + int(buf>>32>>((32-slot.bits)&63))
		buf <<= slot.bits & 63
		n -= uint(slot.bits)

		if isDelta {
			offset, power := int(uint32(m)), int(m>>32)
			// One distance more must lie before it.
			if reach := (offset + 1) << power; reach > pos || length > len(dst)-pos {
				return misfit(length, reach, pos, len(dst))
			}
			copyDelta(dst, pos, offset<<power, 1<<power, length)
			afterLZ, afterDelta = 0, 1
		} else {
			offset := int(m)
			if offset > pos || length > len(dst)-pos {
				return misfit(length, offset, pos, len(dst))
			}
			if offset >= 8 && length <= 16 && len(dst)-pos >= 16 {
				// Most are so. Bytes too many are written again later.
				to, from := (*[16]byte)(dst[pos:]), (*[16]byte)(dst[pos-offset:])
				binary.LittleEndian.PutUint64(to[:], binary.LittleEndian.Uint64(from[:]))
				binary.LittleEndian.PutUint64(to[8:], binary.LittleEndian.Uint64(from[8:]))
			} else {
				copyMatch(dst, pos, offset, length)
			}
			afterLZ, afterDelta = 1, 0
		}
		pos += length
	}
}

func misfit(length, offset, pos, size int) error {
	return corrupt("LZMS data: a match of %d bytes from %d back does not fit at %d of %d", length, offset, pos, size)
}

// copyDelta repeats length differences between bytes that are span apart, from
// offset bytes before pos.
func copyDelta(dst []byte, pos, offset, span, length int) {
	to := dst[pos : pos+length]
	last := dst[pos-span:][:length]
	was := dst[pos-offset:][:length]
	before := dst[pos-offset-span:][:length]
	for i := range to {
		to[i] = last[i] + was[i] - before[i]
	}
}
