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
		d.bits[i] = lzmsBit{recent: 0x55555555, zeros: 48}
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
	// The range decoder.
	src   []byte
	pos   int // of the next word; runs on behind the end
	width uint32
	code  uint32

	// The bits from the back.
	back int    // end of what was not read, in src; runs on below 0
	buf  uint64 // bits not yet used, from the top
	n    uint   // how many

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

// NewLZMS makes a decoder. It takes some 300 KB.
func NewLZMS() *LZMS {
	d := new(LZMS)
	d.literal.make(256, lzmsRebuildLiteral)
	d.length.make(lzmsLengthSlots, lzmsRebuildLength)
	d.lzOffset.make(lzmsOffsetSlots, lzmsRebuildOffset)
	d.deltaOffset.make(lzmsOffsetSlots, lzmsRebuildOffset)
	d.power.make(lzmsPowers, lzmsRebuildPower)
	return d
}

// Decode implements Decoder.
func (d *LZMS) Decode(dst, src []byte) error {
	if len(src) < 4 || len(src)%2 != 0 {
		return corrupt("LZMS data: %d bytes are too short or no whole words", len(src))
	}
	d.src, d.pos, d.width = src, 4, 1<<32-1
	d.code = uint32(binary.LittleEndian.Uint16(src))<<16 | uint32(binary.LittleEndian.Uint16(src[2:]))
	d.back, d.buf, d.n = len(src), 0, 0
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
	err := d.items(dst)
	if err == nil && (d.back+int(d.n/8) < 0 || d.pos > len(src)+4) {
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
		d.code <<= 16
		if d.pos+2 <= len(d.src) {
			d.code |= uint32(binary.LittleEndian.Uint16(d.src[d.pos:]))
		}
		d.pos += 2
	}
	p := &t.bits[t.state&63]
	bound := d.width >> 6 * min(max(p.zeros, 1), 63)
	bit := uint32(0)
	if d.code < bound {
		d.width = bound
	} else {
		d.width -= bound
		d.code -= bound
		bit = 1
	}
	p.zeros += uint32(p.recent>>63) - bit
	p.recent = p.recent<<1 | uint64(bit)
	t.state = (t.state<<1 | bit) & t.mask
	return bit
}

// fill makes sure of at least 49 bits. Behind the last come zeros.
func (d *LZMS) fill() {
	if d.back >= 8 {
		d.buf |= binary.LittleEndian.Uint64(d.src[d.back-8:]) >> (d.n & 63)
		k := (64 - d.n) / 16
		d.back -= 2 * int(k)
		d.n += 16 * k
		return
	}
	for d.n < 49 {
		if d.back >= 2 {
			d.buf |= uint64(binary.LittleEndian.Uint16(d.src[d.back-2:])) << (48 - d.n)
		}
		d.back -= 2
		d.n += 16
	}
}

