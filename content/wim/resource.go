package wim

import (
	"crypto/sha1" //nolint:gosec // the format prescribes it; it finds damage, not forgery
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"math/bits"
	"sync"
)

// A compressed resource is a row of chunks, each of which becomes a fixed
// number of bytes (the last one: the rest) and can be decompressed by itself. A
// chunk as long as what it stands for is not compressed. There are three
// layouts:
//
//   - normal: a table of the chunks' offsets, counted from the end of the table
//     and without the first, which is 0; then the chunks. Entries have 32 bits,
//     or 64 when the resource is 4 GiB or more when decompressed;
//   - pipable: the same with the table behind the chunks, and each chunk behind
//     its length in 32 bits, which the offsets do not count;
//   - solid: not read here.

// Limits of resources.
const (
	// maxResource is far above any file (1 PiB): more is damage.
	maxResource = 1 << 50
	// defaultChunk is what compressed files have when the header leaves the
	// field empty.
	defaultChunk = 1 << 15
	// chunkEntriesRead is how many entries of a chunk table are read at a time:
	// with chunks of 32 KiB enough for 16 MiB of a file.
	chunkEntriesRead = 512
)

// Hash is the SHA-1 that names a blob. The zero Hash stands for a stream of no
// bytes, which has no blob.
type Hash [sha1.Size]byte

// String gives 40 hexadecimal digits.
func (h Hash) String() string { return hex.EncodeToString(h[:]) }

// chunkDecoder decompresses one chunk: all of dst from all of src. It is used
// for one chunk after the other.
type chunkDecoder interface {
	decode(dst, src []byte) error
}

// codec is how the compressed resources of a WIM are read.
type codec struct {
	chunkSize uint32
	pipable   bool
	decoders  *sync.Pool // of chunkDecoder
}

// newCodec fails with ErrUnsupported for compression that is not read here and
// with ErrCorrupt for chunk sizes that do not exist.
func newCodec(h *header) (*codec, error) {
	c := &codec{chunkSize: h.chunkSize, pipable: h.pipable}
	if c.chunkSize == 0 {
		c.chunkSize = defaultChunk
	}
	var low, high uint32
	switch h.compression() {
	case CompressionNone:
		return c, nil
	case CompressionXPRESS:
		low, high = xpressMinChunk, xpressMaxChunk
		c.decoders = &sync.Pool{New: func() any { return new(xpressDecoder) }}
	case CompressionLZX:
		low, high = lzxMinChunk, lzxMaxChunk
		size := c.chunkSize
		c.decoders = &sync.Pool{New: func() any { return newLZXDecoder(size) }}
	default:
		return nil, unsupported("files in it are compressed by LZMS", "")
	}
	if bits.OnesCount32(c.chunkSize) != 1 || c.chunkSize < low || c.chunkSize > high {
		return nil, corrupt("header: chunk size %d is no power of two from %d to %d (%s)", c.chunkSize, low, high, h.compression())
	}
	return c, nil
}

// Blob is the content of one file or of one of its streams. Its methods may be
// called from several goroutines.
type Blob struct {
	r     io.ReaderAt
	hash  Hash
	size  int64
	res   resource
	codec *codec
	what  string // for messages

	// Of a compressed one:
	chunks     int64
	entrySize  int64
	tableStart int64 // in the file
	dataSize   int64 // of all chunks, without table and lengths

	mu      sync.Mutex
	table   []byte // entries that were read last
	tableAt int64  // number of the first of them
	chunk   []byte // decompressed
	chunkAt int64  // its number, -1 for none
	src     []byte // room for a compressed chunk
}

// newBlob checks the position of a resource; what is its name in messages.
func newBlob(r io.ReaderAt, size int64, c *codec, res resource, hash Hash, what string) (*Blob, error) {
	if res.originalSize > maxResource {
		return nil, corrupt("%s: size %d is beyond any file", what, res.originalSize)
	}
	if res.end() > size {
		return nil, corrupt("%s: ends at %d, the file at %d", what, res.end(), size)
	}
	b := &Blob{r: r, hash: hash, size: int64(res.originalSize), res: res, codec: c, what: what, chunkAt: -1}
	if !res.compressed() {
		if res.size != b.size {
			return nil, corrupt("%s: %d bytes in the file and %d without compression, but not compressed", what, res.size, b.size)
		}
		return b, nil
	}
	if c.decoders == nil {
		return nil, corrupt("%s: compressed, in a WIM without compression", what)
	}
	b.entrySize = 4
	if b.size >= 1<<32 {
		b.entrySize = 8
	}
	b.chunks = (b.size + int64(c.chunkSize) - 1) / int64(c.chunkSize)
	tableSize := max(b.chunks-1, 0) * b.entrySize
	b.dataSize = res.size - tableSize
	b.tableStart = res.offset
	if c.pipable {
		b.tableStart = res.end() - tableSize
		b.dataSize -= 4 * b.chunks
	}
	if b.dataSize < b.chunks { // a chunk has a byte at least
		return nil, corrupt("%s: %d bytes cannot hold the %d chunks of %d bytes", what, res.size, b.chunks, b.size)
	}
	return b, nil
}

// Size is the number of bytes.
func (b *Blob) Size() int64 { return b.size }

