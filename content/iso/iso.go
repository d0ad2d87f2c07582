// Package iso lists and reads the files of an optical disc image without
// mounting it: UDF, as Windows installation media have it, and ISO 9660 with its
// extensions Rock Ridge and Joliet.
//
// Order of events: Open looks for UDF first, because Windows media carry an ISO
// 9660 beside it that only says "this disc contains a UDF file system"; it reads
// the whole directory tree and no data. A File knows where its bytes lie, so it
// is read with nothing but an io.ReaderAt of the image.
//
// An image may be hostile. Everything it says of places and sizes is compared
// with the size of the image before it is used, directories are entered once,
// and the limits below bound memory and time. Libraries that read ISO 9660 take
// sizes from the image as they are.
package iso

import (
	"errors"
	"fmt"
	"io"
	"path"
	"slices"
	"strings"
	"unicode/utf8"
)

// Errors that callers branch on.
var (
	// ErrNotISO: neither UDF nor ISO 9660.
	ErrNotISO = errors.New("not an ISO image")
	// ErrCorrupt: the image contradicts itself, or its own end.
	ErrCorrupt = errors.New("the ISO image is damaged")
	// ErrUnsupported: a legal image that this package does not read.
	ErrUnsupported = errors.New("this kind of ISO image is not supported")
)

// Limits. Windows media has about 1000 files in 100 folders.
const (
	maxFiles     = 200_000
	maxFolders   = 50_000
	maxDepth     = 64
	maxPath      = 4096     // bytes
	maxDirectory = 32 << 20 // bytes of one folder
	// maxMetadata bounds what is read in all, in bytes: a small image may name
	// one extent as the content of many folders.
	maxMetadata = 512 << 20
	// maxExtents bounds the pieces of one file: 2048 GiB of the largest pieces
	// of UDF (1 GiB), or a file that was written in many small ones.
	maxExtents = 1 << 16
)

// Format is how the names of an image are stored.
type Format string

// Formats, in the order in which they are preferred.
const (
	FormatUDF       Format = "UDF"
	FormatRockRidge Format = "ISO 9660 with Rock Ridge"
	FormatJoliet    Format = "ISO 9660 with Joliet"
	FormatISO9660   Format = "ISO 9660"
)

// Image is the directory tree of an image.
type Image struct {
	Format Format
	Label  string // of the volume
	// Files are all files in order of path; folders are only in their paths.
	Files []File
}

// File is a file of an image.
type File struct {
	Path string // with "/", relative
	Size int64  // bytes
	// Special says what it is when it is no ordinary file, as in "symbolic link";
	// such a file has no bytes.
	Special string

	inline  []byte // its bytes, when they lie within its directory data
	extents []extent
}

// extent is a run of a file's bytes.
type extent struct {
	offset int64 // in the image; -1 for a hole, which reads as zeros
	length int64
}

// Open reads the directory tree of an image of size bytes.
//
// Errors: ErrNotISO, ErrCorrupt, ErrUnsupported, or those of r.
func Open(r io.ReaderAt, size int64) (*Image, error) {
	t := &tree{r: r, size: size, entered: map[int64]bool{}}
	format, label, err := t.read()
	if err != nil {
		return nil, err
	}
	slices.SortFunc(t.files, func(a, b File) int { return strings.Compare(a.Path, b.Path) })
	for i := 1; i < len(t.files); i++ {
		if t.files[i].Path == t.files[i-1].Path {
			return nil, corrupt("two files are called %s", t.files[i].Path)
		}
	}
	return &Image{Format: format, Label: label, Files: t.files}, nil
}

// Sniff says whether the beginning looks like an ISO image; Open may still
// refuse it.
func Sniff(r io.ReaderAt) bool {
	var b [6]byte
	_, err := r.ReadAt(b[:], firstDescriptor*sector)
	id := string(b[1:])
	return err == nil && (id == "CD001" || id == "BEA01" || id == "NSR02" || id == "NSR03")
}

// Find returns the file with that path; letter case does not matter, and where
// several differ only in it, the first is meant.
func (i *Image) Find(p string) (*File, bool) {
	for n := range i.Files {
		if strings.EqualFold(i.Files[n].Path, p) {
			return &i.Files[n], true
		}
	}
	return nil, false
}

