package decompress

import (
	"encoding/binary"
	"math/bits"
)

// bitReader takes bits from a string of 16-bit little-endian words, the most
// significant bit of a word first, as LZX and XPRESS have them. Behind the end
// it gives zeros and counts them: decoders look ahead, so the end of the input
// is checked once, when the output is complete.
type bitReader struct {
	src []byte
	pos int    // of the next word in src; runs on behind the end
	buf uint64 // bits not yet used, from the top
	n   uint   // how many
}

func (b *bitReader) reset(src []byte) { *b = bitReader{src: src} }

// word takes 16 more bits into the buffer, which must have room for them.
func (b *bitReader) word() {
	if b.pos+2 <= len(b.src) {
		b.buf |= uint64(binary.LittleEndian.Uint16(b.src[b.pos:])) << (48 - b.n)
	}
	b.pos += 2
	b.n += 16
}

// need makes sure of at least n bits, n at most 49, and takes no word that is
// not needed for that.
func (b *bitReader) need(n uint) {
	for b.n < n {
		b.word()
	}
}

// words gives the next four words of src from pos on, in the order of bits. The
// caller makes sure that they are there.
func words(src []byte, pos int) uint64 {
	x := bits.RotateLeft64(binary.LittleEndian.Uint64(src[pos:]), 32)
	const even = 0x0000ffff0000ffff
	return x&even<<16 | x>>16&even
}

// take removes n bits that are in the buffer.
func (b *bitReader) take(n uint) uint32 {
	v := uint32(b.buf >> 32 >> ((32 - n) & 63)) // n may be 0
	b.buf <<= n & 63
	b.n -= n
	return v
}

// read is need and take, n at most 24.
func (b *bitReader) read(n uint) uint32 {
	b.need(n)
	return b.take(n)
}

// overrun says that bits behind the end of the input were used.
func (b *bitReader) overrun() bool { return b.pos-int(b.n/8) > len(b.src) }

const (
	// huffmanBits is the width of the first table: nearly all codes are shorter,
	// and it stays in the first-level cache.
	huffmanBits = 10
	// huffmanMax is the length of the longest code (LZX; XPRESS has 15).
	huffmanMax = 16
	// huffmanSymbols is room for the symbols of the largest alphabet (LZX).
	huffmanSymbols = 1024
	// huffmanLink marks an entry of the first table that points to another.
	huffmanLink = 1 << 31
)

// huffman decodes a canonical Huffman code. An entry is the symbol << 8 and
// the length of its code; a link is the place of the second table << 8 and the
// width of that table.
type huffman struct {
	table []uint32
	order [huffmanSymbols]uint16
}

// build makes the tables for the code lengths of all symbols. It reports false
// when they are no complete code. A code without symbols is allowed, for a
// block that has no use for it; decode never accepts it.
func (h *huffman) build(lengths []uint8) bool {
	var count [huffmanMax + 1]int
	for _, l := range lengths {
		count[l]++
	}
	h.table = append(h.table[:0], make([]uint32, 1<<huffmanBits)...)
	if count[0] == len(lengths) {
		return true
	}
	// The symbols in the order of their codes: by length, then by number. Rows of
	// the same size one behind the other cost fewer branches that nobody foretells.
	var next [huffmanMax + 1]int
	code := uint32(0)
	for l := 1; l <= huffmanMax; l++ {
		next[l] = next[l-1] + count[l-1]
		code += uint32(count[l]) << (huffmanMax - l)
	}
	if code != 1<<huffmanMax {
		return false
	}
	for sym, l := range lengths {
		p := &next[l%32%(huffmanMax+1)]
		h.order[*p%huffmanSymbols] = uint16(sym)
		*p++
	}
	order, rest := h.order[count[0]:len(lengths)], h.table
	for l := 1; l <= huffmanBits; l++ {
		size := 1 << (huffmanBits - l)
		for _, sym := range order[:count[l]] {
			entry := uint32(sym)<<8 | uint32(l)
			row := rest[:size]
			for i := range row {
				row[i] = entry
			}
			rest = rest[size:]
		}
		order = order[count[l]:]
	}
	if len(order) > 0 {
		h.long(order, count[huffmanBits+1:])
	}
	return true
}

// long makes the second tables, for the symbols whose codes are longer than the
// first is wide: so many with one bit more, so many with two, and so on. They are
// the last codes.
func (h *huffman) long(order []uint16, count []int) {
	const width = huffmanMax - huffmanBits
	size := uint32(0) // of all second tables
	for i, n := range count {
		size += uint32(n) << (width - 1 - i)
	}
	links := size >> width
	begin := uint32(len(h.table))
	for i := range links {
		h.table[begin-links+i] = huffmanLink | (begin+i<<width)<<8 | width
	}
	for i, n := range count {
		for _, sym := range order[:n] {
			entry := uint32(sym)<<8 | uint32(huffmanBits+1+i)
			for range 1 << (width - 1 - i) {
				h.table = append(h.table, entry)
			}
		}
		order = order[n:]
	}
}

// entry is that of the symbol whose code buf begins with.
func (h *huffman) entry(buf uint64) uint32 {
	e := h.table[buf>>(64-huffmanBits)]
	if e&huffmanLink != 0 {
		e = h.second(e, buf)
	}
	return e
}

// second follows a link.
func (h *huffman) second(e uint32, buf uint64) uint32 {
	return h.table[(e&^huffmanLink)>>8+uint32(buf<<huffmanBits>>(64-(huffmanMax-huffmanBits)))]
}

// decode takes one symbol from b, which must hold huffmanMax bits. It reports
// false for the code without symbols.
func (h *huffman) decode(b *bitReader) (sym uint32, ok bool) {
	e := h.entry(b.buf)
	l := uint(e & 0xff)
	b.buf <<= l & 63
	b.n -= l
	return e >> 8, l != 0
}

// copyMatch repeats length bytes from offset bytes before pos. The caller has
// checked that both lie within dst.
func copyMatch(dst []byte, pos, offset, length int) {
	if offset >= 8 && length <= 32 && len(dst)-pos >= 32 {
		// Most are short. Some bytes too many are written again later.
		to, from := dst[pos:pos+32], dst[pos-offset:]
		for i := 0; i < length; i += 8 {
			binary.LittleEndian.PutUint64(to[i:], binary.LittleEndian.Uint64(from[i:]))
		}
		return
	}
	if offset >= length {
		copy(dst[pos:pos+length], dst[pos-offset:])
		return
	}
	if offset == 1 {
		to := dst[pos : pos+length]
		for i, c := 0, dst[pos-1]; i < len(to); i++ {
			to[i] = c
		}
		return
	}
	// What was repeated is repeated again, twice as much each time.
	for n := offset; length > 0; n *= 2 {
		m := copy(dst[pos:pos+length], dst[pos-n:pos])
		pos += m
		length -= m
	}
}

// log2 is the exponent of a power of two.
func log2(n uint32) int { return bits.TrailingZeros32(n) }
