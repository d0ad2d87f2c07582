package wim

import (
	"bufio"
	"context"
	"crypto/sha1" //nolint:gosec // the format prescribes it; it finds damage, not forgery
	"encoding/binary"
	"errors"
	"fmt"
	"hash"
	"io"
)

const (
	// integrityHeaderSize: size of the table (4), number of entries (4), chunk
	// size (4).
	integrityHeaderSize = 12
	// Bounds of a sensible chunk; writers use 10 MiB. A smaller one would make
	// the table an appreciable part of the file.
	minIntegrityChunk = 4096
	maxIntegrityChunk = 128 << 20

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
		ErrCorrupt, e.Damaged, e.Chunks, e.Ranges[0].Start, e.Ranges[0].End-1)
}

// Unwrap makes errors.Is(err, ErrCorrupt) true.
func (e *DamageError) Unwrap() error { return ErrCorrupt }

// Verify hashes the file against its integrity table. progress, which may be
// nil, is called from this goroutine with bytes done and in total.
//
// Errors: those of Describe; ErrNoIntegrity when there is no table and so
// nothing was checked; ErrCorrupt (a *DamageError) when chunks do not match.
func Verify(ctx context.Context, r io.ReaderAt, size int64, progress func(done, total int64)) error {
	c, err := NewChecker(r, size)
	if err != nil {
		return err
	}
	if progress == nil {
		progress = func(int64, int64) {}
	}
	buf := make([]byte, verifyBuffer)
	progress(0, c.table.end)
	for c.offset < c.table.end {
		if err := ctx.Err(); err != nil {
			return err
		}
		b := buf[:min(int64(len(buf)), c.table.end-c.offset)]
		if err := readFull(r, b, c.offset, "image data"); err != nil {
			return err
		}
		if _, err := c.Write(b); err != nil {
			return err
		}
		progress(c.offset, c.table.end)
	}
	return c.Close()
}

// Checker checks a WIM that passes by: the whole file is written to it from its
// first byte on, in pieces of any size, and Close gives the verdict. It lets a
// copy be checked without reading the file a second time.
type Checker struct {
	table  *integrityTable
	offset int64 // in the file, of the next byte written
	sum    hash.Hash
	damage DamageError
}

// NewChecker reads the tables of the file that is going to be written to the
// Checker. Errors: those of Describe, and ErrNoIntegrity when the file has no
// integrity table.
func NewChecker(r io.ReaderAt, size int64) (*Checker, error) {
	h, err := readHeader(r, size)
	if err != nil {
		return nil, err
	}
	if h.integrity.size == 0 {
		return nil, ErrNoIntegrity
	}
	t, err := openIntegrity(r, h)
	if err != nil {
		return nil, err
	}
	return &Checker{table: t, sum: sha1.New(), damage: DamageError{Chunks: t.chunks}}, nil //nolint:gosec // see the import
}

// Write takes the next bytes of the file. It fails when the integrity table
// cannot be read; damage is reported by Close.
func (c *Checker) Write(b []byte) (int, error) {
	n := len(b)
	if c.offset < headerSize { // the header is not covered: writers change it
		skip := min(int64(len(b)), headerSize-c.offset)
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
		return fmt.Errorf("%w: %d of the %d bytes that the integrity table covers were read", ErrTruncated, c.offset, c.table.end)
	}
	if c.damage.Damaged > 0 {
		return &c.damage
	}
	return nil
}

// integrityTable reads the hashes in order, without holding the table.
type integrityTable struct {
	end       int64 // of what is hashed: the end of the blob table
	chunkSize int64
	chunks    int64
	hashes    *bufio.Reader
}

// chunk gives the bounds of the chunk that holds the byte at offset.
func (t *integrityTable) chunk(offset int64) (start, end int64) {
	start = headerSize + (offset-headerSize)/t.chunkSize*t.chunkSize
	return start, min(start+t.chunkSize, t.end)
}

// openIntegrity checks the table's own header against the WIM's.
func openIntegrity(r io.ReaderAt, h *header) (*integrityTable, error) {
	if h.integrity.compressed() {
		return nil, corrupt("%s is marked as compressed, which the format forbids", tableIntegrity)
	}
	if h.integrity.size < integrityHeaderSize {
		return nil, corrupt("%s: %d bytes are too short", tableIntegrity, h.integrity.size)
	}
	var b [integrityHeaderSize]byte
	if err := readFull(r, b[:], h.integrity.offset, tableIntegrity); err != nil {
		return nil, err
	}
	size := int64(binary.LittleEndian.Uint32(b[0:]))
	t := &integrityTable{
		chunks:    int64(binary.LittleEndian.Uint32(b[4:])),
		chunkSize: int64(binary.LittleEndian.Uint32(b[8:])),
		end:       max(h.blobTable.end(), headerSize),
	}
	if size != h.integrity.size || size != integrityHeaderSize+t.chunks*sha1.Size {
		return nil, corrupt("%s: %d chunks need %d bytes, the table says %d and the header %d",
			tableIntegrity, t.chunks, integrityHeaderSize+t.chunks*sha1.Size, size, h.integrity.size)
	}
	if t.chunkSize < minIntegrityChunk || t.chunkSize > maxIntegrityChunk {
		return nil, corrupt("%s: chunk size %d is not in %d to %d", tableIntegrity, t.chunkSize, minIntegrityChunk, maxIntegrityChunk)
	}
	if want := (t.end - headerSize + t.chunkSize - 1) / t.chunkSize; want != t.chunks {
		return nil, corrupt("%s: %d chunks, the file has %d", tableIntegrity, t.chunks, want)
	}
	t.hashes = bufio.NewReaderSize(io.NewSectionReader(r, h.integrity.offset+integrityHeaderSize, t.chunks*sha1.Size), 64<<10)
	return t, nil
}

// next returns the hash of the next chunk.
func (t *integrityTable) next() (sum [sha1.Size]byte, err error) {
	if _, err = io.ReadFull(t.hashes, sum[:]); err != nil {
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			return sum, fmt.Errorf("%w: the file became shorter while its %s was read", ErrTruncated, tableIntegrity)
		}
		return sum, fmt.Errorf("read %s of WIM: %w", tableIntegrity, err)
	}
	return sum, nil
}
