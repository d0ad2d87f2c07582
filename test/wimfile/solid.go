package wimfile

import (
	"bytes"
	"crypto/sha1"
	"encoding/binary"

	"castpoint/content/wim/format"
)

// Solid is a solid WIM put together in memory, to be damaged on purpose.
// Its chunks are as long as what they stand for, so they are not compressed.
type Solid struct {
	Size      uint64 // when decompressed
	ChunkSize uint32
	Method    uint32
	Lengths   []uint32 // of the chunks
	Data      []byte   // the contents one behind the other
	Resource  format.ResourceDisk
	Places    []format.ResourceDisk // of the blobs
	Hashes    []format.Hash
	Root      *Node
}

// NewSolid has a content that spans three chunks.
func NewSolid() *Solid {
	big := bytes.Repeat([]byte("a content that spans three chunks "), 2500)
	return packSolid(Folder("",
		&Node{Name: "first", Data: []byte("the first")}, &Node{Name: "big", Data: big}, &Node{Name: "last", Data: []byte("the last")}))
}

// SmallSolid has one chunk: for fuzzers, and to be cut at every byte.
func SmallSolid() *Solid {
	return packSolid(Folder("", &Node{Name: "a", Data: []byte("abcdefgh")}, &Node{Name: "b", Data: bytes.Repeat([]byte("xyz"), 40)}))
}

// packSolid packs the contents of a tree into one solid resource.
func packSolid(root *Node) *Solid {
	s := &Solid{ChunkSize: 1 << 15, Method: 2, Root: root}
	for _, b := range Contents(s.Root) {
		s.Places = append(s.Places, format.ResourceDisk{SizeFlags: uint64(len(b)) | format.ResourceSolid<<56, Offset: uint64(len(s.Data))})
		s.Hashes = append(s.Hashes, sha1.Sum(b))
		s.Data = append(s.Data, b...)
	}
	s.Size = uint64(len(s.Data))
	for left := len(s.Data); left > 0; left -= 1 << 15 {
		s.Lengths = append(s.Lengths, uint32(min(left, 1<<15)))
	}
	return s
}

// Bytes puts the file together: metadata, solid resource, tables.
func (s *Solid) Bytes(change func(*Solid)) []byte {
	f := NewImage(Metadata(s.Root, nil))
	f.Header.Version = format.VersionSolid
	f.Header.Flags = format.FlagCompression | format.FlagLZMS
	f.Header.ChunkSize = 1 << 17
	s.Resource = format.ResourceDisk{
		SizeFlags:    uint64(16+4*len(s.Lengths)+len(s.Data)) | (format.ResourceSolid|format.ResourceCompressed)<<56,
		Offset:       uint64(format.HeaderSize + len(f.Data)),
		OriginalSize: format.SolidMark,
	}
	if change != nil {
		change(s)
	}
	f.Data = binary.LittleEndian.AppendUint64(f.Data, s.Size)
	f.Data = binary.LittleEndian.AppendUint32(f.Data, s.ChunkSize)
	f.Data = binary.LittleEndian.AppendUint32(f.Data, s.Method)
	for _, l := range s.Lengths {
		f.Data = binary.LittleEndian.AppendUint32(f.Data, l)
	}
	f.Data = append(f.Data, s.Data...)
	f.Blobs = append(f.Blobs, BlobEntry(s.Resource, 1)...)
	for i, p := range s.Places {
		e := BlobEntry(p, 1)
		copy(e[format.BlobEntryHash:], s.Hashes[i][:])
		f.Blobs = append(f.Blobs, e...)
	}
	return f.Bytes(nil)
}
