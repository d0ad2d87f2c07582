package block

import (
	"fmt"

	"github.com/klauspost/reedsolomon"
)

// Code computes repair symbols and rebuilds source symbols: Reed-Solomon over
// GF(2^8) in Leopard's form, whose cost does not grow with what was lost.
type Code struct {
	g  *Geometry
	rs reedsolomon.Encoder
}

// NewCode makes the code of a geometry.
func NewCode(g *Geometry) (*Code, error) {
	rs, err := reedsolomon.New(g.K, g.M, reedsolomon.WithLeopardGF(true))
	if err != nil {
		return nil, fmt.Errorf("code with %d source and %d repair symbols: %w", g.K, g.M, err)
	}
	return &Code{g: g, rs: rs}, nil
}

// shards cuts source (a whole block, padded with zeros) and repair into symbols.
func (c *Code) shards(dst [][]byte, source, repair []byte) [][]byte {
	dst = dst[:0]
	for i := range c.g.K {
		dst = append(dst, source[i*c.g.SymbolSize:(i+1)*c.g.SymbolSize:(i+1)*c.g.SymbolSize])
	}
	for i := range c.g.M {
		dst = append(dst, repair[i*c.g.SymbolSize:(i+1)*c.g.SymbolSize:(i+1)*c.g.SymbolSize])
	}
	return dst
}

// Encode computes all repair symbols of a block.
func (c *Code) Encode(scratch [][]byte, source, repair []byte) ([][]byte, error) {
	s := c.shards(scratch, source, repair)
	return s, c.rs.Encode(s)
}

// Decode rebuilds the source symbols that are missing. have tells for each of
// the k+m symbols whether it is there.
func (c *Code) Decode(scratch [][]byte, source, repair []byte, have *Symbols) ([][]byte, error) {
	s := c.shards(scratch, source, repair)
	for i := range s {
		if !have.Has(i) {
			// Empty with capacity: a rebuilt symbol lands in its place.
			s[i] = s[i][:0]
			if i >= c.g.K {
				s[i] = nil
			}
		}
	}
	return s, c.rs.ReconstructData(s)
}
