package wim

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"strings"
	"time"
)

// Limits of a directory tree. Windows allows paths of 32767 characters.
const (
	maxDepth = 1024
	maxPath  = 32767 // bytes, of the paths that Walk makes
)

// File attributes (FILE_ATTRIBUTE_* of the Windows SDK) that matter here.
const (
	AttributeReadOnly     = 0x00000001
	AttributeHidden       = 0x00000002
	AttributeSystem       = 0x00000004
	AttributeDirectory    = 0x00000010
	AttributeArchive      = 0x00000020
	AttributeNormal       = 0x00000080
	AttributeReparsePoint = 0x00000400
	AttributeCompressed   = 0x00000800
	AttributeEncrypted    = 0x00004000
)

// Tags of common reparse points.
const (
	ReparseMountPoint = 0xa0000003 // junction
	ReparseSymlink    = 0xa000000c
)

// StreamKind says what the bytes of a stream are.
type StreamKind string

// The kinds of streams.
const (
	StreamData         StreamKind = "data"
	StreamReparsePoint StreamKind = "reparse-point" // where a link leads, as NTFS stores it
	StreamEncrypted    StreamKind = "encrypted"     // a file under EFS, as only Windows can restore it
)

// Stream is a stream of a file; most files have one, of no name.
type Stream struct {
	Name string     `json:"name,omitempty"`
	Kind StreamKind `json:"kind"`
	Hash Hash       `json:"hash"` // zero when empty
	Size int64      `json:"size"` // bytes; 0 when the blob is not in the file
}

// Entry is a file or folder in an image.
type Entry struct {
	Name       string    `json:"name"` // "" for the root
	ShortName  string    `json:"short_name,omitempty"`
	Attributes uint32    `json:"attributes"`
	SecurityID int32     `json:"security_id"` // for Tree.Security; -1 for none
	Created    time.Time `json:"created"`     // UTC
	Accessed   time.Time `json:"accessed"`
	Modified   time.Time `json:"modified"`
	HardLink   uint64    `json:"hard_link,omitempty"`   // the same in all names of a file with several
	ReparseTag uint32    `json:"reparse_tag,omitempty"` // of reparse points
	Streams    []Stream  `json:"streams,omitempty"`

	offset int64 // in the metadata
}

// IsDir says that the entry is a folder that can have entries: not a junction.
func (e *Entry) IsDir() bool {
	return e.Attributes&(AttributeDirectory|AttributeReparsePoint) == AttributeDirectory
}

// Data returns the stream with the content of the file. It reports false for
// what has none: folders, links, encrypted files.
func (e *Entry) Data() (Stream, bool) {
	for _, s := range e.Streams {
		if s.Name == "" && s.Kind == StreamData {
			// A link has no content; a file kept elsewhere (deduplicated,
			// compressed by the file system) may have its own beside the tag.
			return s, !e.IsDir() && (e.ReparseTag == 0 || s.Hash != (Hash{}))
		}
	}
	return Stream{}, false
}

// Tree is the directory tree of one image. Its methods may be called from
// several goroutines.
type Tree struct {
	reader   *Reader
	index    int
	metadata []byte
	root     int64 // offset of the root's entry
	security []securityRange
	stats    treeStats
}

type securityRange struct{ start, end int64 }

// treeStats is what the check of a tree counted.
type treeStats struct {
	folders, files int64 // without the root
	// sorted says that the entries of all folders are in the order of
	// compareFold.
	sorted bool
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
	t := &Tree{reader: r, index: index, metadata: b}
	if err := t.check(); err != nil {
		return nil, fmt.Errorf("metadata of image %d: %w", index, err)
	}
	return t, nil
}

