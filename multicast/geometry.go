package multicast

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"sort"
)

// layout is how the objects of a session are cut into blocks. Blocks are numbered
// through all objects in their order; an object begins with a block of its own, and
// its last block may be short. So blocks are those of the objects' manifests, whatever
// a session carries beside them.
type layout struct {
	blockSize int // bytes
	blocks    int
	size      int64 // of all objects, bytes
	objects   []extent
	tag       uint32 // short name of the objects, in datagrams
}

// extent is the place of one object among the blocks.
type extent struct {
	first, blocks int
	size          int64 // bytes
}

// maxBlockSize bounds what a receiver allocates for a block, in bytes.
const maxBlockSize = 16 << 20

// newLayout checks the objects. Hashes may be missing: of objects that a member does
// not want it gets none.
func newLayout(objects []Object) (layout, error) {
	l := layout{objects: make([]extent, 0, len(objects))}
	names := sha256.New()
	for i := range objects {
		o := &objects[i]
		n, err := o.blocks()
		if err != nil {
			return l, err
		}
		if i == 0 {
			l.blockSize = o.BlockSize
		}
		if o.BlockSize != l.blockSize {
			return l, fmt.Errorf("objects with blocks of %d and of %d bytes: they cannot share a session", l.blockSize, o.BlockSize)
		}
		l.objects = append(l.objects, extent{l.blocks, n, o.Size})
		if l.blocks += n; l.blocks > MaxBlocks {
			return l, fmt.Errorf("objects of more than %d blocks together", MaxBlocks)
		}
		l.size += o.Size
		names.Write(o.Digest[:])
	}
	if l.blocks == 0 {
		return l, errors.New("no bytes in any object: nothing to transmit")
	}
	l.tag = binary.BigEndian.Uint32(names.Sum(nil))
	return l, nil
}

// blocks checks the object and counts its blocks.
func (o *Object) blocks() (int, error) {
	if o.Size < 0 {
		return 0, fmt.Errorf("object of %d bytes: there is no such thing", o.Size)
	}
	if o.BlockSize <= 0 || o.BlockSize > maxBlockSize {
		return 0, fmt.Errorf("block size %d: must be 1 to %d bytes", o.BlockSize, maxBlockSize)
	}
	n := o.Size / int64(o.BlockSize)
	if o.Size%int64(o.BlockSize) != 0 {
		n++
	}
	if n > MaxBlocks {
		return 0, fmt.Errorf("object of %d bytes has %d blocks: at most %d", o.Size, n, MaxBlocks)
	}
	if len(o.Hashes) != 0 && int64(len(o.Hashes)) != n*HashSize {
		return 0, fmt.Errorf("object of %d blocks comes with %d bytes of block hashes, want %d", n, len(o.Hashes), n*HashSize)
	}
	return int(n), nil
}

// object is the index of the object that block b is of.
func (l *layout) object(b int) int {
	if len(l.objects) == 1 {
		return 0
	}
	// Of those that begin at the same block all but the last are empty.
	return sort.Search(len(l.objects), func(i int) bool { return l.objects[i].first > b }) - 1
}

// at is the object of block b, and where the block is in it.
func (l *layout) at(b int) (object int, offset int64) {
	i := l.object(b)
	return i, int64(b-l.objects[i].first) * int64(l.blockSize)
}

// length is the number of bytes in block b.
func (l *layout) length(b int) int {
	e := &l.objects[l.object(b)]
	if b == e.first+e.blocks-1 {
		return int(e.size - int64(b-e.first)*int64(l.blockSize))
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

func newGeometry(objects []Object, symbolSize, repair int) (geometry, error) {
	l, err := newLayout(objects)
	g := geometry{layout: l, symbolSize: symbolSize, m: repair}
	switch {
	case err != nil:
		return g, err
	case symbolSize <= 0 || symbolSize%64 != 0:
		return g, fmt.Errorf("symbol size %d: must be a positive multiple of 64", symbolSize)
	case l.blockSize%symbolSize != 0:
		return g, fmt.Errorf("block size %d: must be a multiple of the symbol size %d", l.blockSize, symbolSize)
	}
	g.k = l.blockSize / symbolSize
	if g.k > maxSource || repair < 1 || repair > maxRepair {
		return g, fmt.Errorf("%d source and %d repair symbols: at most %d and %d", g.k, repair, maxSource, maxRepair)
	}
	return g, nil
}

// source is the number of source symbols of block b that are sent. The rest, in
// the last block of an object, are zeros that everybody knows.
func (g *geometry) source(b int) int {
	return (g.length(b) + g.symbolSize - 1) / g.symbolSize
}
