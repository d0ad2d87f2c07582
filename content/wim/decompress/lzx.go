package decompress

import (
	"bytes"
	"encoding/binary"
)

const (
	lzxMinMatch     = 2
	lzxLengthCodes  = 249 // lengths that do not fit into the main symbol
	lzxPreCodes     = 20  // symbols that code lengths are written with
	lzxAlignedCodes = 8   // low three bits of an offset
	lzxMaxSlots     = 50  // of offsets, with the largest window
	lzxDefaultBlock = 32768

	lzxBlockVerbatim     = 1
	lzxBlockAligned      = 2
	lzxBlockUncompressed = 3

	// The distance of x86 calls is stored as if the program were this long, in
	// every WIM.
	lzxCallSize = 12_000_000
)

// lzxSlots is the number of offset slots by the exponent of the window's size,
// from LZXMinChunk on.
var lzxSlots = [...]int{30, 32, 34, 36, 38, 42, 50}

// lzxOffsets gives the first offset of a slot and how many bits follow.
var lzxOffsets = func() (t [lzxMaxSlots]struct{ base, bits uint32 }) {
	base := uint32(0)
	for i := range t {
		t[i].base = base
		if i >= 4 {
			t[i].bits = min(uint32(i-2)/2, 17)
		}
		base += 1 << t[i].bits
	}
	return t
}()

// LZX decodes the LZX of WIM files: that of cabinet files ([MS-PATCH])
// with another block header and with call translation always on. Every chunk
// stands alone: the window, the code lengths and the three recent offsets begin
// anew.
//
// A chunk is a row of blocks. A block has a type (3 bits), a size (one bit for
// 32768, or the size itself), its codes, and its symbols: a literal, or a match
// as three bits of length and the slot of its offset.
type LZX struct {
	slots       int
	wideSize    bool // sizes of blocks have 24 bits, not 16
	mainLengths [256 + 8*lzxMaxSlots]uint8
	lenLengths  [lzxLengthCodes]uint8
	main        huffman
	length      huffman
	aligned     huffman
	pre         huffman
	recent      [3]uint32
	in          bitReader
}

// NewLZX makes a decoder for chunks of up to chunkSize bytes, a power of
// two from LZXMinChunk to LZXMaxChunk.
func NewLZX(chunkSize uint32) *LZX {
	return &LZX{
		slots:    lzxSlots[log2(chunkSize)-log2(LZXMinChunk)],
		wideSize: chunkSize >= 1<<16,
	}
}

// Decode implements Decoder.
func (d *LZX) Decode(dst, src []byte) error {
	d.in.reset(src)
	d.recent = [3]uint32{1, 1, 1}
	clear(d.mainLengths[:])
	clear(d.lenLengths[:])
	for pos := 0; pos < len(dst); {
		kind := d.in.read(3)
		size := lzxDefaultBlock
		if d.in.read(1) == 0 {
			if size = int(d.in.read(16)); d.wideSize {
				size = size<<8 | int(d.in.read(8))
			}
		}
		if size == 0 || size > len(dst)-pos {
			return corrupt("LZX data: a block of %d bytes at %d of %d", size, pos, len(dst))
		}
		var err error
		switch kind {
		case lzxBlockVerbatim, lzxBlockAligned:
			if err = d.codes(kind == lzxBlockAligned); err == nil {
				err = d.symbols(dst[:pos+size], pos, kind == lzxBlockAligned)
			}
		case lzxBlockUncompressed:
			err = d.stored(dst[pos : pos+size])
		default:
			err = corrupt("LZX data: block type %d", kind)
		}
		if err != nil {
			return err
		}
		pos += size
	}
	if d.in.overrun() {
		return corrupt("LZX data ends too early")
	}
	untranslateCalls(dst)
	return nil
}

