package wim

import (
	"bufio"
	"context"
	"crypto/sha1" //nolint:gosec // the format prescribes it; it finds damage, not forgery
	"encoding/binary"
	"errors"
	"fmt"
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
	h, err := readHeader(r, size)
	if err != nil {
		return err
	}
	if h.integrity.size == 0 {
		return ErrNoIntegrity
	}
	t, err := openIntegrity(r, h)
	if err != nil {
		return err
	}
	if progress == nil {
		progress = func(int64, int64) {}
	}
	damage := DamageError{Chunks: t.chunks}
	sum := sha1.New() //nolint:gosec // see the import
	buf := make([]byte, verifyBuffer)
	progress(0, t.end-headerSize)
	for start := int64(headerSize); start < t.end; start += t.chunkSize {
		end := min(start+t.chunkSize, t.end)
		sum.Reset()
		for off := start; off < end; {
			if err := ctx.Err(); err != nil {
				return err
			}
			b := buf[:min(int64(len(buf)), end-off)]
			if err := readFull(r, b, off, "image data"); err != nil {
				return err
			}
			sum.Write(b)
			off += int64(len(b))
			progress(off-headerSize, t.end-headerSize)
		}
		want, err := t.next()
		if err != nil {
			return err
		}
		if [sha1.Size]byte(sum.Sum(nil)) != want {
			damage.Damaged++
			if len(damage.Ranges) < maxDamage {
				damage.Ranges = append(damage.Ranges, ByteRange{start, end})
			}
		}
	}
	if damage.Damaged > 0 {
		return &damage
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