// tree is the state of reading a directory tree, whatever the format.
type tree struct {
	r        io.ReaderAt
	size     int64
	files    []File
	entered  map[int64]bool // folders, by the offset of what describes them
	metadata int64          // bytes read
}

// Bytes of a sector, in which descriptors are counted, and the sector of the
// first (ECMA-119 section 6.2, ECMA-167 part 2 section 8.2.1).
const (
	sector          = 2048
	firstDescriptor = 16
)

// read tries the formats in order.
func (t *tree) read() (Format, string, error) {
	found, err := t.hasUDF()
	if err != nil {
		return "", "", err
	}
	if found {
		label, err := t.readUDF()
		return FormatUDF, label, err
	}
	return t.read9660()
}

// bytes reads length bytes of metadata.
func (t *tree) bytes(what string, offset, length int64) ([]byte, error) {
	if offset < 0 || length < 0 || offset > t.size || length > t.size-offset {
		return nil, corrupt("%s at byte %d with %d bytes lies beyond the end at %d", what, offset, length, t.size)
	}
	if t.metadata += length; t.metadata > maxMetadata {
		return nil, corrupt("its folders are larger than %d bytes", maxMetadata)
	}
	b := make([]byte, length)
	if _, err := t.r.ReadAt(b, offset); err != nil && !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("read %s: %w", what, err)
	} else if err != nil && offset+length != t.size {
		return nil, corrupt("%s at byte %d: the file ends early", what, offset)
	}
	return b, nil
}

// enter notes that a folder is being read; folders that contain themselves, and
// folders that are reached twice, are refused.
func (t *tree) enter(dir string, offset int64, depth int) error {
	switch {
	case t.entered[offset]:
		return corrupt("folder %q is inside itself, or is two folders", dir)
	case len(t.entered) >= maxFolders:
		return corrupt("more than %d folders", maxFolders)
	case depth > maxDepth:
		return corrupt("folder %q is more than %d deep", dir, maxDepth)
	}
	t.entered[offset] = true
	return nil
}

// name joins a checked name to a folder's path.
func (t *tree) name(dir, name string) (string, error) {
	if name == "" || name == "." || name == ".." || strings.ContainsAny(name, "/\x00") || !utf8.ValidString(name) {
		return "", corrupt("folder %q holds the name %q", dir, name)
	}
	if p := path.Join(dir, name); len(p) <= maxPath {
		return p, nil
	}
	return "", corrupt("folder %q holds a path of more than %d bytes", dir, maxPath)
}

// add takes a file whose pieces must hold its size and lie within the image.
func (t *tree) add(f File) error {
	if len(t.files) >= maxFiles {
		return corrupt("more than %d files", maxFiles)
	}
	if f.Special != "" {
		f.Size, f.inline, f.extents = 0, nil, nil
	} else if f.inline == nil {
		if err := t.fit(&f); err != nil {
			return err
		}
	}
	t.files = append(t.files, f)
	return nil
}

// fit checks the pieces of a file and cuts them to its size: the last sector is
// rarely full, and a writer may have reserved more.
func (t *tree) fit(f *File) error {
	left := f.Size
	var used []extent
	for _, e := range f.extents {
		if left == 0 {
			break
		}
		e.length = min(e.length, left)
		if e.offset >= 0 && (e.offset > t.size || e.length > t.size-e.offset) {
			return corrupt("file %s: its bytes %d to %d lie beyond the end at %d: the image is not complete", f.Path, e.offset, e.offset+e.length, t.size)
		}
		left -= e.length
		if n := len(used); n > 0 && e.offset >= 0 && used[n-1].offset >= 0 && used[n-1].offset+used[n-1].length == e.offset {
			used[n-1].length += e.length
			continue
		}
		used = append(used, e)
	}
	if left > 0 {
		return corrupt("file %s: it says it has %d bytes and lacks %d of them", f.Path, f.Size, left)
	}
	f.extents = used
	return nil
}

func corrupt(format string, args ...any) error {
	return fmt.Errorf("%w: %w", ErrCorrupt, fmt.Errorf(format, args...))
}

func unsupported(format string, args ...any) error {
	return fmt.Errorf("%w: %w", ErrUnsupported, fmt.Errorf(format, args...))
}
