package format

import (
	"encoding/binary"
	"fmt"
)

// Flags of resources.
const (
	ResourceFree       = 0x01 // space that nothing uses
	ResourceMetadata   = 0x02
	ResourceCompressed = 0x04
	resourceSpanned    = 0x08
	ResourceSolid      = 0x10
)

// ResourceDisk says where a resource is and how long.
type ResourceDisk struct {
	SizeFlags    uint64 // 0x00: low 56 bits size in the file, high 8 bits flags
	Offset       uint64 // 0x08: from the start of the file
	OriginalSize uint64 // 0x10: after decompression
} // 0x18

// Resource is a ResourceDisk whose end is known not to overflow.
type Resource struct {
	Flags        uint8
	Offset       int64
	Size         int64 // in the file
	OriginalSize uint64
}

// End is where the first byte behind it lies.
func (r Resource) End() int64 { return r.Offset + r.Size }

// Compressed says that it has to be decompressed.
func (r Resource) Compressed() bool { return r.Flags&ResourceCompressed != 0 }

func (d ResourceDisk) decode() (Resource, error) {
	r := Resource{
		Flags:        uint8(d.SizeFlags >> 56),
		OriginalSize: d.OriginalSize,
	}
	size := d.SizeFlags & (1<<56 - 1)
	if size > maxOffset || d.Offset > maxOffset {
		return r, fmt.Errorf("position %d and size %d are beyond any file", d.Offset, size)
	}
	r.Offset, r.Size = int64(d.Offset), int64(size)
	return r, nil
}

// AppendResource appends the 24 bytes of a ResourceDisk.
func AppendResource(b []byte, r Resource) []byte {
	b = binary.LittleEndian.AppendUint64(b, uint64(r.Flags)<<56|uint64(r.Size))
	b = binary.LittleEndian.AppendUint64(b, uint64(r.Offset))
	return binary.LittleEndian.AppendUint64(b, r.OriginalSize)
}
