package wim

import (
	"encoding/binary"
	"fmt"
	"io"
	"sync"
)

// A solid resource packs many blobs into one, so that the compression sees
// what they have in common. In the file:
//
//	0x00  uint64  size when decompressed
//	0x08  uint32  chunk size
//	0x0c  uint32  compression: 0 none, 1 XPRESS, 2 LZX, 3 LZMS
//	0x10  uint32  length of each chunk; then the chunks
//
// In the blob table, a run of entries with the solid flag belongs together.
// Those with solidMark as their original size are resources; the others are
// blobs, whose offset counts in the contents of the run's resources one behind
// the other, and whose size is that of the blob.
const solidHeaderSize = 16

// Limits of solid resources.
const (
	// maxSolidChunks is the number of chunks, 8 bytes of memory each. With the
	// smallest chunks that is a resource of 16 GiB, with those of the known
	// writers one beyond any disk.
	maxSolidChunks = 4 << 20
	// solidCacheSize is how many bytes of decompressed chunks a Reader keeps
	// for random access, besides the one read last: two of the common ones.
	solidCacheSize = 128 << 20
)

// solidMethods are the compressions by their number.
var solidMethods = [...]Compression{CompressionNone, CompressionXPRESS, CompressionLZX, CompressionLZMS}

// newSolid reads the head of a solid resource, whose position was checked.
func newSolid(r io.ReaderAt, res resource, what string) (*packed, error) {
	var head [solidHeaderSize]byte
	if res.size < solidHeaderSize {
		return nil, corrupt("%s: %d bytes are too short", what, res.size)
	}
	if err := readFull(r, head[:], res.offset, what); err != nil {
		return nil, err
	}
	size := binary.LittleEndian.Uint64(head[:])
	chunkSize := binary.LittleEndian.Uint32(head[8:])
	method := binary.LittleEndian.Uint32(head[12:])
	if size > maxResource {
		return nil, corrupt("%s: size %d is beyond any file", what, size)
	}
	if int64(method) >= int64(len(solidMethods)) {
		return nil, corrupt("%s: compressed by method %d, which is not known", what, method)
	}
	if chunkSize == 0 {
		return nil, corrupt("%s: chunk size 0", what)
	}
	c, err := newCodec(solidMethods[method], chunkSize)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", what, err)
	}
	p := &packed{r: r, size: int64(size), res: res, codec: c, what: what}
	p.chunks = (p.size + int64(chunkSize) - 1) / int64(chunkSize)
	left := res.size - solidHeaderSize
	// Each chunk has its entry and a byte at least.
	if p.chunks > left/5 {
		return nil, corrupt("%s: %d bytes cannot hold the %d chunks of %d bytes", what, res.size, p.chunks, p.size)
	}
	if p.chunks > maxSolidChunks {
		return nil, corrupt("%s: %d chunks, at most %d are sensible", what, p.chunks, maxSolidChunks)
	}
	if err := p.checkMemory(); err != nil {
		return nil, err
	}
	p.dataSize = left - 4*p.chunks
	p.data = res.end() - p.dataSize
	return p, p.readSolidTable()
}

// readSolidTable turns the lengths of the chunks into offsets.
func (p *packed) readSolidTable() error {
	p.starts = make([]int64, 1, p.chunks+1)
	at := int64(0)
	var buf [4 * chunkEntriesRead]byte
	for i := int64(0); i < p.chunks; i += chunkEntriesRead {
		b := buf[:4*min(chunkEntriesRead, p.chunks-i)]
		if err := readFull(p.r, b, p.res.offset+solidHeaderSize+4*i, "chunk table of "+p.what); err != nil {
			return err
		}
		for ; len(b) > 0; b = b[4:] {
			n := int64(binary.LittleEndian.Uint32(b))
			if n == 0 || n > p.dataSize-at {
				return corrupt("%s: chunk %d has %d bytes and %d are left", p.what, len(p.starts), n, p.dataSize-at)
			}
			at += n
			p.starts = append(p.starts, at)
		}
	}
	if at != p.dataSize {
		return corrupt("%s: its chunks have %d bytes together, and %d are there", p.what, at, p.dataSize)
	}
	return nil
}