// check makes sure of everything that the other methods rely on.
func (t *Tree) check() error {
	if err := t.readSecurity(); err != nil {
		return err
	}
	if t.root == int64(len(t.metadata)) {
		return corrupt("there is no root folder")
	}
	root, err := parseDentry(t.metadata[t.root:])
	if err != nil {
		return err
	}
	if root == nil || !root.isFolder() {
		return corrupt("there is no root folder")
	}
	// Every entry is met once, so the entries together are no longer than the
	// metadata, unless folders share entries or lie within themselves.
	met := int64(len(root))
	t.stats.sorted = true
	type folder struct {
		at    int64
		depth int
	}
	todo := []folder{}
	push := func(d dentry, depth int) error {
		at := d.subdir()
		if at == 0 || !d.isFolder() {
			return nil
		}
		if at > uint64(len(t.metadata)) {
			return corrupt("the entries of a folder begin at %d, beyond the end at %d", at, len(t.metadata))
		}
		if depth > maxDepth {
			return corrupt("folders are nested deeper than %d", maxDepth)
		}
		todo = append(todo, folder{int64(at), depth})
		return nil
	}
	if err := push(root, 1); err != nil {
		return err
	}
	for len(todo) > 0 {
		f := todo[len(todo)-1]
		todo = todo[:len(todo)-1]
		sorted := true
		var last []byte
		for at := f.at; ; {
			d, err := parseDentry(t.metadata[at:])
			if err != nil {
				return err
			}
			if d == nil {
				break
			}
			if met += int64(len(d)); met > int64(len(t.metadata)) {
				return corrupt("the directory tree leads back into itself: a folder is reached twice")
			}
			if err := checkStoredName(d.name()); err != nil {
				return err
			}
			sorted = sorted && (last == nil || compareFold(last, d.name()) < 0)
			last = d.name()
			if d.isFolder() {
				t.stats.folders++
			} else {
				t.stats.files++
			}
			if err := push(d, f.depth+1); err != nil {
				return err
			}
			at += int64(len(d))
		}
		// In strict order there can be no name twice.
		if !sorted {
			t.stats.sorted = false
			if err := t.checkUnique(f.at); err != nil {
				return err
			}
		}
	}
	return nil
}

// readSecurity finds the security descriptors and the root behind them.
func (t *Tree) readSecurity() error {
	if len(t.metadata) < 8 {
		return corrupt("%d bytes are too short", len(t.metadata))
	}
	total := int64(binary.LittleEndian.Uint32(t.metadata))
	count := int64(binary.LittleEndian.Uint32(t.metadata[4:]))
	total = max(total, 8) // some writers leave it 0 when there are none
	at := 8 + 8*count
	if total > int64(len(t.metadata)) || at > total {
		return corrupt("%d security descriptors in %d bytes, the metadata has %d", count, total, len(t.metadata))
	}
	t.security = make([]securityRange, 0, count)
	for i := range count {
		size := binary.LittleEndian.Uint64(t.metadata[8+8*i:])
		if size > uint64(total-at) {
			return corrupt("security descriptor %d has %d bytes, %d are left", i, size, total-at)
		}
		t.security = append(t.security, securityRange{at, at + int64(size)})
		at += int64(size)
	}
	t.root = min(align8(total), int64(len(t.metadata)))
	return nil
}

// checkStoredName refuses names that would mean something else in a path.
func checkStoredName(name []byte) error {
	if len(name) == 0 {
		return corrupt("a directory entry without a name")
	}
	dots := true
	for i := 0; i < len(name); i += 2 {
		u := binary.LittleEndian.Uint16(name[i:])
		if u == 0 || u == '/' || u == '\\' {
			return corrupt("a directory entry has the name %q", decodeName(name))
		}
		dots = dots && u == '.'
	}
	if dots && len(name) <= 4 {
		return corrupt("a directory entry has the name %q", decodeName(name))
	}
	return nil
}

// checkUnique looks for one name twice in the folder whose entries begin at the
// given offset. Names that differ in case are two: there are images made on
// systems where case matters.
func (t *Tree) checkUnique(at int64) error {
	seen := map[string]struct{}{}
	for _, d := range t.folder(at) {
		if _, ok := seen[string(d.name())]; ok {
			return corrupt("the name %q occurs twice in one folder", decodeName(d.name()))
		}
		seen[string(d.name())] = struct{}{}
	}
	return nil
}

// folder goes over the entries from the given offset, which was checked, and
// their offsets.
func (t *Tree) folder(at int64) iter.Seq2[int64, dentry] {
	return func(yield func(int64, dentry) bool) {
		for {
			d, err := parseDentry(t.metadata[at:])
			if err != nil || d == nil || !yield(at, d) {
				return
			}
			at += int64(len(d))
		}
	}
}

// children goes over the entries of a folder.
func (t *Tree) children(d dentry) iter.Seq2[int64, dentry] {
	if at := d.subdir(); at != 0 && d.isFolder() {
		return t.folder(int64(at))
	}
	return func(func(int64, dentry) bool) {}
}