// symbol decodes a symbol, for which the buffer must have bits.
func (d *LZMS) symbol(c *lzmsCode) (uint32, bool) {
	e := c.code.entry(d.buf)
	l := uint(e & 0xff)
	d.buf <<= l & 63
	d.n -= l
	sym := e >> 8
	c.counts[sym]++
	if c.left--; c.left == 0 {
		c.rebuild()
	}
	return sym, l != 0
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

// lzmsQueue has the last offsets, the latest first; those of delta matches with
// the power in the upper half. A match cannot name the offset of the match of
// its kind right before it, which would have been one with that one: then the
// queue is looked at without its first entry.
type lzmsQueue [4]uint64

// take moves the entry with the given number to the front.
func (q *lzmsQueue) take(i int) uint64 {
	m := q[i&3]
	for ; i > 0; i-- {
		q[i&3] = q[(i-1)&3]
	}
	q[0] = m
	return m
}

func (q *lzmsQueue) put(m uint64) {
	q[3], q[2], q[1], q[0] = q[2], q[1], q[0], m
}

// queued decodes which of the queue is meant.
func (d *LZMS) queued(second, third *lzmsDecisions) int {
	if d.decide(second) == 0 {
		return 0
	}
	return 1 + int(d.decide(third))
}

// items decodes all of dst. The bits from the back and the commonest decisions
// and symbols are in local variables and written out, as nearly all time goes
// there: see decide, fill and symbol for what they do.
func (d *LZMS) items(dst []byte) error {
	lz, delta := lzmsQueue{1, 2, 3, 4}, lzmsQueue{1, 2, 3, 4}
	afterLZ, afterDelta := 0, 0 // 1 right behind a match of that kind
	src, back, buf, n := d.src, d.back, d.buf, d.n
	front, width, code := d.pos, d.width, d.code
	matches := &d.isMatch.bits
	kinds := &d.isDelta.bits
	state, kindState := uint32(0), uint32(0)
	literals := &d.literal
	for pos := 0; pos < len(dst); {
		if n < 49 {
			if back >= 8 && back <= len(src) {
				buf |= binary.LittleEndian.Uint64(src[back-8:]) >> (n & 63)
				k := (64 - n) / 16
				back -= 2 * int(k)
				n += 16 * k
			} else {
				d.back, d.buf, d.n = back, buf, n
				d.fill()
				back, buf, n = d.back, d.buf, d.n
			}
		}
		if width < 1<<16 {
			width <<= 16
			code <<= 16
			if front+2 <= len(src) {
				code |= uint32(binary.LittleEndian.Uint16(src[front:]))
			}
			front += 2
		}
		p := &matches[state&15]
		bound := width >> 6 * min(max(p.zeros, 1), 63)
		if code < bound {
			width = bound
			p.zeros += uint32(p.recent >> 63)
			p.recent <<= 1
			state <<= 1
			e := literals.code.table[buf>>(64-huffmanBits)]
			if e&huffmanLink != 0 {
				e = literals.code.second(e, buf)
			}
			used := uint(e & 0xff)
			buf <<= used & 63
			n -= used
			dst[pos] = byte(e >> 8)
			pos++
			literals.counts[byte(e>>8)]++
			if literals.left--; literals.left == 0 {
				literals.rebuild()
			}
			afterLZ, afterDelta = 0, 0
			continue
		}
		width -= bound
		code -= bound
		p.zeros += uint32(p.recent>>63) - 1
		p.recent = p.recent<<1 | 1
		state = state<<1 | 1

		// Two more decisions of every match: delta or LZ, queue or not.
		if width < 1<<16 {
			width <<= 16
			code <<= 16
			if front+2 <= len(src) {
				code |= uint32(binary.LittleEndian.Uint16(src[front:]))
			}
			front += 2
		}
		p = &kinds[kindState&31]
		bound = width >> 6 * min(max(p.zeros, 1), 63)
		isDelta := code >= bound
		if isDelta {
			width -= bound
			code -= bound
			p.zeros += uint32(p.recent>>63) - 1
			p.recent = p.recent<<1 | 1
			kindState = kindState<<1 | 1
		} else {
			width = bound
			p.zeros += uint32(p.recent >> 63)
			p.recent <<= 1
			kindState <<= 1
		}
		d.pos, d.width, d.code = front, width, code
		var m uint64
		if !isDelta && d.decide(&d.lzRepeat) == 1 {
			m = lz.take(afterLZ + d.queued(&d.lzSecond, &d.lzThird))
		} else if isDelta && d.decide(&d.deltaRepeat) == 1 {
			m = delta.take(afterDelta + d.queued(&d.deltaSecond, &d.deltaThird))
		} else if isDelta {
			d.back, d.buf, d.n = back, buf, n
			power, _ := d.symbol(&d.power)
			offset, ok := d.number(&d.deltaOffset, lzmsOffsets)
			if !ok {
				return corrupt("LZMS data: a code without symbols is used")
			}
			m = uint64(power)<<32 | uint64(offset)
			delta.put(m)
			back, buf, n = d.back, d.buf, d.n
		} else {
			// The bits are enough for the symbol, and no match was read since.
			e := d.lzOffset.code.entry(buf)
			used := uint(e & 0xff)
			if used == 0 {
				return corrupt("LZMS data: a code without symbols is used")
			}
			buf <<= used & 63
			n -= used
			d.lzOffset.counts[e>>8]++
			if d.lzOffset.left--; d.lzOffset.left == 0 {
				d.lzOffset.rebuild()
			}
			slot := lzmsOffsets[e>>8]
			m = uint64(slot.base + uint32(buf>>32>>((32-slot.bits)&63)))
			buf <<= slot.bits & 63
			n -= uint(slot.bits)
			lz.put(m)
		}
		front, width, code = d.pos, d.width, d.code

		if n < 49 {
			if back >= 8 && back <= len(src) {
				buf |= binary.LittleEndian.Uint64(src[back-8:]) >> (n & 63)
				k := (64 - n) / 16
				back -= 2 * int(k)
				n += 16 * k
			} else {
				d.back, d.buf, d.n = back, buf, n
				d.fill()
				back, buf, n = d.back, d.buf, d.n
			}
		}
		e := d.length.code.entry(buf)
		used := uint(e & 0xff)
		buf <<= used & 63
		n -= used
		d.length.counts[e>>8]++
		if d.length.left--; d.length.left == 0 {
			d.length.rebuild()
		}
		slot := lzmsLengths[e>>8]
		length := int(slot.base) + int(buf>>32>>((32-slot.bits)&63))
		buf <<= slot.bits & 63
		n -= uint(slot.bits)

		if isDelta {
			offset, power := int(uint32(m)), int(m>>32)
			// One distance more must lie before it.
			if reach := (offset + 1) << power; reach > pos || length > len(dst)-pos {
				return corrupt("LZMS data: a match of %d bytes from %d back does not fit at %d of %d", length, reach, pos, len(dst))
			}
			copyDelta(dst, pos, offset<<power, 1<<power, length)
			afterLZ, afterDelta = 0, 1
		} else {
			offset := int(m)
			if offset > pos || length > len(dst)-pos {
				return corrupt("LZMS data: a match of %d bytes from %d back does not fit at %d of %d", length, offset, pos, len(dst))
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
	d.back, d.buf, d.n = back, buf, n
	d.pos, d.width, d.code = front, width, code
	return nil
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
