package block

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"sort"
)

// Layout is how the objects of a session are cut into blocks. Blocks are numbered
// through all objects in their order; an object begins with a block of its own, and
// its last block may be short. So blocks are those of the objects' manifests, whatever
// a session carries beside them.
type Layout struct {
	BlockSize int // bytes
	Blocks    int
	Size      int64 // of all objects, bytes
	Objects   []Extent
	Tag       uint32 // short name of the objects, in datagrams
}

// Extent is the place of one object among the blocks.
type Extent struct {
	First, Blocks int
	Size          int64 // bytes
}

// NewLayout checks the objects. Hashes may be missing: of objects that a member does
// not want it gets none.
func NewLayout(objects []Object) (Layout, error) {
	l := Layout{Objects: make([]Extent, 0, len(objects))}
	names := sha256.New()
	for i := range objects {
		o := &objects[i]
		n, err := o.blocks()
		if err != nil {
			return l, err
		}
		if i == 0 {
			l.BlockSize = o.BlockSize
		}
		if o.BlockSize != l.BlockSize {
			return l, fmt.Errorf("objects with blocks of %d and of %d bytes: they cannot share a session", l.BlockSize, o.BlockSize)
		}
		l.Objects = append(l.Objects, Extent{l.Blocks, n, o.Size})
		if l.Blocks += n; l.Blocks > MaxBlocks {
			return l, fmt.Errorf("objects of more than %d blocks together", MaxBlocks)
		}
		l.Size += o.Size
		names.Write(o.Digest[:])
	}
	if l.Blocks == 0 {
		return l, errors.New("no bytes in any object: nothing to transmit")
	}
	l.Tag = binary.BigEndian.Uint32(names.Sum(nil))
	return l, nil
}

// Object is the index of the object that block b is of.
func (l *Layout) Object(b int) int {
	if len(l.Objects) == 1 {
		return 0
	}
	// Of those that begin at the same block all but the last are empty.
	return sort.Search(len(l.Objects), func(i int) bool { return l.Objects[i].First > b }) - 1
}

// At is the object of block b, and where the block is in it.
func (l *Layout) At(b int) (object int, offset int64) {
	i := l.Object(b)
	return i, int64(b-l.Objects[i].First) * int64(l.BlockSize)
}

// Length is the number of bytes in block b.
func (l *Layout) Length(b int) int {
	e := &l.Objects[l.Object(b)]
	if b == e.First+e.Blocks-1 {
		return int(e.Size - int64(b-e.First)*int64(l.BlockSize))
	}
	return l.BlockSize
}
