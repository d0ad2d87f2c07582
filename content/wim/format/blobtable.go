package format

import (
	"encoding/binary"
	"fmt"
	"io"
)

const (
	// BlobEntrySize is the size of an entry of the blob table: resource header
	// (24), part number (2), reference count (4), SHA-1 (20).
	BlobEntrySize = 50
	// SolidMark is the original size that marks an entry as a solid resource
	// itself; other entries with the solid flag are blobs inside one, and their
	// offset counts within it.
	SolidMark = 1 << 32
)

// BlobTable is what a walk over the blob table found.
type BlobTable struct {
	Entries int64
	Solid   bool
}

// ScanBlobTable walks over the blob table and checks that all resources of this
// part lie within the file. It holds one buffer, however long the table is.
func ScanBlobTable(r io.ReaderAt, size int64, h *Header) (BlobTable, error) {
	var t BlobTable
	if h.BlobTable.Compressed() {
		// Allowed by the format, written by no known program. The images can be
		// described without it.
		return t, nil
	}
	if h.BlobTable.Size%BlobEntrySize != 0 {
		return t, Corrupt("%s: size %d is not a multiple of the entry size %d", TableBlobs, h.BlobTable.Size, BlobEntrySize)
	}
	t.Entries = h.BlobTable.Size / BlobEntrySize
	var buf [1024 * BlobEntrySize]byte
	for left, off := h.BlobTable.Size, h.BlobTable.Offset; left > 0; {
		b := buf[:min(left, int64(len(buf)))]
		if err := ReadFull(r, b, off, TableBlobs); err != nil {
			return t, err
		}
		for i := 0; i < len(b); i += BlobEntrySize {
			solid, err := checkBlob(b[i:i+BlobEntrySize], size, h)
			if err != nil {
				return t, Corrupt("%s: entry %d: %v", TableBlobs, (off-h.BlobTable.Offset+int64(i))/BlobEntrySize, err)
			}
			t.Solid = t.Solid || solid
		}
		left -= int64(len(b))
		off += int64(len(b))
	}
	return t, nil
}

// checkBlob checks the position of one entry's resource and says whether it is
// solid.
func checkBlob(b []byte, size int64, h *Header) (solid bool, err error) {
	res, err := ResourceDisk{
		SizeFlags:    binary.LittleEndian.Uint64(b),
		Offset:       binary.LittleEndian.Uint64(b[8:]),
		OriginalSize: binary.LittleEndian.Uint64(b[16:]),
	}.decode()
	if err != nil {
		return false, err
	}
	solid = res.Flags&ResourceSolid != 0
	inside := solid && res.OriginalSize != SolidMark
	elsewhere := binary.LittleEndian.Uint16(b[24:]) != h.Part
	unused := res.Flags&ResourceFree != 0
	if !inside && !elsewhere && !unused && res.End() > size {
		return solid, fmt.Errorf("resource ends at %d, the file at %d", res.End(), size)
	}
	return solid, nil
}

// NewBlobEntry makes an entry of the blob table for an uncompressed resource.
func NewBlobEntry(flags uint8, offset, size int64, references uint32, h Hash) []byte {
	b := make([]byte, 0, BlobEntrySize)
	b = AppendResource(b, Resource{Flags: flags, Offset: offset, Size: size, OriginalSize: uint64(size)})
	b = binary.LittleEndian.AppendUint16(b, 1) // part
	b = binary.LittleEndian.AppendUint32(b, references)
	return append(b, h[:]...)
}

// BlobEntry is one entry of the blob table as it is in the file.
type BlobEntry []byte

// Places in an entry of the blob table.
const (
	blobEntryPart       = 24 // uint16
	BlobEntryReferences = 26 // uint32
	BlobEntryHash       = 30 // 20 bytes
)

// Flags are those of the resource.
func (e BlobEntry) Flags() uint8 { return e[7] }

// Part is the number of the part that the blob lies in.
func (e BlobEntry) Part() uint16 { return binary.LittleEndian.Uint16(e[blobEntryPart:]) }

// References is how often files refer to the blob.
func (e BlobEntry) References() uint32 { return binary.LittleEndian.Uint32(e[BlobEntryReferences:]) }

// Hash is the SHA-1 of the content, 20 bytes.
func (e BlobEntry) Hash() []byte { return e[BlobEntryHash:BlobEntrySize] }

// Resource is where the blob lies. It fails for positions that no file has.
func (e BlobEntry) Resource() (Resource, error) {
	return ResourceDisk{
		SizeFlags:    binary.LittleEndian.Uint64(e),
		Offset:       binary.LittleEndian.Uint64(e[8:]),
		OriginalSize: binary.LittleEndian.Uint64(e[16:]),
	}.decode()
}
