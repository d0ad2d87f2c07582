// Package metadata reads and writes the directory tree of an image as it lies in a
// WIM file: security descriptors, entries, their names and streams. Parse checks a
// tree as a whole, so that what is done with it afterwards cannot fail.
package metadata

import (
	"encoding/binary"
	"iter"

	"castpoint/content/wim/format"
)

// Limits of a directory tree. Windows allows paths of 32767 characters.
const (
	// MaxSize is that of the tree of one image, decompressed: a million files
	// with long names. Windows has 40 MB.
	MaxSize  = 256 << 20
	MaxDepth = 1024  // folders in each other
	MaxPath  = 32767 // bytes, of paths as they are made of names
)

// Tree is the metadata of an image: its directory tree as it lies in the
// file, checked as a whole. It does not change.
type Tree struct {
	data     []byte
	root     int64 // offset of the root's entry
	security []securityRange
}

type securityRange struct{ start, end int64 }

// Parse checks the metadata of an image, and keeps them: they must not
// change any more. Errors: ErrCorrupt.
func Parse(metadata []byte) (*Tree, error) {
	t := &Tree{data: metadata}
	if err := t.check(); err != nil {
		return nil, err
	}
	return t, nil
}

// check makes sure of everything that the other methods rely on.
func (t *Tree) check() error {
	if err := t.readSecurity(); err != nil {
		return err
	}
	if t.root == int64(len(t.data)) {
		return format.Corrupt("there is no root folder")
	}
	root, err := parseDentry(t.data[t.root:])
	if err != nil {
		return err
	}
	if root == nil || !root.IsFolder() {
		return format.Corrupt("there is no root folder")
	}
	// Every entry is met once, so the entries together are no longer than the
	// metadata, unless folders share entries or lie within themselves.
	met := int64(len(root))
	type folder struct {
		at    int64
		depth int
	}
	todo := []folder{}
	push := func(d Dentry, depth int) error {
		at := d.Subdir()
		if at == 0 || !d.IsFolder() {
			return nil
		}
		if at > uint64(len(t.data)) {
			return format.Corrupt("the entries of a folder begin at %d, beyond the end at %d", at, len(t.data))
		}
		if depth > MaxDepth {
			return format.Corrupt("folders are nested deeper than %d", MaxDepth)
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
			d, err := parseDentry(t.data[at:])
			if err != nil {
				return err
			}
			if d == nil {
				break
			}
			if met += int64(len(d)); met > int64(len(t.data)) {
				return format.Corrupt("the directory tree leads back into itself: a folder is reached twice")
			}
			if err := checkStoredName(d.Name()); err != nil {
				return err
			}
			sorted = sorted && (last == nil || CompareFold(last, d.Name()) < 0)
			last = d.Name()
			if err := push(d, f.depth+1); err != nil {
				return err
			}
			at += int64(len(d))
		}
		// In strict order there can be no name twice.
		if !sorted {
			if err := t.checkUnique(f.at); err != nil {
				return err
			}
		}
	}
	return nil
}

// readSecurity finds the security descriptors and the root behind them.
func (t *Tree) readSecurity() error {
	if len(t.data) < 8 {
		return format.Corrupt("%d bytes are too short", len(t.data))
	}
	total := int64(binary.LittleEndian.Uint32(t.data))
	count := int64(binary.LittleEndian.Uint32(t.data[4:]))
	total = max(total, 8) // some writers leave it 0 when there are none
	at := 8 + 8*count
	if total > int64(len(t.data)) || at > total {
		return format.Corrupt("%d security descriptors in %d bytes, the metadata has %d", count, total, len(t.data))
	}
	t.security = make([]securityRange, 0, count)
	for i := range count {
		size := binary.LittleEndian.Uint64(t.data[8+8*i:])
		if size > uint64(total-at) {
			return format.Corrupt("security descriptor %d has %d bytes, %d are left", i, size, total-at)
		}
		t.security = append(t.security, securityRange{at, at + int64(size)})
		at += int64(size)
	}
	t.root = min(Align8(total), int64(len(t.data)))
	return nil
}

// checkStoredName refuses names that would mean something else in a path.
func checkStoredName(name []byte) error {
	if len(name) == 0 {
		return format.Corrupt("a directory entry without a name")
	}
	dots := true
	for i := 0; i < len(name); i += 2 {
		u := binary.LittleEndian.Uint16(name[i:])
		if u == 0 || u == '/' || u == '\\' {
			return format.Corrupt("a directory entry has the name %q", DecodeName(name))
		}
		dots = dots && u == '.'
	}
	if dots && len(name) <= 4 {
		return format.Corrupt("a directory entry has the name %q", DecodeName(name))
	}
	return nil
}

// checkUnique looks for one name twice in the folder whose entries begin at the
// given offset. Names that differ in case are two: there are images made on
// systems where case matters.
func (t *Tree) checkUnique(at int64) error {
	seen := map[string]struct{}{}
	for _, d := range t.folder(at) {
		if _, ok := seen[string(d.Name())]; ok {
			return format.Corrupt("the name %q occurs twice in one folder", DecodeName(d.Name()))
		}
		seen[string(d.Name())] = struct{}{}
	}
	return nil
}

// Bytes are the metadata as they were given to Parse.
func (t *Tree) Bytes() []byte { return t.data }

// RootEntry is the entry of the root, and its offset.
func (t *Tree) RootEntry() (int64, Dentry) { return t.root, t.At(t.root) }

// Descriptor is the security descriptor with a number; false when there is none.
func (t *Tree) Descriptor(id int32) ([]byte, bool) {
	if id < 0 || int64(id) >= int64(len(t.security)) {
		return nil, false
	}
	s := t.security[id]
	return t.data[s.start:s.end:s.end], true
}

// folder goes over the entries from the given offset, which was checked, and
// their offsets.
func (t *Tree) folder(at int64) iter.Seq2[int64, Dentry] {
	return func(yield func(int64, Dentry) bool) {
		for {
			d, err := parseDentry(t.data[at:])
			if err != nil || d == nil || !yield(at, d) {
				return
			}
			at += int64(len(d))
		}
	}
}

// Children goes over the entries of a folder.
func (t *Tree) Children(d Dentry) iter.Seq2[int64, Dentry] {
	if at := d.Subdir(); at != 0 && d.IsFolder() {
		return t.folder(int64(at))
	}
	return func(func(int64, Dentry) bool) {}
}

// At returns the entry at an offset that was checked.
func (t *Tree) At(offset int64) Dentry {
	d, err := parseDentry(t.data[offset:])
	if err != nil || d == nil {
		panic("wim: an entry that was checked is gone") // the metadata does not change
	}
	return d
}

// Find looks a name up in a folder: the same name if there is one, else the
// first that differs only in case. The dentry is nil when there is none.
func (t *Tree) Find(folder Dentry, name []byte) (offset int64, found Dentry) {
	for at, d := range t.Children(folder) {
		if len(d.Name()) != len(name) {
			continue // folding keeps the length
		}
		if string(d.Name()) == string(name) {
			return at, d
		}
		if found == nil && CompareFold(d.Name(), name) == 0 {
			offset, found = at, d
		}
	}
	return offset, found
}
