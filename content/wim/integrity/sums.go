package integrity

import (
	"crypto/sha1" //nolint:gosec // the format prescribes it; it finds damage, not forgery
	"encoding/binary"
	"errors"
	"fmt"
	"hash"
	"io"
	"slices"

	"castpoint/content/wim/format"
)

// Stored is what can be known beforehand of the integrity table of a file
// that is made of a stored one by changing its header and adding a tail.
type Stored struct {
	keep  int64 // entries of the stored table that stay true
	table int64 // where they lie in the file
	sums  sums
}

// NewStored hashes the part of the stored file whose entries in the
// integrity table change: from the chunk that is cut by the end of the blob
// table. The file must have such a table. Errors: ErrCorrupt, ErrTruncated, or
// the reader's own.
func NewStored(r io.ReaderAt, size int64, h *format.Header) (*Stored, error) {
	t, err := openTable(r, h)
	if err != nil {
		return nil, err
	}
	i := &Stored{
		keep:  (t.end - format.HeaderSize) / t.chunkSize,
		table: h.Integrity.Offset + integrityHeaderSize,
		sums:  newSums(t.chunkSize),
	}
	from := format.HeaderSize + i.keep*t.chunkSize
	if err := i.sums.read(r, from, size-from); err != nil {
		return nil, fmt.Errorf("read the end of the WIM: %w", err)
	}
	return i, nil
}

// Extended is an integrity table in three pieces: the first entries are
// those of the stored file, from kept on.
type Extended struct {
	Head           []byte
	Kept, KeptSize int64
	Own            []byte
}

// Extend makes the integrity table of the longer file for its bytes up to end;
// from is where the stored file ended. The sums of whole chunks of the stored
// file are taken from its table as they are: when they do not match, the
// receiver learns what the stored file has suffered.
func (i *Stored) Extend(r io.ReaderAt, from, end int64) (Extended, error) {
	sums := i.sums.clone()
	if err := sums.read(r, from, end-from); err != nil {
		return Extended{}, err
	}
	t := Extended{Kept: i.table, KeptSize: i.keep * sha1.Size, Own: sums.finish()}
	chunks := i.keep + int64(len(t.Own)/sha1.Size)
	size := integrityHeaderSize + chunks*sha1.Size
	if size >= 1<<32 {
		return t, fmt.Errorf("%w: %d chunks are more than it can have", format.ErrUnsupported, chunks)
	}
	t.Head = binary.LittleEndian.AppendUint32(t.Head, uint32(size))
	t.Head = binary.LittleEndian.AppendUint32(t.Head, uint32(chunks))
	t.Head = binary.LittleEndian.AppendUint32(t.Head, uint32(sums.chunkSize))
	return t, nil
}

// sums makes the entries of an integrity table of bytes that pass by.
type sums struct {
	chunkSize int64
	done      []byte // entries of whole chunks
	open      hash.Hash
	filled    int64 // bytes of the open chunk
}

func newSums(chunkSize int64) sums {
	return sums{chunkSize: chunkSize, open: sha1.New()} //nolint:gosec // see the import
}

// clone copies the state; the original can go on being cloned.
func (s *sums) clone() sums {
	c := *s
	c.done = slices.Clone(s.done)
	open, err := s.open.(hash.Cloner).Clone()
	if err != nil {
		panic("wim: SHA-1 cannot be cloned: " + err.Error()) // it can, since Go 1.25
	}
	c.open = open
	return c
}

// Write takes the next bytes and never fails.
func (s *sums) Write(b []byte) (int, error) {
	n := len(b)
	for len(b) > 0 {
		part := b[:min(int64(len(b)), s.chunkSize-s.filled)]
		s.open.Write(part)
		s.filled += int64(len(part))
		b = b[len(part):]
		if s.filled == s.chunkSize {
			s.done = s.open.Sum(s.done)
			s.open.Reset()
			s.filled = 0
		}
	}
	return n, nil
}

// read takes size bytes of r from off.
func (s *sums) read(r io.ReaderAt, off, size int64) error {
	buf := make([]byte, min(size, verifyBuffer))
	for size > 0 {
		b := buf[:min(size, int64(len(buf)))]
		if n, err := r.ReadAt(b, off); n < len(b) {
			if errors.Is(err, io.EOF) || err == nil {
				err = io.ErrUnexpectedEOF
			}
			return err
		}
		_, _ = s.Write(b)
		off += int64(len(b))
		size -= int64(len(b))
	}
	return nil
}

// finish returns all entries.
func (s *sums) finish() []byte {
	if s.filled == 0 {
		return s.done
	}
	return s.open.Sum(s.done)
}
