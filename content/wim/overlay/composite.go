package overlay

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"slices"

	"castpoint/content/wim/format"
)

// pieces is a string of bytes that lies in several places, in order. The zero
// value is empty.
type pieces struct {
	list []piece
	size int64
}

type piece struct {
	start int64 // of this piece in the whole
	size  int64
	src   io.ReaderAt
	off   int64 // in src
}

// add appends size bytes of src from off.
func (p *pieces) add(src io.ReaderAt, off, size int64) {
	if size == 0 {
		return
	}
	if n := len(p.list); n > 0 {
		// Neighbours in memory become one. Other sources need not be comparable.
		last := &p.list[n-1]
		a, mem := last.src.(*bytes.Reader)
		if b, ok := src.(*bytes.Reader); mem && ok && a == b && last.off+last.size == off {
			last.size += size
			p.size += size
			return
		}
	}
	p.list = append(p.list, piece{p.size, size, src, off})
	p.size += size
}

// addBytes appends b, which must not change any more.
func (p *pieces) addBytes(b []byte) { p.add(bytes.NewReader(b), 0, int64(len(b))) }

// addPieces appends another string.
func (p *pieces) addPieces(q *pieces) {
	for _, x := range q.list {
		p.add(x.src, x.off, x.size)
	}
}

// patch replaces bytes of a source.
type patch struct {
	at   int64 // in the source
	data []byte
}

// addPatched appends size bytes of src from its start with patches in place,
// which must not overlap. It sorts them.
func (p *pieces) addPatched(src io.ReaderAt, size int64, patches []patch) {
	slices.SortFunc(patches, func(a, b patch) int { return int(a.at - b.at) })
	at := int64(0)
	for _, x := range patches {
		p.add(src, at, x.at-at)
		p.addBytes(x.data)
		at = x.at + int64(len(x.data))
	}
	p.add(src, at, size-at)
}

// ReadAt implements io.ReaderAt.
func (p *pieces) ReadAt(b []byte, off int64) (int, error) {
	if off < 0 {
		return 0, fmt.Errorf("read WIM overlay: negative offset %d", off)
	}
	if off >= p.size {
		return 0, io.EOF
	}
	i, found := slices.BinarySearchFunc(p.list, off, func(x piece, off int64) int {
		switch {
		case x.start > off:
			return 1
		case x.start < off:
			return -1
		}
		return 0
	})
	if !found {
		i-- // the piece that begins before off
	}
	n := 0
	for ; n < len(b) && i < len(p.list); i++ {
		x := &p.list[i]
		skip := off + int64(n) - x.start
		part := b[n:]
		if int64(len(part)) > x.size-skip {
			part = part[:x.size-skip]
		}
		m, err := x.src.ReadAt(part, x.off+skip)
		n += m
		if m < len(part) {
			if err == nil || err == io.EOF { //nolint:errorlint // io.ReaderAt returns io.EOF itself
				err = fmt.Errorf("%w: a file of the overlay, or the WIM below it, became shorter", format.ErrTruncated)
			}
			return n, err
		}
	}
	if n < len(b) {
		return n, io.EOF
	}
	return n, nil
}

// Composite is a WIM file that is put together while it is read: a header, the
// bytes of the stored WIM, and a tail. It holds some kilobytes of memory of its
// own besides the contents that were given as bytes, and shares everything else
// with its Base. Its methods may be called from several goroutines.
type Composite struct {
	pieces pieces
	tail   int64 // bytes behind those of the stored WIM
	id     [sha256.Size]byte
}

// ReadAt implements io.ReaderAt. Errors: those of the readers below, and
// ErrTruncated when one of them became shorter.
func (c *Composite) ReadAt(b []byte, off int64) (int, error) { return c.pieces.ReadAt(b, off) }

// Size is the number of bytes.
func (c *Composite) Size() int64 { return c.pieces.size }

// Tail is the number of bytes behind those of the stored WIM: what the overlay
// costs in transfer.
func (c *Composite) Tail() int64 { return c.tail }

// ETag names the content of the composite: it is the same for the same stored
// WIM, which the caller names by its digest, and the same overlay, in any run
// of the program, and differs otherwise. 64 hexadecimal digits.
func (c *Composite) ETag(baseDigest string) string {
	sum := sha256.Sum256(append(c.id[:len(c.id):len(c.id)], baseDigest...))
	return hex.EncodeToString(sum[:])
}
