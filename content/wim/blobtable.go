package wim

import (
	"encoding/binary"
	"fmt"
	"io"
)

const (
	// blobEntrySize is the size of an entry of the blob table: resource header
	// (24), part number (2), reference count (4), SHA-1 (20).
	blobEntrySize = 50
	// solidMark is the original size that marks an entry as a solid resource
	// itself; other entries with the solid flag are blobs inside one, and their
	// offset counts within it.
	solidMark = 1 << 32
)

// blobTable is what a walk over the blob table found.
type blobTable struct {
	entries int64
	solid   bool
}

// scanBlobTable walks over the blob table and checks that all resources of this
// part lie within the file. It holds one buffer, however long the table is.
func scanBlobTable(r io.ReaderAt, size int64, h *header) (blobTable, error) {
	var t blobTable
	if h.blobTable.compressed() {
		// Allowed by the format, written by no known program. The images can be
		// described without it.
		return t, nil
	}
	if h.blobTable.size%blobEntrySize != 0 {
		return t, corrupt("%s: size %d is not a multiple of the entry size %d", tableBlobs, h.blobTable.size, blobEntrySize)
	}
	t.entries = h.blobTable.size / blobEntrySize
	var buf [1024 * blobEntrySize]byte
	for left, off := h.blobTable.size, h.blobTable.offset; left > 0; {
		b := buf[:min(left, int64(len(buf)))]
		if err := readFull(r, b, off, tableBlobs); err != nil {
			return t, err
		}
		for i := 0; i < len(b); i += blobEntrySize {
			solid, err := checkBlob(b[i:i+blobEntrySize], size, h)
			if err != nil {
				return t, corrupt("%s: entry %d: %v", tableBlobs, (off-h.blobTable.offset+int64(i))/blobEntrySize, err)
			}
			t.solid = t.solid || solid
		}
		left -= int64(len(b))
		off += int64(len(b))
	}
	return t, nil
}

// checkBlob checks the position of one entry's resource and says whether it is
// solid.
func checkBlob(b []byte, size int64, h *header) (solid bool, err error) {
	res, err := resourceDisk{
		SizeFlags:    binary.LittleEndian.Uint64(b),
		Offset:       binary.LittleEndian.Uint64(b[8:]),
		OriginalSize: binary.LittleEndian.Uint64(b[16:]),
	}.decode()
	if err != nil {
		return false, err
	}
	solid = res.flags&resourceSolid != 0
	inside := solid && res.originalSize != solidMark
	elsewhere := binary.LittleEndian.Uint16(b[24:]) != h.part
	unused := res.flags&resourceFree != 0
	if !inside && !elsewhere && !unused && res.end() > size {
		return solid, fmt.Errorf("resource ends at %d, the file at %d", res.end(), size)
	}
	return solid, nil
}
