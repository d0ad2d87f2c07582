package multicast

import (
	"fmt"
	"math/bits"

	"github.com/klauspost/reedsolomon"
)

// code computes repair symbols and rebuilds source symbols: Reed-Solomon over
// GF(2^8) in Leopard's form, whose cost does not grow with what was lost.
type code struct {
	g  *geometry
	rs reedsolomon.Encoder
}

func newCode(g *geometry) (*code, error) {
	rs, err := reedsolomon.New(g.k, g.m, reedsolomon.WithLeopardGF(true))
	if err != nil {
		return nil, fmt.Errorf("code with %d source and %d repair symbols: %w", g.k, g.m, err)
	}
	return &code{g: g, rs: rs}, nil
}

// shards cuts source (a whole block, padded with zeros) and repair into symbols.
func (c *code) shards(dst [][]byte, source, repair []byte) [][]byte {
	dst = dst[:0]
	for i := range c.g.k {
		dst = append(dst, source[i*c.g.symbolSize:(i+1)*c.g.symbolSize:(i+1)*c.g.symbolSize])
	}
	for i := range c.g.m {
		dst = append(dst, repair[i*c.g.symbolSize:(i+1)*c.g.symbolSize:(i+1)*c.g.symbolSize])
	}
	return dst
}

// encode computes all repair symbols of a block.
func (c *code) encode(scratch [][]byte, source, repair []byte) ([][]byte, error) {
	s := c.shards(scratch, source, repair)
	return s, c.rs.Encode(s)
}

// decode rebuilds the source symbols that are missing. have tells for each of
// the k+m symbols whether it is there.
func (c *code) decode(scratch [][]byte, source, repair []byte, have *symbolSet) ([][]byte, error) {
	s := c.shards(scratch, source, repair)
	for i := range s {
		if !have.has(i) {
			// Empty with capacity: a rebuilt symbol lands in its place.
			s[i] = s[i][:0]
			if i >= c.g.k {
				s[i] = nil
			}
		}
	}
	return s, c.rs.ReconstructData(s)
}

// symbolSet holds the symbols of a block that are there.
type symbolSet [4]uint64

func (s *symbolSet) has(i int) bool { return s[i>>6]&(1<<(i&63)) != 0 }
func (s *symbolSet) add(i int)      { s[i>>6] |= 1 << (i & 63) }

// count is how many symbols are there.
func (s *symbolSet) count() (n int) {
	for _, w := range s {
		n += bits.OnesCount64(w)
	}
	return n
}
