package block

import "math/bits"

// Symbols holds the symbols of a block that are there.
type Symbols [4]uint64

// Has reports whether symbol i is there.
func (s *Symbols) Has(i int) bool { return s[i>>6]&(1<<(i&63)) != 0 }

// Add notes that symbol i is there.
func (s *Symbols) Add(i int) { s[i>>6] |= 1 << (i & 63) }

// Count is how many symbols are there.
func (s *Symbols) Count() (n int) {
	for _, w := range s {
		n += bits.OnesCount64(w)
	}
	return n
}