// codes reads the Huffman codes of a block.
func (d *LZX) codes(aligned bool) error {
	if aligned {
		var lengths [lzxAlignedCodes]uint8
		for i := range lengths {
			lengths[i] = uint8(d.in.read(3))
		}
		if !d.aligned.build(lengths[:]) {
			return corrupt("LZX data: the aligned offset code is no Huffman code")
		}
	}
	symbols := 256 + 8*d.slots
	for _, part := range [][]uint8{d.mainLengths[:256], d.mainLengths[256:symbols], d.lenLengths[:]} {
		if err := d.lengths(part); err != nil {
			return err
		}
	}
	if !d.main.build(d.mainLengths[:symbols]) || !d.length.build(d.lenLengths[:]) {
		return corrupt("LZX data: the code lengths of a block are no Huffman code")
	}
	return nil
}

// lengths reads code lengths, which are written as differences from those of
// the block before.
func (d *LZX) lengths(lens []uint8) error {
	var pre [lzxPreCodes]uint8
	for i := range pre {
		pre[i] = uint8(d.in.read(4))
	}
	if !d.pre.build(pre[:]) {
		return corrupt("LZX data: the code of the code lengths is no Huffman code")
	}
	for i := 0; i < len(lens); {
		d.in.need(32)
		sym, ok := d.pre.decode(&d.in)
		if !ok {
			return corrupt("LZX data: a code without symbols is used")
		}
		run, value := 1, uint8(0)
		switch sym {
		case 17:
			run = 4 + int(d.in.take(4))
		case 18:
			run = 20 + int(d.in.take(5))
		case 19:
			run = 4 + int(d.in.take(1))
			d.in.need(huffmanMax)
			if sym, ok = d.pre.decode(&d.in); !ok || sym > 16 {
				return corrupt("LZX data: a run of code lengths without a length")
			}
			fallthrough
		default:
			value = uint8((uint32(lens[i]) + 17 - sym) % 17)
		}
		if run > len(lens)-i {
			return corrupt("LZX data: more code lengths than symbols")
		}
		for range run {
			lens[i] = value
			i++
		}
	}
	return nil
}

