package format

import (
	"encoding/binary"
	"fmt"
	"io"
)

// Format constants.
const (
	HeaderSize = 208 // also the value of the size field; no other is known

	VersionDefault = 0x10d00
	VersionSolid   = 0x00e00 // solid resources and LZMS, since Windows 8

	FlagCompression     = 0x00000002
	FlagReadOnly        = 0x00000004
	FlagSpanned         = 0x00000008
	FlagWriteInProgress = 0x00000040
	FlagXPRESS          = 0x00020000
	FlagLZX             = 0x00040000
	FlagLZMS            = 0x00080000
	flagXPRESS2         = 0x00200000 // XPRESS with small chunks
)

// The eight bytes that files begin with.
const (
	MagicWIM     = "MSWIM\x00\x00\x00"
	MagicPipable = "WLPWM\x00\x00\x00"
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

// HeaderDisk is the header as it lies in the file; all numbers little-endian.
// The offsets are those of Microsoft's "Windows Imaging File Format" paper of
// 2007, which calls the blob table "offset table".
type HeaderDisk struct {
	Magic        [8]byte      // 0x00
	HeaderSize   uint32       // 0x08
	Version      uint32       // 0x0c
	Flags        uint32       // 0x10
	ChunkSize    uint32       // 0x14
	GUID         [16]byte     // 0x18
	Part         uint16       // 0x28, from 1
	Parts        uint16       // 0x2a
	Images       uint32       // 0x2c
	BlobTable    ResourceDisk // 0x30
	XML          ResourceDisk // 0x48
	BootMetadata ResourceDisk // 0x60
	BootIndex    uint32       // 0x78
	Integrity    ResourceDisk // 0x7c
	Unused       [60]byte     // 0x94
} // 0xd0 = 208

// Places of the header that an overlay changes.
const (
	HeaderBlobTable    = 0x30
	HeaderXML          = 0x48
	HeaderBootMetadata = 0x60
	HeaderBootIndex    = 0x78
	HeaderIntegrity    = 0x7c
)

// Header is the checked header in memory.
type Header struct {
	Pipable      bool
	Flags        uint32
	ChunkSize    uint32
	GUID         [16]byte
	Part, Parts  uint16
	Images       uint32
	BlobTable    Resource
	XML          Resource
	BootMetadata Resource
	BootIndex    uint32
	Integrity    Resource
}

// Compression is the method that the flags name.
func (h *Header) Compression() Compression {
	switch {
	case h.Flags&FlagCompression == 0:
		return CompressionNone
	case h.Flags&FlagLZX != 0:
		return CompressionLZX
	case h.Flags&(FlagXPRESS|flagXPRESS2) != 0:
		return CompressionXPRESS
	default:
		return CompressionLZMS // decode refuses anything else
	}
}

// ReadHeader reads and checks the header and that every table lies within the
// file.
func ReadHeader(r io.ReaderAt, size int64) (*Header, error) {
	var buf [HeaderSize]byte
	first := buf[:min(size, HeaderSize)]
	if err := ReadFull(r, first, 0, "header"); err != nil {
		return nil, err
	}
	magic := string(first[:min(len(first), 8)])
	if magic != MagicWIM && magic != MagicPipable {
		return nil, fmt.Errorf("%w: it is %s", ErrNotWIM, Sniff(r, size))
	}
	if size < HeaderSize {
		return nil, &TruncatedError{Tables: []string{"header"}, Size: size, Want: HeaderSize}
	}
	d, err := ParseHeader(first)
	if err != nil {
		return nil, err
	}
	if magic == MagicPipable {
		// The header at the start was written before the tables were known.
		start := d
		if err := ReadFull(r, buf[:], size-HeaderSize, "header at the end"); err != nil {
			return nil, err
		}
		if size < 2*HeaderSize || string(buf[:8]) != MagicPipable {
			return nil, fmt.Errorf("%w: the header that a pipable WIM has in its last %d bytes is not there; copy it again",
				ErrTruncated, HeaderSize)
		}
		if d, err = ParseHeader(buf[:]); err != nil {
			return nil, err
		}
		if d.GUID != start.GUID {
			return nil, Corrupt("the headers at the start and at the end belong to different WIMs (%x and %x)", start.GUID, d.GUID)
		}
	}
	h, err := d.decode()
	if err != nil {
		return nil, err
	}
	h.Pipable = magic == MagicPipable
	if err := h.checkTables(size); err != nil {
		return nil, err
	}
	return h, nil
}

// ParseHeader takes the header apart and refuses versions that are not known.
func ParseHeader(b []byte) (HeaderDisk, error) {
	var d HeaderDisk
	if _, err := binary.Decode(b, binary.LittleEndian, &d); err != nil {
		return d, Corrupt("header: %v", err)
	}
	if d.HeaderSize != HeaderSize {
		return d, Corrupt("header: size field is %d, not %d", d.HeaderSize, HeaderSize)
	}
	if d.Version != VersionDefault && d.Version != VersionSolid {
		return d, Corrupt("header: version %#x is unknown (%#x and %#x are known)", d.Version, VersionDefault, VersionSolid)
	}
	return d, nil
}

// decode checks every field by itself.
func (d *HeaderDisk) decode() (*Header, error) {
	h := &Header{
		Flags:     d.Flags,
		ChunkSize: d.ChunkSize,
		GUID:      d.GUID,
		Part:      d.Part,
		Parts:     d.Parts,
		Images:    d.Images,
		BootIndex: d.BootIndex,
	}
	if d.Part == 0 || d.Parts == 0 || d.Part > d.Parts {
		return nil, Corrupt("header: part %d of %d", d.Part, d.Parts)
	}
	if d.Images > maxImages {
		return nil, Corrupt("header: %d images, at most %d are possible", d.Images, maxImages)
	}
	if d.Flags&FlagCompression != 0 && d.Flags&(FlagLZX|FlagXPRESS|flagXPRESS2|FlagLZMS) == 0 {
		return nil, Corrupt("header: compressed by a method that is not known (flags %#x)", d.Flags)
	}
	if d.ChunkSize > maxChunkSize {
		return nil, Corrupt("header: chunk size %d is above %d", d.ChunkSize, maxChunkSize)
	}
	if h.BootIndex > d.Images {
		h.BootIndex = 0 // as wimlib does: the images are usable
	}
	for _, t := range []struct {
		name string
		from ResourceDisk
		to   *Resource
	}{
		{TableBlobs, d.BlobTable, &h.BlobTable},
		{TableXML, d.XML, &h.XML},
		{tableBoot, d.BootMetadata, &h.BootMetadata},
		{TableIntegrity, d.Integrity, &h.Integrity},
	} {
		var err error
		if *t.to, err = t.from.decode(); err != nil {
			return nil, Corrupt("%s: %v", t.name, err)
		}
	}
	return h, nil
}

// Names of the tables in messages.
const (
	TableBlobs     = "blob table"
	TableXML       = "XML data"
	tableBoot      = "boot metadata"
	TableIntegrity = "integrity table"
)

// checkTables compares the position of every table with the size of the file.
func (h *Header) checkTables(size int64) error {
	if h.XML.Size == 0 {
		// Writers put a header without tables first and fill it in at the end.
		return fmt.Errorf("%w: its header names no XML data, so the program that wrote it did not finish", ErrTruncated)
	}
	short := &TruncatedError{Size: size}
	for _, t := range []struct {
		name string
		Resource
	}{
		{TableBlobs, h.BlobTable},
		{TableXML, h.XML},
		{tableBoot, h.BootMetadata},
		{TableIntegrity, h.Integrity},
	} {
		if t.Size == 0 {
			continue
		}
		if t.Offset < HeaderSize {
			return Corrupt("%s: offset %d is inside the header", t.name, t.Offset)
		}
		if t.End() > size {
			short.Tables = append(short.Tables, t.name)
			short.Want = max(short.Want, t.End())
		}
	}
	if short.Tables != nil {
		return short
	}
	return nil
}

// Compression is the method that compressed resources of a WIM use.
type Compression string

// The methods of the format.
const (
	CompressionNone   Compression = "none"
	CompressionXPRESS Compression = "xpress"
	CompressionLZX    Compression = "lzx"
	CompressionLZMS   Compression = "lzms" // only in version 0xe00 files (ESD)
)
