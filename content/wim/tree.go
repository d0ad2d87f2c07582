package wim

import (
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"strings"

	"castpoint/content/wim/format"
	"castpoint/content/wim/metadata"
	"castpoint/content/wim/resource"
)

// Tree is the directory tree of one image. Its methods may be called from
// several goroutines.
type Tree struct {
	reader *Reader
	index  int
	raw    *metadata.Tree // its metadata
}

// Image reads the directory tree of an image, index from 1, and checks all of
// it. Memory is that of the metadata, some 300 bytes per file.
//
// Errors: fs.ErrNotExist for an index that the file does not have; ErrCorrupt
// for a tree with impossible sizes, with names such as "..", with one name
// twice in a folder, or that leads back into itself.
func (r *Reader) Image(index int) (*Tree, error) {
	b, err := r.readMetadata(index)
	if err != nil {
		return nil, err
	}
	raw, err := metadata.Parse(b)
	if err != nil {
		return nil, fmt.Errorf("metadata of image %d: %w", index, err)
	}
	return &Tree{reader: r, index: index, raw: raw}, nil
}

// lookup finds the entry of a path.
func (t *Tree) lookup(path string) (offset int64, d metadata.Dentry, err error) {
	parts, err := metadata.SplitPath(path)
	if err != nil {
		return 0, nil, err
	}
	offset, d = t.raw.RootEntry()
	for i, name := range parts {
		if offset, d = t.raw.Find(d, metadata.AppendName(nil, name)); d == nil {
			return 0, nil, fmt.Errorf("image %d has no %q: %w", t.index, strings.Join(parts[:i+1], "/"), fs.ErrNotExist)
		}
	}
	return offset, d, nil
}

// entry makes an Entry.
func (t *Tree) entry(offset int64, d metadata.Dentry) Entry {
	e := Entry{
		Name:       metadata.DecodeName(d.Name()),
		ShortName:  metadata.DecodeName(d.ShortName()),
		Attributes: d.Attributes(),
		SecurityID: d.Security(),
		Created:    format.Time(d.Created()),
		Accessed:   format.Time(d.Accessed()),
		Modified:   format.Time(d.Modified()),
		HardLink:   d.Link(),
		offset:     offset,
	}
	if d.IsReparsePoint() {
		e.ReparseTag = d.ReparseTag()
	}
	for _, s := range d.TypedStreams() {
		if d.IsFolder() && len(s.Name) == 0 && s.Hash == (Hash{}) {
			continue // a folder has no content; named streams it may have
		}
		e.Streams = append(e.Streams, Stream{metadata.DecodeName(s.Name), s.Kind, s.Hash, t.reader.BlobSize(s.Hash)})
	}
	return e
}

// Index is the number of the image, from 1.
func (t *Tree) Index() int { return t.index }

// Metadata is the tree as it lies in the file.
func (t *Tree) Metadata() *metadata.Tree { return t.raw }

// Root is the root folder.
func (t *Tree) Root() Entry { return t.entry(t.raw.RootEntry()) }

// Lookup finds a file or folder. Parts of the path are separated by / or \;
// case does not matter, but an entry with exactly the given name goes before
// others. Links are not followed. Errors: fs.ErrNotExist, fs.ErrInvalid.
func (t *Tree) Lookup(path string) (Entry, error) {
	at, d, err := t.lookup(path)
	if err != nil {
		return Entry{}, err
	}
	return t.entry(at, d), nil
}

// Children goes over the entries of a folder in the order of the image. For
// anything but a folder of this tree there are none.
func (t *Tree) Children(e Entry) iter.Seq[Entry] {
	return func(yield func(Entry) bool) {
		if !e.IsDir() || e.offset == 0 {
			return
		}
		for at, d := range t.raw.Children(t.raw.At(e.offset)) {
			if !yield(t.entry(at, d)) {
				return
			}
		}
	}
}

// Walk calls fn for every entry: the root with the path "/", then each folder
// before what is in it, with paths such as "/Windows/System32/winload.efi".
// Like filepath.WalkDir it leaves a folder out when fn returns fs.SkipDir and
// ends early for fs.SkipAll; any other error ends it and is returned.
func (t *Tree) Walk(fn func(path string, e Entry) error) error {
	root, _ := t.raw.RootEntry()
	err := t.walk("/", root, fn)
	if errors.Is(err, fs.SkipAll) || errors.Is(err, fs.SkipDir) {
		return nil
	}
	return err
}

func (t *Tree) walk(path string, at int64, fn func(string, Entry) error) error {
	d := t.raw.At(at)
	if len(path) > metadata.MaxPath {
		return format.Corrupt("image %d: a path of more than %d bytes, beginning with %q", t.index, metadata.MaxPath, path[:80])
	}
	if err := fn(path, t.entry(at, d)); err != nil {
		if errors.Is(err, fs.SkipDir) && d.IsFolder() {
			return nil
		}
		return err
	}
	if path != "/" {
		path += "/"
	}
	for at, child := range t.raw.Children(d) {
		if err := t.walk(path+metadata.DecodeName(child.Name()), at, fn); err != nil {
			if errors.Is(err, fs.SkipDir) { // by a file: leave the rest of its folder out
				return nil
			}
			return err
		}
	}
	return nil
}

// Security returns the security descriptor (self-relative, as NTFS stores it)
// that an entry's SecurityID names. It reports false when there is none.
func (t *Tree) Security(id int32) ([]byte, bool) {
	return t.raw.Descriptor(id)
}

// Open finds a file and returns its content, which gives random access and, by
// its Reader method, checked access. Errors: those of Lookup; fs.ErrInvalid for
// what has no content, such as folders and links; ErrCorrupt when the content
// is not in the file.
func (t *Tree) Open(path string) (*resource.Blob, error) {
	e, err := t.Lookup(path)
	if err != nil {
		return nil, err
	}
	s, ok := e.Data()
	if !ok {
		return nil, fmt.Errorf("image %d: %q is no file with content of its own: %w", t.index, path, fs.ErrInvalid)
	}
	return t.OpenStream(s)
}

// OpenStream returns the bytes of a stream. Errors: ErrCorrupt when they are not
// in the file.
func (t *Tree) OpenStream(s Stream) (*resource.Blob, error) {
	b, err := t.reader.Blob(s.Hash)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, format.Corrupt("image %d refers to blob %v, which is not in the file", t.index, s.Hash)
	}
	return b, err
}

// ReadFile returns the content of a file after checking its SHA-1. It is for
// small files: more than limit bytes are refused with fs.ErrInvalid before
// memory is taken. Errors: those of Open, ErrCorrupt, ErrTruncated.
func (t *Tree) ReadFile(path string, limit int64) ([]byte, error) {
	b, err := t.Open(path)
	if err != nil {
		return nil, err
	}
	if b.Size() > limit {
		return nil, fmt.Errorf("image %d: %q has %d bytes, more than %d: %w", t.index, path, b.Size(), limit, fs.ErrInvalid)
	}
	data, err := b.ReadAll(limit)
	if err != nil {
		return nil, fmt.Errorf("image %d: %q: %w", t.index, path, err)
	}
	return data, nil
}
