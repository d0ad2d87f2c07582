package resource

import (
	"encoding/binary"
	"fmt"
	"io"

	"castpoint/content/wim/format"
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

const (
	// maxSolidChunks is the number of chunks, 8 bytes of memory each. With the
	// smallest chunks that is a resource of 16 GiB, with those of the known
	// writers one beyond any disk.
	maxSolidChunks = 4 << 20
)

// solidMethods are the compressions by their number.
var solidMethods = [...]format.Compression{format.CompressionNone, format.CompressionXPRESS, format.CompressionLZX, format.CompressionLZMS}

// NewSolid reads the head of a solid resource, whose position was checked.
func NewSolid(r io.ReaderAt, res format.Resource, what string) (*Resource, error) {
	var head [solidHeaderSize]byte
	if res.Size < solidHeaderSize {
		return nil, format.Corrupt("%s: %d bytes are too short", what, res.Size)
	}
	if err := format.ReadFull(r, head[:], res.Offset, what); err != nil {
		return nil, err
	}
	size := binary.LittleEndian.Uint64(head[:])
	chunkSize := binary.LittleEndian.Uint32(head[8:])
	method := binary.LittleEndian.Uint32(head[12:])
	if size > MaxSize {
		return nil, format.Corrupt("%s: size %d is beyond any file", what, size)
	}
	if int64(method) >= int64(len(solidMethods)) {
		return nil, format.Corrupt("%s: compressed by method %d, which is not known", what, method)
	}
	if chunkSize == 0 {
		return nil, format.Corrupt("%s: chunk size 0", what)
	}
	c, err := NewCodec(solidMethods[method], chunkSize, false)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", what, err)
	}
	p := &Resource{r: r, size: int64(size), res: res, codec: c, what: what}
	p.chunks = (p.size + int64(chunkSize) - 1) / int64(chunkSize)
	left := res.Size - solidHeaderSize
	// Each chunk has its entry and a byte at least.
	if p.chunks > left/5 {
		return nil, format.Corrupt("%s: %d bytes cannot hold the %d chunks of %d bytes", what, res.Size, p.chunks, p.size)
	}
	if p.chunks > maxSolidChunks {
		return nil, format.Corrupt("%s: %d chunks, at most %d are sensible", what, p.chunks, maxSolidChunks)
	}
	if err := p.checkMemory(); err != nil {
		return nil, err
	}
	p.dataSize = left - 4*p.chunks
	p.data = res.End() - p.dataSize
	return p, p.readSolidTable()
}

// readSolidTable turns the lengths of the chunks into offsets.
func (p *Resource) readSolidTable() error {
	p.starts = make([]int64, 1, p.chunks+1)
	at := int64(0)
	var buf [4 * chunkEntriesRead]byte
	for i := int64(0); i < p.chunks; i += chunkEntriesRead {
		b := buf[:4*min(chunkEntriesRead, p.chunks-i)]
		if err := format.ReadFull(p.r, b, p.res.Offset+solidHeaderSize+4*i, "chunk table of "+p.what); err != nil {
			return err
		}
		for ; len(b) > 0; b = b[4:] {
			n := int64(binary.LittleEndian.Uint32(b))
			if n == 0 || n > p.dataSize-at {
				return format.Corrupt("%s: chunk %d has %d bytes and %d are left", p.what, len(p.starts), n, p.dataSize-at)
			}
			at += n
			p.starts = append(p.starts, at)
		}
	}
	if at != p.dataSize {
		return format.Corrupt("%s: its chunks have %d bytes together, and %d are there", p.what, at, p.dataSize)
	}
	return nil
}
