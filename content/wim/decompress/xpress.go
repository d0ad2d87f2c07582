package decompress

import "encoding/binary"

const (
	xpressSymbols  = 512
	xpressMinMatch = 3
	// XPRESS offsets have at most 16 bits.
	XPRESSMinChunk = 1 << 12
	XPRESSMaxChunk = 1 << 16
)

// XPRESS decodes the "LZ77+Huffman" form of XPRESS, [MS-XCA] 2.2: 512
// code lengths of 4 bits, then one string of bits with single bytes between.
// Symbols below 256 are literals; the others hold four bits of the match's
// length and the number of bits of its offset. Every chunk stands alone.
type XPRESS struct {
	lengths [xpressSymbols]uint8
	code    huffman
	in      bitReader
}

func (d *XPRESS) Decode(dst, src []byte) error {
	if len(src) < xpressSymbols/2 {
		return corrupt("XPRESS data: %d bytes are too short for the code lengths", len(src))
	}
	for i := range xpressSymbols / 2 {
		d.lengths[2*i] = src[i] & 0xf
		d.lengths[2*i+1] = src[i] >> 4
	}
	if !d.code.build(d.lengths[:]) {
		return corrupt("XPRESS data: the code lengths are no Huffman code")
	}
	in := &d.in
	in.reset(src[xpressSymbols/2:])
	for pos := 0; pos < len(dst); {
		if in.n < 31 { // symbol 15, offset 15
			in.fill()
		}
		sym, ok := d.code.decode(in)
		if !ok {
			return corrupt("XPRESS data: a code without symbols is used")
		}
		if sym < 256 {
			dst[pos] = byte(sym)
			pos++
			continue
		}
		length := int(sym & 0xf)
		if length == 0xf {
			in.unread(16)
			extra, ok := in.bytes(1)
			if ok && extra == 0xff {
				extra, ok = in.bytes(2)
				extra -= 0xf
			}
			if !ok || extra < 0 {
				return corrupt("XPRESS data: the length of a match is cut or too small")
			}
			length += extra
		}
		length += xpressMinMatch
		width := uint(sym>>4) & 0xf
		offset := 1<<width | int(in.take(width))
		if offset > pos || length > len(dst)-pos {
			return corrupt("XPRESS data: a match of %d bytes from %d back does not fit at %d of %d", length, offset, pos, len(dst))
		}
		copyMatch(dst, pos, offset, length)
		pos += length
	}
	if in.overrun() {
		return corrupt("XPRESS data ends too early")
	}
	return nil
}

// unread gives all words back that are not needed to hold n bits: the single
// bytes of XPRESS lie where a reader stands that looks ahead by 16 bits and no
// more.
func (b *bitReader) unread(n uint) {
	k := (b.n - n) / 16
	b.pos -= 2 * int(k)
	b.n -= 16 * k
	b.buf &= ^uint64(0) << (64 - b.n)
}

// bytes takes a number of n whole bytes, 1 or 2, from behind the words that are
// in the buffer.
func (b *bitReader) bytes(n int) (int, bool) {
	if b.pos+n > len(b.src) {
		return 0, false
	}
	v := int(b.src[b.pos])
	if n == 2 {
		v = int(binary.LittleEndian.Uint16(b.src[b.pos:]))
	}
	b.pos += n
	return v, true
}
