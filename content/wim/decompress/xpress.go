package decompress

import "encoding/binary"

const (
	xpressSymbols  = 512
	xpressMinMatch = 3
)

// XPRESS decodes the "LZ77+Huffman" form of XPRESS, [MS-XCA] 2.2: 512
// code lengths of 4 bits, then one string of bits with single bytes between.
// Symbols below 256 are literals; the others hold four bits of the match's
// length and the number of bits of its offset. Every chunk stands alone.
type XPRESS struct {
	lengths [xpressSymbols]uint8
	code    huffman
}

// Decode implements Decoder.
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
	return d.symbols(dst, src[xpressSymbols/2:])
}

// symbols decodes all of dst. It is most of the work of reading an image, so it
// keeps the bits that bitReader would hold in local variables: buf has n bits,
// and the next word is at src[at:].
func (d *XPRESS) symbols(dst, src []byte) error {
	first := (*[1 << huffmanBits]uint32)(d.code.table)
	at, buf, n := 0, uint64(0), uint(0)
	for pos := 0; pos < len(dst); {
		if n < 31 { // symbol 15, offset 15
			if at+8 <= len(src) {
				// As many words as fit. The first bits of the one behind them come into
				// buf as well, which does no harm: the same bits come again.
				buf |= words(src, at) >> (n & 63)
				k := (64 - n) / 16
				at += 2 * int(k)
				n += 16 * k
			} else {
				in := bitReader{src, at, buf, n}
				in.need(31)
				at, buf, n = in.pos, in.buf, in.n
			}
		}
		e := first[buf>>(64-huffmanBits)]
		if e&huffmanLink != 0 {
			e = d.code.second(e, buf)
		}
		used := uint(e & 0xff)
		if used == 0 {
			return corrupt("XPRESS data: a code without symbols is used")
		}
		buf <<= used & 63
		n -= used
		sym := e >> 8
		if sym < 256 {
			dst[pos] = byte(sym)
			pos++
			continue
		}
		length := int(sym & 0xf)
		if length == 0xf {
			// The single bytes lie where a reader stands that looks ahead by 16
			// bits and no more: the words behind those are given back.
			k := (n - 16) / 16
			at -= 2 * int(k)
			n -= 16 * k
			buf &= ^uint64(0) << ((64 - n) & 63)
			extra, ok := 0, at < len(src)
			if ok {
				extra = int(src[at])
				at++
			}
			if extra == 0xff {
				if ok = at+2 <= len(src); ok {
					extra = int(binary.LittleEndian.Uint16(src[at:])) - 0xf
					at += 2
				}
			}
			if !ok || extra < 0 {
				return corrupt("XPRESS data: the length of a match is cut or too small")
			}
			length += extra
		}
		length += xpressMinMatch
		width := uint(sym>>4) & 0xf
		offset := 1<<width | int(buf>>32>>((32-width)&63))
		buf <<= width & 63
		n -= width
		if offset > pos || length > len(dst)-pos {
			return corrupt("XPRESS data: a match of %d bytes from %d back does not fit at %d of %d", length, offset, pos, len(dst))
		}
		if offset >= 8 && length <= 16 && len(dst)-pos >= 16 {
			// Most are so. Bytes too many are written again later.
			to, from := (*[16]byte)(dst[pos:]), (*[16]byte)(dst[pos-offset:])
			binary.LittleEndian.PutUint64(to[:], binary.LittleEndian.Uint64(from[:]))
			binary.LittleEndian.PutUint64(to[8:], binary.LittleEndian.Uint64(from[8:]))
		} else {
			copyMatch(dst, pos, offset, length)
		}
		pos += length
	}
	if at-int(n/8) > len(src) {
		return corrupt("XPRESS data ends too early")
	}
	return nil
}
