package wim

import (
	"encoding/binary"
	"fmt"
	"io"
)

// Format constants.
const (
	headerSize = 208 // also the value of the size field; no other is known

	versionDefault = 0x10d00
	versionSolid   = 0x00e00 // solid resources and LZMS, since Windows 8

	flagCompression     = 0x00000002
	flagReadOnly        = 0x00000004
	flagSpanned         = 0x00000008
	flagWriteInProgress = 0x00000040
	flagXPRESS          = 0x00020000
	flagLZX             = 0x00040000
	flagLZMS            = 0x00080000
	flagXPRESS2         = 0x00200000 // XPRESS with small chunks

	resourceFree       = 0x01 // space that nothing uses
	resourceMetadata   = 0x02
	resourceCompressed = 0x04
	resourceSpanned    = 0x08
	resourceSolid      = 0x10
)

// The eight bytes that files begin with.
const (
	magicWIM     = "MSWIM\x00\x00\x00"
	magicPipable = "WLPWM\x00\x00\x00"
)

// Limits, so that a damaged or hostile file cannot make us take memory or time
// out of proportion.
const (
	// maxImages is what wimlib accepts; real files have at most some dozens.
	maxImages = 65535
	// maxOffset is far above any file (1 PiB) and far below overflow: a position
	// beyond it is damage, not a file cut short.
	maxOffset = 1 << 50
	// maxChunkSize is the largest unit that any compressor of the format has
	// (LZMS, 1 GiB).
	maxChunkSize = 1 << 30
)

// headerDisk is the header as it lies in the file; all numbers little-endian.
// The offsets are those of Microsoft's "Windows Imaging File Format" paper of
// 2007, which calls the blob table "offset table".
type headerDisk struct {
	Magic        [8]byte      // 0x00
	HeaderSize   uint32       // 0x08
	Version      uint32       // 0x0c
	Flags        uint32       // 0x10
	ChunkSize    uint32       // 0x14
	GUID         [16]byte     // 0x18
	Part         uint16       // 0x28, from 1
	Parts        uint16       // 0x2a
	Images       uint32       // 0x2c
	BlobTable    resourceDisk // 0x30
	XML          resourceDisk // 0x48
	BootMetadata resourceDisk // 0x60
	BootIndex    uint32       // 0x78
	Integrity    resourceDisk // 0x7c
	Unused       [60]byte     // 0x94
} // 0xd0 = 208

// Places of the header that an overlay changes.
const (
	headerBlobTable    = 0x30
	headerXML          = 0x48
	headerBootMetadata = 0x60
	headerBootIndex    = 0x78
	headerIntegrity    = 0x7c
)

// resourceDisk says where a resource is and how long.
type resourceDisk struct {
	SizeFlags    uint64 // 0x00: low 56 bits size in the file, high 8 bits flags
	Offset       uint64 // 0x08: from the start of the file
	OriginalSize uint64 // 0x10: after decompression
} // 0x18

// header is the checked header in memory.
type header struct {
	pipable      bool
	flags        uint32
	chunkSize    uint32
	guid         [16]byte
	part, parts  uint16
	images       uint32
	blobTable    resource
	xml          resource
	bootMetadata resource
	bootIndex    uint32
	integrity    resource
}

// resource is a resourceDisk whose end is known not to overflow.
type resource struct {
	flags        uint8
	offset       int64
	size         int64 // in the file
	originalSize uint64
}

func (r resource) end() int64       { return r.offset + r.size }
func (r resource) compressed() bool { return r.flags&resourceCompressed != 0 }

func (d resourceDisk) decode() (resource, error) {
	r := resource{
		flags:        uint8(d.SizeFlags >> 56),
		originalSize: d.OriginalSize,
	}
	size := d.SizeFlags & (1<<56 - 1)
	if size > maxOffset || d.Offset > maxOffset {
		return r, fmt.Errorf("position %d and size %d are beyond any file", d.Offset, size)
	}
	r.offset, r.size = int64(d.Offset), int64(size)
	return r, nil
}

func (h *header) compression() Compression {
	switch {
	case h.flags&flagCompression == 0:
		return CompressionNone
	case h.flags&flagLZX != 0:
		return CompressionLZX
	case h.flags&(flagXPRESS|flagXPRESS2) != 0:
		return CompressionXPRESS
	default:
		return CompressionLZMS // decodeHeader refuses anything else
	}
}