// at returns the entry at an offset that was checked.
func (t *Tree) at(offset int64) dentry {
	d, err := parseDentry(t.metadata[offset:])
	if err != nil || d == nil {
		panic("wim: an entry that was checked is gone") // the metadata does not change
	}
	return d
}

// find looks a name up in a folder: the same name if there is one, else the
// first that differs only in case. The dentry is nil when there is none.
func (t *Tree) find(folder dentry, name []byte) (offset int64, found dentry) {
	for at, d := range t.children(folder) {
		if len(d.name()) != len(name) {
			continue // folding keeps the length
		}
		if string(d.name()) == string(name) {
			return at, d
		}
		if found == nil && compareFold(d.name(), name) == 0 {
			offset, found = at, d
		}
	}
	return offset, found
}

// lookup finds the entry of a path.
func (t *Tree) lookup(path string) (offset int64, d dentry, err error) {
	parts, err := splitPath(path)
	if err != nil {
		return 0, nil, err
	}
	offset, d = t.root, t.at(t.root)
	for i, name := range parts {
		if offset, d = t.find(d, appendName(nil, name)); d == nil {
			return 0, nil, fmt.Errorf("image %d has no %q: %w", t.index, strings.Join(parts[:i+1], "/"), fs.ErrNotExist)
		}
	}
	return offset, d, nil
}

// entry makes an Entry.
func (t *Tree) entry(offset int64, d dentry) Entry {
	e := Entry{
		Name:       decodeName(d.name()),
		ShortName:  decodeName(d.shortName()),
		Attributes: d.attributes(),
		SecurityID: d.security(),
		Created:    fileTime(d.time(dentryCreated)),
		Accessed:   fileTime(d.time(dentryAccessed)),
		Modified:   fileTime(d.time(dentryModified)),
		HardLink:   d.link(),
		offset:     offset,
	}
	if d.isReparsePoint() {
		e.ReparseTag = d.reparseTag()
	}
	for _, s := range d.typedStreams() {
		if d.isFolder() && len(s.name) == 0 && s.hash == (Hash{}) {
			continue // a folder has no content; named streams it may have
		}
		e.Streams = append(e.Streams, Stream{decodeName(s.name), s.kind, s.hash, t.reader.blobSize(s.hash)})
	}
	return e
}

// Index is the number of the image, from 1.
func (t *Tree) Index() int { return t.index }

// Root is the root folder.
func (t *Tree) Root() Entry { return t.entry(t.root, t.at(t.root)) }

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
		for at, d := range t.children(t.at(e.offset)) {
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
	err := t.walk("/", t.root, fn)
	if errors.Is(err, fs.SkipAll) || errors.Is(err, fs.SkipDir) {
		return nil
	}
	return err
}

func (t *Tree) walk(path string, at int64, fn func(string, Entry) error) error {
	d := t.at(at)
	if len(path) > maxPath {
		return corrupt("image %d: a path of more than %d bytes, beginning with %q", t.index, maxPath, path[:80])
	}
	if err := fn(path, t.entry(at, d)); err != nil {
		if errors.Is(err, fs.SkipDir) && d.isFolder() {
			return nil
		}
		return err
	}
	if path != "/" {
		path += "/"
	}
	for at, child := range t.children(d) {
		if err := t.walk(path+decodeName(child.name()), at, fn); err != nil {
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
	if id < 0 || int64(id) >= int64(len(t.security)) {
		return nil, false
	}
	s := t.security[id]
	return t.metadata[s.start:s.end:s.end], true
}

// Open finds a file and returns its content, which gives random access and, by
// its Reader method, checked access. Errors: those of Lookup; fs.ErrInvalid for
// what has no content, such as folders and links; ErrCorrupt when the content
// is not in the file.
func (t *Tree) Open(path string) (*Blob, error) {
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
func (t *Tree) OpenStream(s Stream) (*Blob, error) {
	b, err := t.reader.Blob(s.Hash)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, corrupt("image %d refers to blob %v, which is not in the file", t.index, s.Hash)
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
	data, err := b.readAll(limit)
	if err != nil {
		return nil, fmt.Errorf("image %d: %q: %w", t.index, path, err)
	}
	return data, nil
}