// Hash is the SHA-1 of the content, zero for one without bytes.
func (b *Blob) Hash() Hash { return b.hash }

// ReadAt implements io.ReaderAt. It decompresses only the chunks that are
// needed and does not check the SHA-1. Errors: ErrCorrupt, ErrTruncated, or the
// reader's own.
func (b *Blob) ReadAt(p []byte, off int64) (int, error) {
	if off < 0 {
		return 0, fmt.Errorf("read %s: negative offset %d", b.what, off)
	}
	if off >= b.size {
		return 0, io.EOF
	}
	var end error
	if int64(len(p)) > b.size-off {
		p, end = p[:b.size-off], io.EOF
	}
	if !b.res.compressed() {
		if err := readFull(b.r, p, b.res.offset+off, b.what); err != nil {
			return 0, err
		}
		return len(p), end
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	n := 0
	for n < len(p) {
		i := (off + int64(n)) / int64(b.codec.chunkSize)
		start := i * int64(b.codec.chunkSize)
		skip := off + int64(n) - start
		want := min(int64(b.codec.chunkSize), b.size-start)
		if skip == 0 && int64(len(p)-n) >= want {
			// A whole chunk goes to its place at once.
			if err := b.decompress(p[n:n+int(want)], i); err != nil {
				return n, err
			}
			n += int(want)
			continue
		}
		if b.chunkAt != i {
			b.chunkAt = -1
			if int64(cap(b.chunk)) < want {
				b.chunk = make([]byte, want)
			}
			b.chunk = b.chunk[:want]
			if err := b.decompress(b.chunk, i); err != nil {
				return n, err
			}
			b.chunkAt = i
		}
		n += copy(p[n:], b.chunk[skip:])
	}
	return n, end
}

// decompress reads chunk i into dst, which has its size.
func (b *Blob) decompress(dst []byte, i int64) error {
	from, to, err := b.bounds(i)
	if err != nil {
		return err
	}
	if to-from > int64(len(dst)) || from >= to || to > b.dataSize {
		return corrupt("%s: chunk %d of %d has %d bytes and stands for %d", b.what, i+1, b.chunks, to-from, len(dst))
	}
	at := b.res.offset + from
	if b.codec.pipable {
		at += 4 * (i + 1)
	} else {
		at += b.res.size - b.dataSize
	}
	if to-from == int64(len(dst)) {
		return readFull(b.r, dst, at, b.what)
	}
	if int64(cap(b.src)) < to-from {
		b.src = make([]byte, to-from, len(dst))
	}
	src := b.src[:to-from]
	if err := readFull(b.r, src, at, b.what); err != nil {
		return err
	}
	d := b.codec.decoders.Get().(chunkDecoder)
	defer b.codec.decoders.Put(d)
	if err := d.decode(dst, src); err != nil {
		return fmt.Errorf("%s: chunk %d of %d: %w", b.what, i+1, b.chunks, err)
	}
	return nil
}

// bounds gives the place of chunk i among the chunks.
func (b *Blob) bounds(i int64) (from, to int64, err error) {
	if from, err = b.chunkOffset(i); err != nil {
		return 0, 0, err
	}
	to, err = b.chunkOffset(i + 1)
	return from, to, err
}

func (b *Blob) chunkOffset(i int64) (int64, error) {
	switch i {
	case 0:
		return 0, nil
	case b.chunks:
		return b.dataSize, nil
	}
	i-- // the first has no entry
	if i < b.tableAt || i >= b.tableAt+int64(len(b.table))/b.entrySize {
		n := min(chunkEntriesRead, b.chunks-1-i)
		table := make([]byte, n*b.entrySize)
		if err := readFull(b.r, table, b.tableStart+i*b.entrySize, "chunk table of "+b.what); err != nil {
			return 0, err
		}
		b.table, b.tableAt = table, i
	}
	entry := b.table[(i-b.tableAt)*b.entrySize:]
	if b.entrySize == 4 {
		return int64(binary.LittleEndian.Uint32(entry)), nil
	}
	v := binary.LittleEndian.Uint64(entry)
	if v > maxResource {
		return 0, corrupt("%s: chunk %d begins at %d, beyond any file", b.what, i+2, v)
	}
	return int64(v), nil
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
	if errors.Is(err, io.EOF) && r.blob.hash != (Hash{}) {
		if have := Hash(r.sum.Sum(nil)); have != r.blob.hash {
			return n, corrupt("%s: the content has SHA-1 %v, the WIM says %v", r.blob.what, have, r.blob.hash)
		}
	}
	return n, err
}

// readAll reads and checks a blob of at most limit bytes.
func (b *Blob) readAll(limit int64) ([]byte, error) {
	if b.size > limit {
		return nil, corrupt("%s: %d bytes, at most %d are sensible", b.what, b.size, limit)
	}
	p := make([]byte, b.size)
	if n, err := b.ReadAt(p, 0); n < len(p) {
		return nil, err
	}
	if have := Hash(sha1.Sum(p)); b.hash != (Hash{}) && have != b.hash { //nolint:gosec // see the import
		return nil, corrupt("%s: the content has SHA-1 %v, the WIM says %v", b.what, have, b.hash)
	}
	return p, nil
}
