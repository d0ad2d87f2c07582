package block

import "fmt"

// Coding that sessions use: 128 source symbols of 1408 bytes fill a 1500-byte
// link, over IPv6 too; 64 repair symbols cover what a member loses at up to
// 30 % loss before source symbols come round again.
const (
	DefaultSymbolSize    = 1408
	DefaultRepairSymbols = 64
)

// Geometry is a layout with its blocks cut into symbols.
type Geometry struct {
	Layout
	SymbolSize int // bytes
	K, M       int // source and repair symbols of a block
}

// Leopard over GF(2^8) has room for 256 symbols, with the repair symbols
// rounded up to a power of two.
const (
	maxSource = 192
	maxRepair = 64
)

// NewGeometry cuts the blocks of a layout, which it checks.
func NewGeometry(objects []Object, symbolSize, repair int) (Geometry, error) {
	l, err := NewLayout(objects)
	g := Geometry{Layout: l, SymbolSize: symbolSize, M: repair}
	switch {
	case err != nil:
		return g, err
	case symbolSize <= 0 || symbolSize%64 != 0:
		return g, fmt.Errorf("symbol size %d: must be a positive multiple of 64", symbolSize)
	case l.BlockSize%symbolSize != 0:
		return g, fmt.Errorf("block size %d: must be a multiple of the symbol size %d", l.BlockSize, symbolSize)
	}
	g.K = l.BlockSize / symbolSize
	if g.K > maxSource || repair < 1 || repair > maxRepair {
		return g, fmt.Errorf("%d source and %d repair symbols: at most %d and %d", g.K, repair, maxSource, maxRepair)
	}
	return g, nil
}

// Source is the number of source symbols of block b that are sent. The rest, in
// the last block of an object, are zeros that everybody knows.
func (g *Geometry) Source(b int) int {
	return (g.Length(b) + g.SymbolSize - 1) / g.SymbolSize
}