// solidPlace says where a blob lies in a solid resource.
type solidPlace struct {
	resource int32 // in Reader.solids; -1 for a blob that is a resource itself
	offset   int64
}

// readSolids finds the solid resources of a part and where the blobs in them
// lie. from and to are the part's entries in the table.
func (r *Reader) readSolids(p *part, from, to int32) error {
	for at := from; at < to; {
		if r.entry(at).flags()&resourceSolid == 0 {
			at++
			continue
		}
		end, first := at, len(r.solids)
		for ; end < to && r.entry(end).flags()&resourceSolid != 0; end++ {
			e := r.entry(end)
			res, err := e.resource()
			if err != nil {
				return corrupt("%s: entry %d: %v", tableBlobs, end, err)
			}
			if res.originalSize != solidMark || e.part() != p.header.part {
				continue
			}
			s, err := newSolid(p.r, res, fmt.Sprintf("solid resource %d", len(r.solids)+1))
			if err != nil {
				return err
			}
			s.part = p.header.part
			r.solids = append(r.solids, s)
		}
		for ; at < end; at++ {
			if err := r.placeSolid(at, first, p.header.part); err != nil {
				return err
			}
		}
	}
	return nil
}

// placeSolid finds the resource of a run, which are those from first on, that
// an entry lies in.
func (r *Reader) placeSolid(at int32, first int, part uint16) error {
	if r.places == nil {
		r.places = make([]solidPlace, len(r.table)/blobEntrySize)
		for i := range r.places {
			r.places[i].resource = -1
		}
	}
	e := r.entry(at)
	res, err := e.resource()
	if err != nil || res.originalSize == solidMark || e.part() != part || res.flags&resourceFree != 0 {
		return err
	}
	offset := res.offset
	for i := first; i < len(r.solids); i++ {
		if s := r.solids[i]; offset < s.size || offset == s.size && res.size == 0 {
			if res.size > s.size-offset {
				break
			}
			r.places[at] = solidPlace{int32(i), offset}
			return nil
		}
		offset -= r.solids[i].size
	}
	return corrupt("%s: entry %d: %d bytes at %d do not lie in the solid resources before it", tableBlobs, at, res.size, res.offset)
}

// chunkCache keeps the chunks of solid resources that were read last: what is
// read of one is likely to be followed by more of it, and each is large. One
// chunk is decompressed at a time, so that memory stays bounded whatever the
// number of readers.
type chunkCache struct {
	mu      sync.Mutex
	entries []cachedChunk // the latest last
	scratch scratch
}

type cachedChunk struct {
	packed *packed
	number int64
	data   []byte
}

// read copies from a chunk, from its byte skip on, and returns how many bytes.
func (c *chunkCache) read(p *packed, i int64, dst []byte, skip int64) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for k := len(c.entries) - 1; k >= 0; k-- {
		if e := c.entries[k]; e.packed == p && e.number == i {
			copy(c.entries[k:], c.entries[k+1:])
			c.entries[len(c.entries)-1] = e
			return copy(dst, e.data[skip:]), nil
		}
	}
	_, size := p.chunk(i)
	data := c.room(size)
	if err := p.decompress(data, i, &c.scratch); err != nil {
		return 0, err
	}
	c.entries = append(c.entries, cachedChunk{p, i, data})
	return copy(dst, data[skip:]), nil
}

// room makes room for a chunk, if it can out of the oldest.
func (c *chunkCache) room(size int64) []byte {
	total := size
	for _, e := range c.entries {
		total += int64(cap(e.data))
	}
	for total > solidCacheSize && len(c.entries) > 0 {
		old := c.entries[0].data
		c.entries = append(c.entries[:0], c.entries[1:]...)
		if int64(cap(old)) >= size && int64(cap(old)) < 2*size+1<<20 {
			return old[:size]
		}
		total -= int64(cap(old))
	}
	return make([]byte, size)
}
