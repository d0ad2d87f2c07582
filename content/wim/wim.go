// Package wim reads Windows Imaging files: what is in them, and every file in
// their images. It never writes to a WIM.
//
// Rooms beside it: format has what lies in a file, thing by thing; metadata the
// directory tree of one image; resource the compressed runs of bytes, and
// decompress the compressions. On top of it, integrity checks files against their
// integrity table, and overlay adds files to an image without a copy of it.
//
// Terms:
//
//   - a WIM holds one or more images, numbered from 1; its header (208 bytes)
//     says where its tables are;
//   - a blob is the content of a file, stored once and named by its SHA-1; the
//     blob table lists all blobs;
//   - a resource is a run of bytes in the file, plain or compressed: a blob, a
//     table, the metadata of one image;
//   - the metadata of an image is its directory tree: names, attributes, times,
//     security descriptors, and the SHA-1 of each stream;
//   - the XML data describes the images to people: names, editions, sizes;
//   - the integrity table, which may be absent, holds a SHA-1 for each chunk of
//     the file from the end of the header to the end of the blob table;
//   - a split WIM is spread over several files, its parts, each with a header
//     and a blob table of its own; OpenSet reads all of them as one;
//   - a solid resource packs many blobs into one (the ESD files of Windows
//     media);
//   - a pipable WIM is wimlib's variant that can be applied from a pipe: its
//     blobs come first and the complete header is the last 208 bytes.
//
// Order of events in Describe: magic, header (for a pipable WIM the one at the
// end), position of every table against the size of the file, blob table, XML
// data. Open goes on from Describe and makes an index of the
// blobs; Reader.Image decompresses the metadata of one image, compares its
// SHA-1 and checks the whole tree, so that what is done with it afterwards
// cannot fail; contents are decompressed chunk by chunk as they are read, or
// many in one pass with several workers (ReadBlobs, VerifyBlobs).
//
// Every byte is hostile until checked: sizes are compared with the size of the
// file and with the limits of these packages before memory is taken for them.
// docs/wim.md has the format and the limits.
package wim

import (
	"fmt"
	"io"
	"time"

	"castpoint/content/wim/format"
)

// Errors that callers branch on with errors.Is.
var (
	ErrNotWIM      = format.ErrNotWIM      // the file is something else; the message says what it looks like
	ErrTruncated   = format.ErrTruncated   // the end of the file is missing
	ErrCorrupt     = format.ErrCorrupt     // the bytes contradict the format or a checksum
	ErrUnsupported = format.ErrUnsupported // a good WIM of a kind that is not read; the message says what converts it
)

// Hash is the SHA-1 that names a blob.
type Hash = format.Hash

// Compression is the method that compressed resources of a WIM use.
type Compression = format.Compression

// The methods of the format.
const (
	CompressionNone   = format.CompressionNone
	CompressionXPRESS = format.CompressionXPRESS
	CompressionLZX    = format.CompressionLZX
	CompressionLZMS   = format.CompressionLZMS
)

// Info describes a WIM file.
type Info struct {
	GUID        string      `json:"guid"` // 32 hexadecimal digits, the same in all parts of a split WIM
	Size        int64       `json:"size"` // of the file, bytes
	Compression Compression `json:"compression"`
	ChunkSize   int         `json:"chunk_size"` // uncompressed bytes of a compression unit; 0 when uncompressed
	Solid       bool        `json:"solid"`      // has solid resources
	Pipable     bool        `json:"pipable"`    // wimlib's variant; Microsoft's programs do not read it
	Part        int         `json:"part"`       // number of this part, from 1; 0 for all parts of a split WIM
	Parts       int         `json:"parts"`      // 1 when not split
	Integrity   bool        `json:"integrity"`  // has an integrity table
	ReadOnly    bool        `json:"read_only"`  // marked as not to be changed
	// Unfinished says that a program is writing the file, or crashed while it
	// wrote: the header's write-in-progress flag is set.
	Unfinished bool `json:"unfinished"`
	// BootIndex is the index of the image that a boot manager starts, 0 when
	// none is marked.
	BootIndex int     `json:"boot_index"`
	Blobs     int64   `json:"blobs"`  // entries of this part's blob table
	Images    []Image `json:"images"` // in order of index
}

// Split says whether the file is one part of several.
func (i *Info) Split() bool { return i.Parts > 1 }

// Image returns the image with the given index.
func (i *Info) Image(index int) (Image, bool) {
	if index < 1 || index > len(i.Images) {
		return Image{}, false
	}
	return i.Images[index-1], true
}

// Image describes one image by the WIM's XML data. Text is as the XML has it;
// fields that the XML leaves out are zero.
type Image struct {
	Index              int       `json:"index"` // from 1
	Name               string    `json:"name"`
	Description        string    `json:"description,omitempty"`
	DisplayName        string    `json:"display_name,omitempty"`
	DisplayDescription string    `json:"display_description,omitempty"`
	Flags              string    `json:"flags,omitempty"` // edition by Microsoft's tools, e.g. "Professional"
	Arch               string    `json:"arch,omitempty"`  // amd64, arm64, 386, arm, ia64; "" when not Windows
	Edition            string    `json:"edition,omitempty"`
	InstallationType   string    `json:"installation_type,omitempty"` // Client, Server, Server Core, WindowsPE
	ProductName        string    `json:"product_name,omitempty"`
	SystemRoot         string    `json:"system_root,omitempty"`
	Version            string    `json:"version,omitempty"` // major.minor.build.servicepack, e.g. 10.0.26100.1742
	Languages          []string  `json:"languages,omitempty"`
	DefaultLanguage    string    `json:"default_language,omitempty"`
	Dirs               int64     `json:"dirs"`
	Files              int64     `json:"files"`
	TotalBytes         int64     `json:"total_bytes"`      // bytes of all files, hard links counted each time
	HardLinkBytes      int64     `json:"hardlink_bytes"`   // bytes of TotalBytes that hard links count again
	Created            time.Time `json:"created,omitzero"` // UTC
	Modified           time.Time `json:"modified,omitzero"`
}

// Describe reads what a WIM file says about itself, without decompressing or
// checking image data. r must give the file's size bytes.
//
// Errors: ErrNotWIM, ErrTruncated, ErrCorrupt, or the reader's own.
func Describe(r io.ReaderAt, size int64) (*Info, error) {
	h, err := format.ReadHeader(r, size)
	if err != nil {
		return nil, err
	}
	info := &Info{
		GUID:        fmt.Sprintf("%x", h.GUID),
		Size:        size,
		Compression: h.Compression(),
		ChunkSize:   int(h.ChunkSize),
		Pipable:     h.Pipable,
		Part:        int(h.Part),
		Parts:       int(h.Parts),
		Integrity:   h.Integrity.Size != 0,
		ReadOnly:    h.Flags&format.FlagReadOnly != 0,
		Unfinished:  h.Flags&format.FlagWriteInProgress != 0,
		BootIndex:   int(h.BootIndex),
	}
	table, err := format.ScanBlobTable(r, size, h)
	if err != nil {
		return nil, err
	}
	info.Blobs, info.Solid = table.Entries, table.Solid
	if info.Images, err = readXML(r, h); err != nil {
		return nil, err
	}
	return info, nil
}
