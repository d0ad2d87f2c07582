package decompress

import (
	"encoding/binary"
	"math/bits"
)

const (
	// Chunks that writers of LZMS make: Microsoft's have 128 KiB, and 64 MiB in
	// solid resources.
	LZMSMinChunk = 1 << 15
	LZMSMaxChunk = 1 << 30

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
	targets               [1 << 16]int32 // of the filter
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
		d.buf |= binary.LittleEndian.Uint64(d.src[d.back-8:]) >> d.n
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
	v := s.base + uint32(d.buf>>32>>(32-s.bits))
	d.buf <<= s.bits & 63
	d.n -= uint(s.bits)
	return v, ok
}

// lzmsMatch is an offset and, of a delta match, the power of two that its bytes
// are apart.
type lzmsMatch struct{ offset, power uint32 }

// lzmsQueue has the last offsets, the latest first. A match cannot name the
// offset of the match of its kind right before it, which would have been one
// with that one: then the queue is looked at without its first entry.
type lzmsQueue [4]lzmsMatch

// take moves the entry with the given number to the front.
func (q *lzmsQueue) take(i int) lzmsMatch {
	m := q[i]
	copy(q[1:i+1], q[:i])
	q[0] = m
	return m
}

func (q *lzmsQueue) put(m lzmsMatch) {
	copy(q[1:], q[:])
	q[0] = m
}

var lzmsFirstQueue = lzmsQueue{{offset: 1}, {offset: 2}, {offset: 3}, {offset: 4}}

// queued decodes which of the queue is meant.
func (d *LZMS) queued(second, third *lzmsDecisions) int {
	if d.decide(second) == 0 {
		return 0
	}
	return 1 + int(d.decide(third))
}

// items decodes all of dst.
func (d *LZMS) items(dst []byte) error {
	lz, delta := lzmsFirstQueue, lzmsFirstQueue
	afterLZ, afterDelta := 0, 0 // 1 right behind a match of that kind
	for pos := 0; pos < len(dst); {
		if d.decide(&d.isMatch) == 0 {
			if d.n < 15 {
				d.fill()
			}
			sym, _ := d.symbol(&d.literal) // a code of 256 symbols is complete
			dst[pos] = byte(sym)
			pos++
			afterLZ, afterDelta = 0, 0
			continue
		}
		ok := true
		var m lzmsMatch
		isDelta := d.decide(&d.isDelta) == 1
		switch {
		case !isDelta && d.decide(&d.lzRepeat) == 0:
			m.offset, ok = d.number(&d.lzOffset, lzmsOffsets)
			lz.put(m)
		case !isDelta:
			m = lz.take(afterLZ + d.queued(&d.lzSecond, &d.lzThird))
		case d.decide(&d.deltaRepeat) == 0:
			d.fill()
			m.power, _ = d.symbol(&d.power)
			m.offset, ok = d.number(&d.deltaOffset, lzmsOffsets)
			delta.put(m)
		default:
			m = delta.take(afterDelta + d.queued(&d.deltaSecond, &d.deltaThird))
		}
		length, _ := d.number(&d.length, lzmsLengths)
		// Of a delta match, one distance more must lie before it.
		reach := int64(m.offset)
		if isDelta {
			reach = (reach + 1) << m.power
		}
		if !ok || reach > int64(pos) || int64(length) > int64(len(dst)-pos) {
			return corrupt("LZMS data: a match of %d bytes from %d back does not fit at %d of %d", length, reach, pos, len(dst))
		}
		if isDelta {
			copyDelta(dst, pos, int(m.offset)<<m.power, 1<<m.power, int(length))
			afterLZ, afterDelta = 0, 1
		} else {
			copyMatch(dst, pos, int(m.offset), int(length))
			afterLZ, afterDelta = 1, 0
		}
		pos += int(length)
	}
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
