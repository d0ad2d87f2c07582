// Package resource reads resources, which are runs of bytes in a WIM file, plain or
// compressed: whole, in ranges, and at random. It knows where chunks lie; what is in
// them is for package decompress.
package resource

import (
	"encoding/binary"
	"fmt"
	"io"
	"math/bits"
	"sync"

	"castpoint/content/wim/decompress"
	"castpoint/content/wim/format"
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
	// MaxSize is far above any file (1 PiB): more is damage.
	MaxSize = 1 << 50
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

// Codec is how compressed resources are read.
type Codec struct {
	chunkSize uint32
	pipable   bool
	decoders  *sync.Pool // of decompress.Decoder; nil without compression
}

// NewCodec fails with ErrCorrupt for chunk sizes that do not exist. pipable says
// that the resources have the layout of pipable files.
func NewCodec(method format.Compression, chunkSize uint32, pipable bool) (*Codec, error) {
	c := &Codec{chunkSize: chunkSize, pipable: pipable}
	if c.chunkSize == 0 {
		c.chunkSize = defaultChunk
	}
	var low, high uint32
	var make func() any
	switch method {
	case format.CompressionNone:
		return c, nil
	case format.CompressionXPRESS:
		low, high = decompress.XPRESSMinChunk, decompress.XPRESSMaxChunk
		make = func() any { return new(decompress.XPRESS) }
	case format.CompressionLZX:
		low, high = decompress.LZXMinChunk, decompress.LZXMaxChunk
		make = func() any { return decompress.NewLZX(chunkSize) }
	default:
		low, high = decompress.LZMSMinChunk, decompress.LZMSMaxChunk
		make = func() any { return decompress.NewLZMS() }
	}
	if bits.OnesCount32(c.chunkSize) != 1 || c.chunkSize < low || c.chunkSize > high {
		return nil, format.Corrupt("chunk size %d is no power of two from %d to %d (%s)", c.chunkSize, low, high, method)
	}
	chunkSize = c.chunkSize
	c.decoders = &sync.Pool{New: make}
	return c, nil
}

// Resource is a resource that can be read: where it lies and how. It does not
// change, so any number of goroutines may use it.
type Resource struct {
	r     io.ReaderAt
	size  int64 // when decompressed
	res   format.Resource
	codec *Codec // nil when the bytes are as they are
	what  string // for messages

	// Of a compressed one:
	chunks    int64
	entrySize int64
	table     int64   // where the table begins in the file
	data      int64   // where the chunks begin
	dataSize  int64   // of all chunks, without table and lengths
	starts    []int64 // of a solid resource: where each chunk begins, and the end
}

// newResource checks the position of a resource that is not solid; what is its
// name in messages.
func newResource(r io.ReaderAt, size int64, c *Codec, res format.Resource, what string) (*Resource, error) {
	if res.OriginalSize > MaxSize {
		return nil, format.Corrupt("%s: size %d is beyond any file", what, res.OriginalSize)
	}
	if res.End() > size {
		return nil, format.Corrupt("%s: ends at %d, the file at %d", what, res.End(), size)
	}
	p := &Resource{r: r, size: int64(res.OriginalSize), res: res, what: what}
	if !res.Compressed() {
		if res.Size != p.size {
			return nil, format.Corrupt("%s: %d bytes in the file and %d without compression, but not compressed", what, res.Size, p.size)
		}
		return p, nil
	}
	if c.decoders == nil {
		return nil, format.Corrupt("%s: compressed, in a WIM without compression", what)
	}
	p.codec = c
	p.entrySize = 4
	if p.size >= 1<<32 {
		p.entrySize = 8
	}
	p.chunks = (p.size + int64(c.chunkSize) - 1) / int64(c.chunkSize)
	tableSize := max(p.chunks-1, 0) * p.entrySize
	p.dataSize = res.Size - tableSize
	p.table = res.Offset
	p.data = res.Offset + tableSize
	if c.pipable {
		p.dataSize -= 4 * p.chunks
		p.data = res.Offset
		p.table = res.End() - tableSize
	}
	if p.dataSize < p.chunks { // a chunk has a byte at least
		return nil, format.Corrupt("%s: %d bytes cannot hold the %d chunks of %d bytes", what, res.Size, p.chunks, p.size)
	}
	return p, p.checkMemory()
}

// checkMemory refuses chunks that are too large.
func (p *Resource) checkMemory() error {
	if n := min(p.size, int64(p.codec.chunkSize)); n > maxChunkMemory {
		return format.Unsupported(fmt.Sprintf("%s: to read any of it, %d bytes must be decompressed at once, and at most %d are", p.what, n, maxChunkMemory), "")
	}
	return nil
}

// chunk gives the bounds of chunk i when decompressed.
func (p *Resource) chunk(i int64) (start, size int64) {
	start = i * int64(p.codec.chunkSize)
	return start, min(int64(p.codec.chunkSize), p.size-start)
}

// Scratch is the memory that one reader of chunks needs beside the result.
type Scratch struct {
	of    *Resource
	table []byte // entries of its chunk table that were read last
	at    int64  // number of the first of them
	src   []byte // a compressed chunk

	ahead   []byte // what lies in the file of the resource
	aheadAt int64  // from here on
	aheadOf *Resource
}

// readAhead reads the chunks from first to last at once, for decompress. It is only to
// save calls of the system: what it does not like it leaves to decompress, which says
// what is wrong.
func (p *Resource) readAhead(first, last int64, s *Scratch) {
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
	if format.ReadFull(p.r, s.ahead, s.aheadAt, p.what) == nil {
		s.aheadOf = p
	}
}

// fromAhead gives a part of the file that was read ahead, nil when it was not.
func (s *Scratch) fromAhead(p *Resource, at, size int64) []byte {
	if s.aheadOf != p || at < s.aheadAt || at+size > s.aheadAt+int64(len(s.ahead)) {
		return nil
	}
	return s.ahead[at-s.aheadAt:][:size]
}

// decompress reads chunk i into dst, which has its size.
func (p *Resource) decompress(dst []byte, i int64, s *Scratch) error {
	from, to, err := p.bounds(i, s)
	if err != nil {
		return err
	}
	if to-from > int64(len(dst)) || from >= to || to > p.dataSize {
		return format.Corrupt("%s: chunk %d of %d has %d bytes and stands for %d", p.what, i+1, p.chunks, to-from, len(dst))
	}
	at := p.data + from
	if p.codec.pipable {
		at += 4 * (i + 1)
	}
	if to-from == int64(len(dst)) || p.codec.decoders == nil {
		if to-from != int64(len(dst)) {
			return format.Corrupt("%s: chunk %d of %d has %d bytes and stands for %d, without compression", p.what, i+1, p.chunks, to-from, len(dst))
		}
		if ahead := s.fromAhead(p, at, to-from); ahead != nil {
			copy(dst, ahead)
			return nil
		}
		return format.ReadFull(p.r, dst, at, p.what)
	}
	src := s.fromAhead(p, at, to-from)
	if src == nil {
		if int64(cap(s.src)) < to-from {
			s.src = make([]byte, to-from, len(dst))
		}
		src = s.src[:to-from]
		if err := format.ReadFull(p.r, src, at, p.what); err != nil {
			return err
		}
	}
	d := p.codec.decoders.Get().(decompress.Decoder)
	defer p.codec.decoders.Put(d)
	if err := d.Decode(dst, src); err != nil {
		return format.Corrupt("%s: chunk %d of %d: %v", p.what, i+1, p.chunks, err)
	}
	return nil
}

// Size is the number of bytes when decompressed.
func (p *Resource) Size() int64 { return p.size }

// Position is where the resource lies in the file.
func (p *Resource) Position() format.Resource { return p.res }

// ChunkSize is the number of bytes that are decompressed at once, 1 when there is
// nothing to decompress.
func (p *Resource) ChunkSize() int64 {
	if p.codec == nil {
		return 1
	}
	return int64(p.codec.chunkSize)
}

// ReadRange reads what the resource stands for from start on into dst. start is
// where a chunk begins, and the end of dst where one ends.
func (p *Resource) ReadRange(dst []byte, start int64, s *Scratch) error {
	if p.codec == nil {
		return format.ReadFull(p.r, dst, p.res.Offset+start, p.what)
	}
	end := start + int64(len(dst))
	chunkSize := int64(p.codec.chunkSize)
	if first, last := start/chunkSize, (end-1)/chunkSize; first < last {
		p.readAhead(first, last, s)
	}
	for at := start; at < end; {
		i := at / chunkSize
		from, n := p.chunk(i)
		if err := p.decompress(dst[from-start:][:n], i, s); err != nil {
			return err
		}
		at = from + n
	}
	return nil
}

// bounds gives the place of chunk i among the chunks.
func (p *Resource) bounds(i int64, s *Scratch) (from, to int64, err error) {
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

func (p *Resource) chunkOffset(i int64, s *Scratch) (int64, error) {
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
		if err := format.ReadFull(p.r, s.table, p.table+i*p.entrySize, "chunk table of "+p.what); err != nil {
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
	if v > MaxSize {
		return 0, format.Corrupt("%s: chunk %d begins at %d, beyond any file", p.what, i+2, v)
	}
	return int64(v), nil
}