// symbols decodes a block that ends where dst ends.
//
// It is most of the work of reading an image, so it keeps the bit reader and the
// recent offsets in local variables, and looks the common short codes up by
// itself.
func (d *LZX) symbols(dst []byte, pos int, aligned bool) error {
	first := (*[1 << huffmanBits]uint32)(d.main.table)
	lengths := (*[1 << huffmanBits]uint32)(d.length.table)
	src, at, buf, n := d.in.src, d.in.pos, d.in.buf, d.in.n
	recent := d.recent
	for pos < len(dst) {
		if n < 2*huffmanMax { // two main symbols
			if at+8 <= len(src) {
				// As many words as fit. The first bits of the one behind them come into
				// buf as well, which does no harm: the same bits come again.
				buf |= words(src, at) >> (n & 63)
				k := (64 - n) / 16
				at += 2 * int(k)
				n += 16 * k
			} else {
				in := bitReader{src, at, buf, n}
				in.need(2 * huffmanMax)
				at, buf, n = in.pos, in.buf, in.n
			}
		}
		e := first[buf>>(64-huffmanBits)]
		if e&huffmanLink != 0 {
			e = d.main.second(e, buf)
		}
		used := uint(e & 0xff)
		buf <<= used & 63
		n -= used
		if e < 256<<8 {
			if used == 0 {
				return corrupt("LZX data: a code without symbols is used")
			}
			dst[pos] = byte(e >> 8)
			pos++
			if pos == len(dst) {
				break
			}
			if e = first[buf>>(64-huffmanBits)]; e&huffmanLink != 0 {
				e = d.main.second(e, buf)
			}
			used = uint(e & 0xff)
			if e < 256<<8 {
				if used == 0 {
					return corrupt("LZX data: a code without symbols is used")
				}
				buf <<= used & 63
				n -= used
				dst[pos] = byte(e >> 8)
				pos++
				continue
			}
			buf <<= used & 63
			n -= used
		}
		if n < 33 { // length 16, offset 17
			if at+8 <= len(src) {
				buf |= words(src, at) >> (n & 63)
				k := (64 - n) / 16
				at += 2 * int(k)
				n += 16 * k
			} else {
				in := bitReader{src, at, buf, n}
				in.need(33)
				at, buf, n = in.pos, in.buf, in.n
			}
		}
		sym := e>>8 - 256
		length := int(sym&7) + lzxMinMatch
		if sym&7 == 7 {
			e := lengths[buf>>(64-huffmanBits)]
			if e&huffmanLink != 0 {
				e = d.length.second(e, buf)
			}
			used := uint(e & 0xff)
			if used == 0 {
				return corrupt("LZX data: a code without symbols is used")
			}
			buf <<= used & 63
			n -= used
			length += int(e >> 8)
		}
		var offset uint32
		slot := sym >> 3
		if slot < 3 {
			offset = recent[slot]
			recent[slot] = recent[0]
			recent[0] = offset
		} else {
			o := lzxOffsets[slot]
			if aligned && o.bits >= 3 {
				width := o.bits - 3
				offset = uint32(buf>>32>>((32-width)&63)) << 3
				buf <<= width & 63
				n -= uint(width)
				if n < huffmanMax {
					in := bitReader{src, at, buf, n}
					in.need(huffmanMax)
					at, buf, n = in.pos, in.buf, in.n
				}
				e := d.aligned.entry(buf)
				used := uint(e & 0xff)
				if used == 0 {
					return corrupt("LZX data: a code without symbols is used")
				}
				buf <<= used & 63
				n -= used
				offset += e >> 8
			} else {
				offset = uint32(buf >> 32 >> ((32 - o.bits) & 63))
				buf <<= o.bits & 63
				n -= uint(o.bits)
			}
			offset += o.base - 2
			recent[2], recent[1], recent[0] = recent[1], recent[0], offset
		}
		if offset == 0 || int64(offset) > int64(pos) || length > len(dst)-pos {
			return corrupt("LZX data: a match of %d bytes from %d back does not fit at %d of %d", length, offset, pos, len(dst))
		}
		if offset >= 8 && length <= 16 && len(dst)-pos >= 16 {
			// Most are so. Bytes too many are written again later.
			to, from := (*[16]byte)(dst[pos:]), (*[16]byte)(dst[pos-int(offset):])
			binary.LittleEndian.PutUint64(to[:], binary.LittleEndian.Uint64(from[:]))
			binary.LittleEndian.PutUint64(to[8:], binary.LittleEndian.Uint64(from[8:]))
		} else {
			copyMatch(dst, pos, int(offset), length)
		}
		pos += length
	}
	d.in.pos, d.in.buf, d.in.n = at, buf, n
	d.recent = recent
	return nil
}

// stored reads an uncompressed block, which begins with the next whole word:
// the recent offsets, then the bytes.
func (d *LZX) stored(dst []byte) error {
	in := &d.in
	// What remains of the current word is padding, a whole word when nothing
	// remains. Whole words behind it were only looked at.
	in.need(1)
	pad := in.n % 16
	if pad == 0 {
		pad = 16
	}
	pos := in.pos - int(in.n-pad)/8
	if pos > len(in.src) || len(in.src)-pos < 12+len(dst) {
		return corrupt("LZX data: an uncompressed block of %d bytes is cut", len(dst))
	}
	for i := range d.recent {
		d.recent[i] = binary.LittleEndian.Uint32(in.src[pos+4*i:])
	}
	pos += 12
	copy(dst, in.src[pos:])
	pos += len(dst) + len(dst)%2
	in.pos, in.buf, in.n = pos, 0, 0
	return nil
}

// untranslateCalls turns the targets of x86 call instructions back into
// distances. It treats every 0xe8 so, in programs and in anything else, as the
// compressor did.
func untranslateCalls(b []byte) {
	for i := 0; i < len(b)-10; i++ {
		next := bytes.IndexByte(b[i:len(b)-10], 0xe8)
		if next < 0 {
			return
		}
		i += next
		target := int32(binary.LittleEndian.Uint32(b[i+1:]))
		switch at := int32(i); {
		case target >= 0 && target < lzxCallSize:
			binary.LittleEndian.PutUint32(b[i+1:], uint32(target-at))
		case target < 0 && target >= -at:
			binary.LittleEndian.PutUint32(b[i+1:], uint32(target+lzxCallSize))
		}
		i += 4
	}
}
