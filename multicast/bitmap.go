package multicast

import "math/bits"

// bitmap is a set of block indices.
type bitmap struct {
	words []uint64
	n     int // members of the set
}

func newBitmap(size int) bitmap { return bitmap{words: make([]uint64, (size+63)/64)} }

func (b *bitmap) has(i int) bool { return b.words[i>>6]&(1<<(i&63)) != 0 }

// add reports whether i was new.
func (b *bitmap) add(i int) bool {
	w, bit := &b.words[i>>6], uint64(1)<<(i&63)
	if *w&bit != 0 {
		return false
	}
	*w |= bit
	b.n++
	return true
}

func (b *bitmap) remove(i int) {
	w, bit := &b.words[i>>6], uint64(1)<<(i&63)
	if *w&bit != 0 {
		*w &^= bit
		b.n--
	}
}

// nextMissing is the first index at or after i that is not in the set, or size.
func (b *bitmap) nextMissing(i, size int) int {
	for i < size {
		w := ^b.words[i>>6] >> (i & 63)
		if w != 0 {
			return min(i+bits.TrailingZeros64(w), size)
		}
		i = (i | 63) + 1
	}
	return size
}

// nextPresent is the first index at or after i that is in the set, or size.
func (b *bitmap) nextPresent(i, size int) int {
	for i < size {
		w := b.words[i>>6] >> (i & 63)
		if w != 0 {
			return min(i+bits.TrailingZeros64(w), size)
		}
		i = (i | 63) + 1
	}
	return size
}
