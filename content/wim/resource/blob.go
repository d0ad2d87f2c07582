package resource

import (
	"crypto/sha1" //nolint:gosec // the format prescribes it; it finds damage, not forgery
	"errors"
	"fmt"
	"hash"
	"io"
	"sync"

	"castpoint/content/wim/format"
)

// Blob is the content of one file or of one of its streams. Its methods may be
// called from several goroutines.
type Blob struct {
	hash   format.Hash
	size   int64
	packed *Resource // nil when there are no bytes
	start  int64     // within it
	cache  *Cache

	mu      sync.Mutex
	chunk   []byte // decompressed
	chunkAt int64  // its number, -1 for none
	scratch Scratch
}

// NewBlob makes the blob that is a whole resource of a file of size bytes. what is
// its name in messages. Errors: ErrCorrupt, ErrUnsupported.
func NewBlob(r io.ReaderAt, size int64, c *Codec, res format.Resource, hash format.Hash, what string) (*Blob, error) {
	p, err := newResource(r, size, c, res, what)
	if err != nil {
		return nil, err
	}
	return &Blob{hash: hash, size: p.size, packed: p, chunkAt: -1}, nil
}

// Blob is the part of a solid resource from start on that is a blob of the given
// size. cache is shared by all blobs of a file.
func (p *Resource) Blob(start, size int64, hash format.Hash, cache *Cache) *Blob {
	return &Blob{hash: hash, size: size, packed: p, start: start, cache: cache}
}

// Resource is what the blob lies in; nil when there are no bytes.
func (b *Blob) Resource() *Resource { return b.packed }

// what names the blob in messages.
func (b *Blob) what() string {
	if b.packed != nil && b.cache == nil {
		return b.packed.what
	}
	return "blob " + b.hash.String()
}

// Size is the number of bytes.
func (b *Blob) Size() int64 { return b.size }

// Hash is the SHA-1 of the content, zero for one without bytes.
func (b *Blob) Hash() format.Hash { return b.hash }

// ReadAt implements io.ReaderAt. It decompresses only the chunks that are
// needed and does not check the SHA-1. Errors: ErrCorrupt, ErrTruncated, or the
// reader's own.
func (b *Blob) ReadAt(p []byte, off int64) (int, error) {
	if off < 0 {
		return 0, fmt.Errorf("read %s: negative offset %d", b.what(), off)
	}
	if off >= b.size {
		return 0, io.EOF
	}
	var end error
	if int64(len(p)) > b.size-off {
		p, end = p[:b.size-off], io.EOF
	}
	off += b.start
	if b.packed.codec == nil {
		if err := format.ReadFull(b.packed.r, p, b.packed.res.Offset+off, b.packed.what); err != nil {
			return 0, err
		}
		return len(p), end
	}
	if b.cache == nil {
		b.mu.Lock()
		defer b.mu.Unlock()
	}
	n := 0
	for n < len(p) {
		i := (off + int64(n)) / int64(b.packed.codec.chunkSize)
		start, size := b.packed.chunk(i)
		skip := off + int64(n) - start
		if b.cache != nil {
			m, err := b.cache.read(b.packed, i, p[n:], skip)
			if err != nil {
				return n, err
			}
			n += m
			continue
		}
		if skip == 0 && int64(len(p)-n) >= size {
			// A whole chunk goes to its place at once.
			if err := b.packed.decompress(p[n:n+int(size)], i, &b.scratch); err != nil {
				return n, err
			}
			n += int(size)
			continue
		}
		if b.chunkAt != i {
			b.chunkAt = -1
			if int64(cap(b.chunk)) < size {
				b.chunk = make([]byte, size)
			}
			b.chunk = b.chunk[:size]
			if err := b.packed.decompress(b.chunk, i, &b.scratch); err != nil {
				return n, err
			}
			b.chunkAt = i
		}
		n += copy(p[n:], b.chunk[skip:])
	}
	return n, end
}

// Reader returns a reader of the whole content that checks it: when the bytes
// do not have the SHA-1 of the blob, the last Read fails with ErrCorrupt
// instead of io.EOF. Nothing that was read may be used before io.EOF.
func (b *Blob) Reader() io.Reader {
	return &blobReader{
		section: io.NewSectionReader(b, 0, b.size),
		sum:     sha1.New(), //nolint:gosec // see the import
		blob:    b,
	}
}

type blobReader struct {
	section *io.SectionReader
	sum     hash.Hash
	blob    *Blob
}

func (r *blobReader) Read(p []byte) (int, error) {
	n, err := r.section.Read(p)
	r.sum.Write(p[:n])
	if errors.Is(err, io.EOF) && r.blob.hash != (format.Hash{}) {
		if err := format.CheckHash(r.blob.what(), format.Hash(r.sum.Sum(nil)), r.blob.hash); err != nil {
			return n, err
		}
	}
	return n, err
}

// ReadAll reads and checks a blob of at most limit bytes.
func (b *Blob) ReadAll(limit int64) ([]byte, error) {
	if b.size > limit {
		return nil, format.Corrupt("%s: %d bytes, at most %d are sensible", b.what(), b.size, limit)
	}
	p := make([]byte, b.size)
	if n, err := b.ReadAt(p, 0); n < len(p) {
		return nil, err
	}
	if b.hash != (format.Hash{}) {
		return p, format.CheckHash(b.what(), sha1.Sum(p), b.hash) //nolint:gosec // see the import
	}
	return p, nil
}
