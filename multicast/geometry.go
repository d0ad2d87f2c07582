package multicast

import (
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
)

// layout is how an object is cut into blocks.
type layout struct {
	size      int64 // object, bytes
	blockSize int   // bytes
	blocks    int
}

func newLayout(o *Object) (layout, error) {
	l := layout{size: o.Size, blockSize: o.BlockSize}
	if o.Size <= 0 {
		return l, fmt.Errorf("object of %d bytes: nothing to transmit", o.Size)
	}
	if o.BlockSize <= 0 || o.BlockSize > 16<<20 {
		return l, fmt.Errorf("block size %d: must be 1 to %d bytes", o.BlockSize, 16<<20)
	}
	n := (o.Size-1)/int64(o.BlockSize) + 1
	if n > MaxBlocks {
		return l, fmt.Errorf("object of %d bytes has %d blocks: at most %d", o.Size, n, MaxBlocks)
	}
	l.blocks = int(n)
	if len(o.Hashes) != l.blocks*HashSize {
		return l, fmt.Errorf("object of %d blocks comes with %d bytes of block hashes, want %d", l.blocks, len(o.Hashes), l.blocks*HashSize)
	}
	return l, nil
}

// length is the number of bytes in block b.
func (l *layout) length(b int) int {
	if b == l.blocks-1 {
		return int(l.size - int64(b)*int64(l.blockSize))
	}
	return l.blockSize
}

// geometry is a layout with its blocks cut into symbols.
type geometry struct {
	layout
	symbolSize int // bytes
	k, m       int // source and repair symbols of a block
}

// Leopard over GF(2^8) has room for 256 symbols, with the repair symbols
// rounded up to a power of two.
const (
	maxSource = 192
	maxRepair = 64
)

func newGeometry(o *Object, symbolSize, repair int) (geometry, error) {
	l, err := newLayout(o)
	g := geometry{layout: l, symbolSize: symbolSize, m: repair}
	switch {
	case err != nil:
		return g, err
	case symbolSize <= 0 || symbolSize%64 != 0:
		return g, fmt.Errorf("symbol size %d: must be a positive multiple of 64", symbolSize)
	case o.BlockSize%symbolSize != 0:
		return g, fmt.Errorf("block size %d: must be a multiple of the symbol size %d", o.BlockSize, symbolSize)
	}
	g.k = o.BlockSize / symbolSize
	if g.k > maxSource || repair < 1 || repair > maxRepair {
		return g, fmt.Errorf("%d source and %d repair symbols: at most %d and %d", g.k, repair, maxSource, maxRepair)
	}
	return g, nil
}

// source is the number of source symbols of block b that are sent. The rest, in
// the last block, are zeros that everybody knows.
func (g *geometry) source(b int) int {
	return (g.length(b) + g.symbolSize - 1) / g.symbolSize
}

// tag is the object's short name in datagrams.
func (o *Object) tag() uint32 { return binary.BigEndian.Uint32(o.Digest[:]) }

// Complete fills Digest from SHA256 after the object has come as JSON.
func (o *Object) Complete() error {
	b, err := hex.DecodeString(o.SHA256)
	if err != nil || len(b) != len(o.Digest) {
		return errors.New("object's sha256 is not 64 hexadecimal digits")
	}
	copy(o.Digest[:], b)
	return nil
}