// readHeader reads and checks the header and that every table lies within the
// file.
func readHeader(r io.ReaderAt, size int64) (*header, error) {
	var buf [headerSize]byte
	first := buf[:min(size, headerSize)]
	if err := readFull(r, first, 0, "header"); err != nil {
		return nil, err
	}
	magic := string(first[:min(len(first), 8)])
	if magic != magicWIM && magic != magicPipable {
		return nil, fmt.Errorf("%w: it is %s", ErrNotWIM, Sniff(r, size))
	}
	if size < headerSize {
		return nil, &TruncatedError{Tables: []string{"header"}, Size: size, Want: headerSize}
	}
	d, err := parseHeader(first)
	if err != nil {
		return nil, err
	}
	if magic == magicPipable {
		// The header at the start was written before the tables were known.
		start := d
		if err := readFull(r, buf[:], size-headerSize, "header at the end"); err != nil {
			return nil, err
		}
		if size < 2*headerSize || string(buf[:8]) != magicPipable {
			return nil, fmt.Errorf("%w: the header that a pipable WIM has in its last %d bytes is not there; copy it again",
				ErrTruncated, headerSize)
		}
		if d, err = parseHeader(buf[:]); err != nil {
			return nil, err
		}
		if d.GUID != start.GUID {
			return nil, corrupt("the headers at the start and at the end belong to different WIMs (%x and %x)", start.GUID, d.GUID)
		}
	}
	h, err := d.decode()
	if err != nil {
		return nil, err
	}
	h.pipable = magic == magicPipable
	if err := h.checkTables(size); err != nil {
		return nil, err
	}
	return h, nil
}

// parseHeader takes the header apart and refuses versions that are not known.
func parseHeader(b []byte) (headerDisk, error) {
	var d headerDisk
	if _, err := binary.Decode(b, binary.LittleEndian, &d); err != nil {
		return d, corrupt("header: %v", err)
	}
	if d.HeaderSize != headerSize {
		return d, corrupt("header: size field is %d, not %d", d.HeaderSize, headerSize)
	}
	if d.Version != versionDefault && d.Version != versionSolid {
		return d, corrupt("header: version %#x is unknown (%#x and %#x are known)", d.Version, versionDefault, versionSolid)
	}
	return d, nil
}

// decode checks every field by itself.
func (d *headerDisk) decode() (*header, error) {
	h := &header{
		flags:     d.Flags,
		chunkSize: d.ChunkSize,
		guid:      d.GUID,
		part:      d.Part,
		parts:     d.Parts,
		images:    d.Images,
		bootIndex: d.BootIndex,
	}
	if d.Part == 0 || d.Parts == 0 || d.Part > d.Parts {
		return nil, corrupt("header: part %d of %d", d.Part, d.Parts)
	}
	if d.Images > maxImages {
		return nil, corrupt("header: %d images, at most %d are possible", d.Images, maxImages)
	}
	if d.Flags&flagCompression != 0 && d.Flags&(flagLZX|flagXPRESS|flagXPRESS2|flagLZMS) == 0 {
		return nil, corrupt("header: compressed by a method that is not known (flags %#x)", d.Flags)
	}
	if d.ChunkSize > maxChunkSize {
		return nil, corrupt("header: chunk size %d is above %d", d.ChunkSize, maxChunkSize)
	}
	if h.bootIndex > d.Images {
		h.bootIndex = 0 // as wimlib does: the images are usable
	}
	for _, t := range []struct {
		name string
		from resourceDisk
		to   *resource
	}{
		{tableBlobs, d.BlobTable, &h.blobTable},
		{tableXML, d.XML, &h.xml},
		{tableBoot, d.BootMetadata, &h.bootMetadata},
		{tableIntegrity, d.Integrity, &h.integrity},
	} {
		var err error
		if *t.to, err = t.from.decode(); err != nil {
			return nil, corrupt("%s: %v", t.name, err)
		}
	}
	return h, nil
}

// Names of the tables in messages.
const (
	tableBlobs     = "blob table"
	tableXML       = "XML data"
	tableBoot      = "boot metadata"
	tableIntegrity = "integrity table"
)

// checkTables compares the position of every table with the size of the file.
func (h *header) checkTables(size int64) error {
	if h.xml.size == 0 {
		// Writers put a header without tables first and fill it in at the end.
		return fmt.Errorf("%w: its header names no XML data, so the program that wrote it did not finish", ErrTruncated)
	}
	short := &TruncatedError{Size: size}
	for _, t := range []struct {
		name string
		resource
	}{
		{tableBlobs, h.blobTable},
		{tableXML, h.xml},
		{tableBoot, h.bootMetadata},
		{tableIntegrity, h.integrity},
	} {
		if t.size == 0 {
			continue
		}
		if t.offset < headerSize {
			return corrupt("%s: offset %d is inside the header", t.name, t.offset)
		}
		if t.end() > size {
			short.Tables = append(short.Tables, t.name)
			short.Want = max(short.Want, t.end())
		}
	}
	if short.Tables != nil {
		return short
	}
	return nil
}
