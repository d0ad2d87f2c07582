// Package wim reads Windows Imaging files: what is in them, whether they are
// whole and undamaged, and every file in their images; and it lays overlays
// over them, which add files to an image without a copy of it. It never writes
// to a WIM.
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
//     blobs come first and the complete header is the last 208 bytes;
//   - an overlay is a new header in front of a stored WIM and a tail behind it;
//     a composite is the WIM that they make together, put together while it is
//     read.
//
// Order of events in Describe: magic, header (for a pipable WIM the one at the
// end), position of every table against the size of the file, blob table, XML
// data. Verify does the same up to the tables and then hashes the file against
// the integrity table. Open goes on from Describe and makes an index of the
// blobs; Reader.Image decompresses the metadata of one image, compares its
// SHA-1 and checks the whole tree, so that what is done with it afterwards
// cannot fail; contents are decompressed chunk by chunk as they are read, or
// many in one pass with several workers (ReadBlobs, VerifyBlobs).
// NewBase does this once for a stored WIM, Base.Overlay then plans the changes
// of the tree and lays out the tail.
//
// Every byte is hostile until checked: sizes are compared with the size of the
// file and with the limits of this package before memory is taken for them.
// docs/wim.md has the format and the limits.
package wim

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"time"
)

// Errors that callers branch on with errors.Is. The message of the returned
// error says what is wrong in detail.
var (
	// ErrNotWIM says that the file is something else; the message says what it
	// looks like where that is known.
	ErrNotWIM = errors.New("not a WIM file")
	// ErrTruncated says that the end of the file is missing. The error is a
	// *TruncatedError where it is known how much.
	ErrTruncated = errors.New("WIM file is incomplete")
	// ErrCorrupt says that the bytes contradict the format or a checksum.
	ErrCorrupt = errors.New("WIM file is damaged")
	// ErrUnsupported says that the file is a good WIM of a kind that this
	// package does not read or change; the message says what converts it.
	ErrUnsupported = errors.New("this kind of WIM file is not supported here")
	// ErrNoIntegrity says that Verify has nothing to check against: the file
	// was made without an integrity table.
	ErrNoIntegrity = errors.New("WIM file has no integrity table")
)

// Compression is the method that compressed resources of a WIM use.
type Compression string

// The methods of the format.
const (
	CompressionNone   Compression = "none"
	CompressionXPRESS Compression = "xpress"
	CompressionLZX    Compression = "lzx"
	CompressionLZMS   Compression = "lzms" // only in version 0xe00 files (ESD)
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

// TruncatedError says which tables lie beyond the end of the file.
type TruncatedError struct {
	Tables []string // names of the tables, in file order of the header
	Size   int64    // bytes the file has
	Want   int64    // bytes it must have at least
}

// Missing is the number of bytes that are missing at least.
func (e *TruncatedError) Missing() int64 { return e.Want - e.Size }

func (e *TruncatedError) Error() string {
	verb := "lies"
	if len(e.Tables) > 1 {
		verb = "lie"
	}
	return fmt.Sprintf("%v: %s %s beyond the end: the file has %d bytes and needs at least %d, so %d are missing; copy it again",
		ErrTruncated, strings.Join(e.Tables, " and "), verb, e.Size, e.Want, e.Missing())
}

// Unwrap makes errors.Is(err, ErrTruncated) true.
func (e *TruncatedError) Unwrap() error { return ErrTruncated }

// Describe reads what a WIM file says about itself, without decompressing or
// checking image data. r must give the file's size bytes.
//
// Errors: ErrNotWIM, ErrTruncated, ErrCorrupt, or the reader's own.
func Describe(r io.ReaderAt, size int64) (*Info, error) {
	h, err := readHeader(r, size)
	if err != nil {
		return nil, err
	}
	info := &Info{
		GUID:        fmt.Sprintf("%x", h.guid),
		Size:        size,
		Compression: h.compression(),
		ChunkSize:   int(h.chunkSize),
		Pipable:     h.pipable,
		Part:        int(h.part),
		Parts:       int(h.parts),
		Integrity:   h.integrity.size != 0,
		ReadOnly:    h.flags&flagReadOnly != 0,
		Unfinished:  h.flags&flagWriteInProgress != 0,
		BootIndex:   int(h.bootIndex),
	}
	table, err := scanBlobTable(r, size, h)
	if err != nil {
		return nil, err
	}
	info.Blobs, info.Solid = table.entries, table.solid
	if info.Images, err = readXML(r, h); err != nil {
		return nil, err
	}
	return info, nil
}

// corrupt makes an error for bytes that contradict the format.
func corrupt(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrCorrupt, fmt.Sprintf(format, args...))
}

// unsupported makes an error for a kind of WIM, with the way out. options are
// those of wimlib-imagex export.
func unsupported(what, options string) error {
	if options != "" {
		options = " " + options
	}
	return fmt.Errorf("%w: %s; convert it first: wimlib-imagex export FILE.wim all NEW.wim --compress=lzx%s", ErrUnsupported, what, options)
}

// readFull reads all of b at off. An early end is ErrTruncated: the position
// was checked against the size before, so the file became shorter since.
func readFull(r io.ReaderAt, b []byte, off int64, what string) error {
	n, err := r.ReadAt(b, off)
	if n == len(b) {
		return nil
	}
	if err == nil || errors.Is(err, io.EOF) {
		return fmt.Errorf("%w: the file became shorter while its %s was read", ErrTruncated, what)
	}
	return fmt.Errorf("read %s of WIM at offset %d: %w", what, off, err)
}
