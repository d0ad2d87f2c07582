package integrity

import (
	"crypto/sha1" //nolint:gosec // the format prescribes it; it finds damage, not forgery
	"errors"
	"fmt"
	"hash"
	"io"

	"castpoint/content/wim/format"
)

const (
	// maxDamage is how many damaged chunks are listed; all are counted.
	maxDamage = 100
	// verifyBuffer is the unit of reading, and of noticing that the context
	// ended.
	verifyBuffer = 1 << 20
)

// ByteRange is a part of a file, bytes Start up to but not including End.
type ByteRange struct {
	Start, End int64
}

// DamageError says which chunks do not match the integrity table.
type DamageError struct {
	Chunks  int64       // chunks of the table
	Damaged int64       // of them, how many do not match
	Ranges  []ByteRange // the first of them
}

func (e *DamageError) Error() string {
	return fmt.Sprintf("%v: %d of %d chunks do not match the integrity table, the first at bytes %d to %d",
		format.ErrCorrupt, e.Damaged, e.Chunks, e.Ranges[0].Start, e.Ranges[0].End-1)
}

// Unwrap makes errors.Is(err, ErrCorrupt) true.
func (e *DamageError) Unwrap() error { return format.ErrCorrupt }

// ErrNoIntegrity says that there is nothing to check against: the file was made
// without an integrity table.
var ErrNoIntegrity = errors.New("WIM file has no integrity table")

// Checker checks a WIM that passes by: the whole file is written to it from its
// first byte on, in pieces of any size, and Close gives the verdict. It lets a
// copy be checked without reading the file a second time.
type Checker struct {
	table  *table
	offset int64 // in the file, of the next byte written
	sum    hash.Hash
	damage DamageError
}

// NewChecker reads the tables of the file that is going to be written to the
// Checker. Errors: those of Describe, and ErrNoIntegrity when the file has no
// integrity table.
func NewChecker(r io.ReaderAt, size int64) (*Checker, error) {
	h, err := format.ReadHeader(r, size)
	if err != nil {
		return nil, err
	}
	if h.Integrity.Size == 0 {
		return nil, ErrNoIntegrity
	}
	t, err := openTable(r, h)
	if err != nil {
		return nil, err
	}
	return &Checker{table: t, sum: sha1.New(), damage: DamageError{Chunks: t.chunks}}, nil //nolint:gosec // see the import
}

// Write takes the next bytes of the file. It fails when the integrity table
// cannot be read; damage is reported by Close.
func (c *Checker) Write(b []byte) (int, error) {
	n := len(b)
	if c.offset < format.HeaderSize { // the header is not covered: writers change it
		skip := min(int64(len(b)), format.HeaderSize-c.offset)
		b = b[skip:]
		c.offset += skip
	}
	for len(b) > 0 && c.offset < c.table.end {
		start, end := c.table.chunk(c.offset)
		part := b[:min(int64(len(b)), end-c.offset)]
		c.sum.Write(part)
		b = b[len(part):]
		c.offset += int64(len(part))
		if c.offset == end {
			if err := c.endChunk(start, end); err != nil {
				return n - len(b), err
			}
		}
	}
	c.offset += int64(len(b)) // tables behind the hashed part
	return n, nil
}

// endChunk compares the sum of a chunk with the table.
func (c *Checker) endChunk(start, end int64) error {
	want, err := c.table.next()
	if err != nil {
		return err
	}
	have := [sha1.Size]byte(c.sum.Sum(nil))
	c.sum.Reset()
	if have == want {
		return nil
	}
	c.damage.Damaged++
	if len(c.damage.Ranges) < maxDamage {
		c.damage.Ranges = append(c.damage.Ranges, ByteRange{start, end})
	}
	return nil
}

// Close returns nil when all that the integrity table covers was written and
// matches. Errors: ErrCorrupt (a *DamageError) or ErrTruncated.
func (c *Checker) Close() error {
	if c.offset < c.table.end {
		return fmt.Errorf("%w: %d of the %d bytes that the integrity table covers were read", format.ErrTruncated, c.offset, c.table.end)
	}
	if c.damage.Damaged > 0 {
		return &c.damage
	}
	return nil
}
