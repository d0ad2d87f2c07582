package integrity

import (
	"bufio"
	"crypto/sha1" //nolint:gosec // the format prescribes it; it finds damage, not forgery
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"castpoint/content/wim/format"
)

// The integrity table as it lies in the file.
const (
	// integrityHeaderSize: size of the table (4), number of entries (4), chunk
	// size (4).
	integrityHeaderSize = 12
	// Bounds of a sensible chunk; writers use 10 MiB. A smaller one would make
	// the table an appreciable part of the file.
	minIntegrityChunk = 4096
	maxIntegrityChunk = 128 << 20
)

// table reads the hashes in order, without holding the table.
type table struct {
	end       int64 // of what is hashed: the end of the blob table
	chunkSize int64
	chunks    int64
	hashes    *bufio.Reader
}

// chunk gives the bounds of the chunk that holds the byte at offset.
func (t *table) chunk(offset int64) (start, end int64) {
	start = format.HeaderSize + (offset-format.HeaderSize)/t.chunkSize*t.chunkSize
	return start, min(start+t.chunkSize, t.end)
}

// openTable checks the table's own header against the WIM's.
func openTable(r io.ReaderAt, h *format.Header) (*table, error) {
	if h.Integrity.Compressed() {
		return nil, format.Corrupt("%s is marked as compressed, which the format forbids", format.TableIntegrity)
	}
	if h.Integrity.Size < integrityHeaderSize {
		return nil, format.Corrupt("%s: %d bytes are too short", format.TableIntegrity, h.Integrity.Size)
	}
	var b [integrityHeaderSize]byte
	if err := format.ReadFull(r, b[:], h.Integrity.Offset, format.TableIntegrity); err != nil {
		return nil, err
	}
	size := int64(binary.LittleEndian.Uint32(b[0:]))
	t := &table{
		chunks:    int64(binary.LittleEndian.Uint32(b[4:])),
		chunkSize: int64(binary.LittleEndian.Uint32(b[8:])),
		end:       max(h.BlobTable.End(), format.HeaderSize),
	}
	if size != h.Integrity.Size || size != integrityHeaderSize+t.chunks*sha1.Size {
		return nil, format.Corrupt("%s: %d chunks need %d bytes, the table says %d and the header %d",
			format.TableIntegrity, t.chunks, integrityHeaderSize+t.chunks*sha1.Size, size, h.Integrity.Size)
	}
	if t.chunkSize < minIntegrityChunk || t.chunkSize > maxIntegrityChunk {
		return nil, format.Corrupt("%s: chunk size %d is not in %d to %d", format.TableIntegrity, t.chunkSize, minIntegrityChunk, maxIntegrityChunk)
	}
	if want := (t.end - format.HeaderSize + t.chunkSize - 1) / t.chunkSize; want != t.chunks {
		return nil, format.Corrupt("%s: %d chunks, the file has %d", format.TableIntegrity, t.chunks, want)
	}
	t.hashes = bufio.NewReaderSize(io.NewSectionReader(r, h.Integrity.Offset+integrityHeaderSize, t.chunks*sha1.Size), 64<<10)
	return t, nil
}

// next returns the hash of the next chunk.
func (t *table) next() (sum [sha1.Size]byte, err error) {
	if _, err = io.ReadFull(t.hashes, sum[:]); err != nil {
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			return sum, fmt.Errorf("%w: the file became shorter while its %s was read", format.ErrTruncated, format.TableIntegrity)
		}
		return sum, fmt.Errorf("read %s of WIM: %w", format.TableIntegrity, err)
	}
	return sum, nil
}
