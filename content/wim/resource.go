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

	"castpoint/content/wim/decompress"
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
//   - solid: a header with size, chunk size and compression, a table of the
//     chunks' lengths with 32 bits each, then the chunks. See solid.go.

// Limits of resources.
const (
	// maxResource is far above any file (1 PiB): more is damage.
	maxResource = 1 << 50
	// maxChunkMemory is the largest chunk that is decompressed, which needs its
	// size in memory. Microsoft's programs read chunks of up to 64 MiB and
	// write such in solid resources; wimlib can be asked for more.
	maxChunkMemory = 256 << 20
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

// codec is how compressed resources are read.
type codec struct {
	chunkSize uint32
	pipable   bool
	decoders  *sync.Pool // of decompress.Decoder; nil without compression
}

// newCodec fails with ErrCorrupt for chunk sizes that do not exist.
func newCodec(method Compression, chunkSize uint32) (*codec, error) {
	c := &codec{chunkSize: chunkSize}
	if c.chunkSize == 0 {
		c.chunkSize = defaultChunk
	}
	var low, high uint32
	var make func() any
	switch method {
	case CompressionNone:
		return c, nil
	case CompressionXPRESS:
		low, high = decompress.XPRESSMinChunk, decompress.XPRESSMaxChunk
		make = func() any { return new(decompress.XPRESS) }
	case CompressionLZX:
		low, high = decompress.LZXMinChunk, decompress.LZXMaxChunk
		make = func() any { return decompress.NewLZX(chunkSize) }
	default:
		low, high = decompress.LZMSMinChunk, decompress.LZMSMaxChunk
		make = func() any { return decompress.NewLZMS() }
	}
	if bits.OnesCount32(c.chunkSize) != 1 || c.chunkSize < low || c.chunkSize > high {
		return nil, corrupt("chunk size %d is no power of two from %d to %d (%s)", c.chunkSize, low, high, method)
	}
	chunkSize = c.chunkSize
	c.decoders = &sync.Pool{New: make}
	return c, nil
}

// packed is a resource that can be read: where it lies and how. It does not
// change, so any number of goroutines may use it.
type packed struct {
	r     io.ReaderAt
	size  int64 // when decompressed
	res   resource
	codec *codec // nil when the bytes are as they are
	what  string // for messages

	// Of a compressed one:
	chunks    int64
	entrySize int64
	table     int64   // where the table begins in the file
	data      int64   // where the chunks begin
	dataSize  int64   // of all chunks, without table and lengths
	starts    []int64 // of a solid resource: where each chunk begins, and the end
	part      uint16  // of a solid resource
}

// newPacked checks the position of a resource that is not solid; what is its
// name in messages.
func newPacked(r io.ReaderAt, size int64, c *codec, res resource, what string) (*packed, error) {
	if res.originalSize > maxResource {
		return nil, corrupt("%s: size %d is beyond any file", what, res.originalSize)
	}
	if res.end() > size {
		return nil, corrupt("%s: ends at %d, the file at %d", what, res.end(), size)
	}
	p := &packed{r: r, size: int64(res.originalSize), res: res, what: what}
	if !res.compressed() {
		if res.size != p.size {
			return nil, corrupt("%s: %d bytes in the file and %d without compression, but not compressed", what, res.size, p.size)
		}
		return p, nil
	}
	if c.decoders == nil {
		return nil, corrupt("%s: compressed, in a WIM without compression", what)
	}
	p.codec = c
	p.entrySize = 4
	if p.size >= 1<<32 {
		p.entrySize = 8
	}
	p.chunks = (p.size + int64(c.chunkSize) - 1) / int64(c.chunkSize)
	tableSize := max(p.chunks-1, 0) * p.entrySize
	p.dataSize = res.size - tableSize
	p.table = res.offset
	p.data = res.offset + tableSize
	if c.pipable {
		p.dataSize -= 4 * p.chunks
		p.data = res.offset
		p.table = res.end() - tableSize
	}
	if p.dataSize < p.chunks { // a chunk has a byte at least
		return nil, corrupt("%s: %d bytes cannot hold the %d chunks of %d bytes", what, res.size, p.chunks, p.size)
	}
	return p, p.checkMemory()
}

// checkMemory refuses chunks that are too large.
func (p *packed) checkMemory() error {
	if n := min(p.size, int64(p.codec.chunkSize)); n > maxChunkMemory {
		return unsupported(fmt.Sprintf("%s: to read any of it, %d bytes must be decompressed at once, and at most %d are", p.what, n, maxChunkMemory), "")
	}
	return nil
}

// chunk gives the bounds of chunk i when decompressed.
func (p *packed) chunk(i int64) (start, size int64) {
	start = i * int64(p.codec.chunkSize)
	return start, min(int64(p.codec.chunkSize), p.size-start)
}

// scratch is the memory that one reader of chunks needs beside the result.
type scratch struct {
	of    *packed
	table []byte // entries of its chunk table that were read last
	at    int64  // number of the first of them
	src   []byte // a compressed chunk

	ahead   []byte // what lies in the file of the resource
	aheadAt int64  // from here on
	aheadOf *packed
}

// readAhead reads the chunks from first to last at once, for decompress. It is only to
// save calls of the system: what it does not like it leaves to decompress, which says
// what is wrong.
func (p *packed) readAhead(first, last int64, s *scratch) {
	s.aheadOf = nil
	from, _, err := p.bounds(first, s)
	if err != nil {
		return
	}
	_, to, err := p.bounds(last, s)
	if err != nil || from >= to || to > p.dataSize || to-from > (last-first+1)*int64(p.codec.chunkSize) {
		return
	}
	size := to - from
	s.aheadAt = p.data + from
	if p.codec.pipable {
		s.aheadAt += 4 * (first + 1)
		size += 4 * (last - first)
	}
	if int64(cap(s.ahead)) < size {
		s.ahead = make([]byte, size)
	}
	s.ahead = s.ahead[:size]
	if readFull(p.r, s.ahead, s.aheadAt, p.what) == nil {
		s.aheadOf = p
	}
}

// fromAhead gives a part of the file that was read ahead, nil when it was not.
func (s *scratch) fromAhead(p *packed, at, size int64) []byte {
	if s.aheadOf != p || at < s.aheadAt || at+size > s.aheadAt+int64(len(s.ahead)) {
		return nil
	}
	return s.ahead[at-s.aheadAt:][:size]
}

// decompress reads chunk i into dst, which has its size.
func (p *packed) decompress(dst []byte, i int64, s *scratch) error {
	from, to, err := p.bounds(i, s)
	if err != nil {
		return err
	}
	if to-from > int64(len(dst)) || from >= to || to > p.dataSize {
		return corrupt("%s: chunk %d of %d has %d bytes and stands for %d", p.what, i+1, p.chunks, to-from, len(dst))
	}
	at := p.data + from
	if p.codec.pipable {
		at += 4 * (i + 1)
	}
	if to-from == int64(len(dst)) || p.codec.decoders == nil {
		if to-from != int64(len(dst)) {
			return corrupt("%s: chunk %d of %d has %d bytes and stands for %d, without compression", p.what, i+1, p.chunks, to-from, len(dst))
		}
		if ahead := s.fromAhead(p, at, to-from); ahead != nil {
			copy(dst, ahead)
			return nil
		}
		return readFull(p.r, dst, at, p.what)
	}
	src := s.fromAhead(p, at, to-from)
	if src == nil {
		if int64(cap(s.src)) < to-from {
			s.src = make([]byte, to-from, len(dst))
		}
		src = s.src[:to-from]
		if err := readFull(p.r, src, at, p.what); err != nil {
			return err
		}
	}
	d := p.codec.decoders.Get().(decompress.Decoder)
	defer p.codec.decoders.Put(d)
	if err := d.Decode(dst, src); err != nil {
		return corrupt("%s: chunk %d of %d: %v", p.what, i+1, p.chunks, err)
	}
	return nil
}

// bounds gives the place of chunk i among the chunks.
func (p *packed) bounds(i int64, s *scratch) (from, to int64, err error) {
	if p.starts != nil {
		return p.starts[i], p.starts[i+1], nil
	}
	if s.of != p {
		s.of, s.table = p, s.table[:0]
	}
	if from, err = p.chunkOffset(i, s); err != nil {
		return 0, 0, err
	}
	to, err = p.chunkOffset(i+1, s)
	return from, to, err
}

func (p *packed) chunkOffset(i int64, s *scratch) (int64, error) {
	switch i {
	case 0:
		return 0, nil
	case p.chunks:
		return p.dataSize, nil
	}
	i-- // the first has no entry
	if i < s.at || i >= s.at+int64(len(s.table))/p.entrySize {
		n := min(chunkEntriesRead, p.chunks-1-i) * p.entrySize
		if int64(cap(s.table)) < n {
			s.table = make([]byte, n)
		}
		s.table = s.table[:n]
		if err := readFull(p.r, s.table, p.table+i*p.entrySize, "chunk table of "+p.what); err != nil {
			s.table = s.table[:0]
			return 0, err
		}
		s.at = i
	}
	entry := s.table[(i-s.at)*p.entrySize:]
	if p.entrySize == 4 {
		return int64(binary.LittleEndian.Uint32(entry)), nil
	}
	v := binary.LittleEndian.Uint64(entry)
	if v > maxResource {
		return 0, corrupt("%s: chunk %d begins at %d, beyond any file", p.what, i+2, v)
	}
	return int64(v), nil
}

// Blob is the content of one file or of one of its streams. Its methods may be
// called from several goroutines.
type Blob struct {
	hash   Hash
	size   int64
	packed *packed // nil when there are no bytes
	start  int64   // within it
	cache  *chunkCache

	mu      sync.Mutex
	chunk   []byte // decompressed
	chunkAt int64  // its number, -1 for none
	scratch scratch
}

// newBlob makes the blob that is a whole resource.
func newBlob(r io.ReaderAt, size int64, c *codec, res resource, hash Hash, what string) (*Blob, error) {
	p, err := newPacked(r, size, c, res, what)
	if err != nil {
		return nil, err
	}
	return &Blob{hash: hash, size: p.size, packed: p, chunkAt: -1}, nil
}

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
func (b *Blob) Hash() Hash { return b.hash }

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
		if err := readFull(b.packed.r, p, b.packed.res.offset+off, b.packed.what); err != nil {
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
	if errors.Is(err, io.EOF) && r.blob.hash != (Hash{}) {
		if err := checkHash(r.blob.what(), Hash(r.sum.Sum(nil)), r.blob.hash); err != nil {
			return n, err
		}
	}
	return n, err
}

func checkHash(what string, have, want Hash) error {
	if have != want {
		return corrupt("%s: the content has SHA-1 %v, the WIM says %v", what, have, want)
	}
	return nil
}

// readAll reads and checks a blob of at most limit bytes.
func (b *Blob) readAll(limit int64) ([]byte, error) {
	if b.size > limit {
		return nil, corrupt("%s: %d bytes, at most %d are sensible", b.what(), b.size, limit)
	}
	p := make([]byte, b.size)
	if n, err := b.ReadAt(p, 0); n < len(p) {
		return nil, err
	}
	if b.hash != (Hash{}) {
		return p, checkHash(b.what(), sha1.Sum(p), b.hash) //nolint:gosec // see the import
	}
	return p, nil
}
