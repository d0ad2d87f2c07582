package block

import "math/bits"

// Set is a set of block indices.
type Set struct {
	words []uint64
	n     int // members of the set
}

// NewSet makes an empty set for indices below size.
func NewSet(size int) Set { return Set{words: make([]uint64, (size+63)/64)} }

// Len is how many indices are in the set.
func (b *Set) Len() int { return b.n }

// Has reports whether i is in the set.
func (b *Set) Has(i int) bool { return b.words[i>>6]&(1<<(i&63)) != 0 }

// Add puts i into the set and reports whether i was new.
func (b *Set) Add(i int) bool {
	w, bit := &b.words[i>>6], uint64(1)<<(i&63)
	if *w&bit != 0 {
		return false
	}
	*w |= bit
	b.n++
	return true
}

// Remove takes i out of the set.
func (b *Set) Remove(i int) {
	w, bit := &b.words[i>>6], uint64(1)<<(i&63)
	if *w&bit != 0 {
		*w &^= bit
		b.n--
	}
}

// NextMissing is the first index at or after i that is not in the set, or size.
func (b *Set) NextMissing(i, size int) int {
	for i < size {
		w := ^b.words[i>>6] >> (i & 63)
		if w != 0 {
			return min(i+bits.TrailingZeros64(w), size)
		}
		i = (i | 63) + 1
	}
	return size
}

// NextPresent is the first index at or after i that is in the set, or size.
func (b *Set) NextPresent(i, size int) int {
	for i < size {
		w := b.words[i>>6] >> (i & 63)
		if w != 0 {
			return min(i+bits.TrailingZeros64(w), size)
		}
		i = (i | 63) + 1
	}
	return size
}
