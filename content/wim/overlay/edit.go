package overlay

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io/fs"
	"slices"
	"strings"

	"castpoint/content/wim"
	"castpoint/content/wim/format"
	"castpoint/content/wim/metadata"
)

// attributesOfContent are the attributes that say how NTFS keeps a file's
// content. They do not outlive the content: sparse, compressed, encrypted,
// offline, and the reparse point.
const attributesOfContent = 0x200 | 0x1000 | metadata.AttributeReparsePoint | metadata.AttributeCompressed | metadata.AttributeEncrypted

// treeEdit collects changes of a tree and writes them as patches of the
// metadata and a part behind it. The stored metadata is never changed.
//
// The entries of a folder that gains or loses any are written again behind the
// metadata, as references to those that stay, and the folder's own entry is
// patched to point there; the old ones are left as dead space. A file that is
// replaced without its entry becoming longer or shorter is patched in place.
type treeEdit struct {
	tree     *metadata.Tree
	reader   *wim.Reader
	links    map[uint64]int // names that share a number, from the Base
	unlinked map[uint64]int // of them, how many were taken away
	time     uint64         // of new entries
	root     *folderEdit
	delta    treeDelta
	stored   *bytes.Reader // the metadata, shared by all overlays

	patches []patch
	tail    pieces // behind the metadata
	start   int64  // of tail, from the start of the metadata
}

// treeDelta is by how much an edit changes the numbers of the XML data, and how
// often it refers to blobs.
type treeDelta struct {
	folders, files   int64
	bytes, linkBytes int64
	references       map[format.Hash]int64
}

// folderEdit is a folder in which, or below which, something changes.
type folderEdit struct {
	base    int64 // offset of its stored entry, -1 when it is new
	entries map[string]*entryEdit
}

// entryEdit is a change of one entry. Without file and folder it takes the
// stored entry away.
type entryEdit struct {
	name    []byte // UTF-16LE
	base    int64  // offset of the stored entry that it changes or replaces, -1 for none
	removed bool   // the stored entry was taken away before anything took its place
	file    *fileEdit
	folder  *folderEdit
}

// fileEdit is a file that is put into the tree.
type fileEdit struct {
	path string
	hash format.Hash
	size int64
}

func newTreeEdit(b *Base, time uint64) *treeEdit {
	tree := b.tree.Metadata()
	root, _ := tree.RootEntry()
	return &treeEdit{
		tree:     tree,
		reader:   b.reader,
		links:    b.links,
		unlinked: map[uint64]int{},
		time:     time,
		root:     &folderEdit{base: root, entries: map[string]*entryEdit{}},
		delta:    treeDelta{references: map[format.Hash]int64{}},
		stored:   b.metadata,
		start:    metadata.Align8(int64(len(tree.Bytes()))),
	}
}

// entry finds the entry of a name in a folder, changed before or not. When
// there is none, the result has neither base nor anything else and is not yet
// part of the folder.
func (e *treeEdit) entry(f *folderEdit, name string) (key string, entry *entryEdit) {
	raw := metadata.AppendName(nil, name)
	if f.base >= 0 {
		if at, d := e.tree.Find(e.tree.At(f.base), raw); d != nil {
			key = fmt.Sprintf("stored %d", at)
			if old := f.entries[key]; old != nil {
				return key, old
			}
			return key, &entryEdit{name: d.Name(), base: at}
		}
	}
	for i := 0; i+1 < len(raw); i += 2 {
		binary.LittleEndian.PutUint16(raw[i:], metadata.Upper(binary.LittleEndian.Uint16(raw[i:])))
	}
	key = "new " + string(raw)
	if old := f.entries[key]; old != nil {
		return key, old
	}
	return key, &entryEdit{name: metadata.AppendName(nil, name), base: -1}
}

// remove takes a file or a folder with all that is in it away. What is not
// there is gone already.
func (e *treeEdit) remove(path string) error {
	parts, err := metadata.SplitPath(path)
	if err != nil {
		return err
	}
	if len(parts) == 0 {
		return fmt.Errorf("path %q: the root cannot be removed: %w", path, fs.ErrInvalid)
	}
	f := e.root
	for i, name := range parts {
		key, entry := e.entry(f, name)
		_, changed := f.entries[key]
		if entry.base < 0 || changed && entry.folder == nil {
			return nil // not there, or taken away before
		}
		d := e.tree.At(entry.base)
		if i == len(parts)-1 {
			if changed {
				// Something below was taken away before, and not counted twice.
				e.forget(entry.folder)
			}
			entry.folder, entry.removed = nil, true
			f.entries[key] = entry
			e.count(d, -1)
			return nil
		}
		if !d.IsFolder() {
			return nil
		}
		if !changed {
			entry.folder = &folderEdit{base: entry.base, entries: map[string]*entryEdit{}}
			f.entries[key] = entry
		}
		f = entry.folder
	}
	return nil
}

// forget undoes the counting of removals below a folder.
func (e *treeEdit) forget(f *folderEdit) {
	for _, entry := range f.entries {
		if entry.folder != nil {
			e.forget(entry.folder)
		} else {
			e.count(e.tree.At(entry.base), +1)
		}
	}
}

// count adds an entry and all that is in it to the numbers, or with -1 takes it
// away.
func (e *treeEdit) count(d metadata.Dentry, sign int64) {
	if d.IsFolder() {
		e.delta.folders += sign
		for _, child := range e.tree.Children(d) {
			e.count(child, sign)
		}
	} else {
		e.delta.files += sign
	}
	var size int64
	for _, s := range d.RawStreams() {
		if s.Hash != (format.Hash{}) {
			e.delta.references[s.Hash] += sign
			size += e.reader.BlobSize(s.Hash)
		}
	}
	e.delta.bytes += sign * size
	// Of several names of one file, all but one count as links.
	if id := d.Link(); id != 0 && e.links[id] > 1 {
		if sign > 0 {
			e.unlinked[id]--
		}
		if e.unlinked[id] < e.links[id]-1 {
			e.delta.linkBytes += sign * size
		}
		if sign < 0 {
			e.unlinked[id]++
		}
	}
}

// put adds or replaces a file and makes the folders above it.
func (e *treeEdit) put(file *fileEdit) error {
	parts, err := metadata.SplitPath(file.path)
	if err != nil {
		return err
	}
	if len(parts) == 0 {
		return fmt.Errorf("path %q: the root is no file: %w", file.path, fs.ErrInvalid)
	}
	if len(parts) > metadata.MaxDepth || len(file.path) > metadata.MaxPath {
		return fmt.Errorf("path of %d bytes and %d names, beginning with %q: at most %d and %d are possible: %w",
			len(file.path), len(parts), file.path[:min(len(file.path), 80)], metadata.MaxPath, metadata.MaxDepth, fs.ErrInvalid)
	}
	f := e.root
	for i, name := range parts {
		if err := metadata.CheckNewName(file.path, name); err != nil {
			return err
		}
		key, entry := e.entry(f, name)
		_, changed := f.entries[key]
		f.entries[key] = entry
		if entry.removed && entry.folder == nil && entry.file == nil {
			entry.name = metadata.AppendName(nil, name) // not the spelling of what is gone
		}
		var stored metadata.Dentry // unless it was taken away before
		if entry.base >= 0 && !changed {
			stored = e.tree.At(entry.base)
		}
		if i == len(parts)-1 {
			return e.putFile(entry, stored, file)
		}
		switch {
		case entry.folder != nil:
		case entry.file != nil:
			return fmt.Errorf("path %q: %q is a file of the overlay: %w", file.path, strings.Join(parts[:i+1], "/"), fs.ErrInvalid)
		case stored == nil:
			entry.folder = &folderEdit{base: -1, entries: map[string]*entryEdit{}}
			e.delta.folders++
		case !stored.IsFolder():
			return fmt.Errorf("path %q: %q is in the image, but no folder: %w", file.path, strings.Join(parts[:i+1], "/"), fs.ErrInvalid)
		default:
			entry.folder = &folderEdit{base: entry.base, entries: map[string]*entryEdit{}}
		}
		f = entry.folder
	}
	return nil
}

func (e *treeEdit) putFile(entry *entryEdit, stored metadata.Dentry, file *fileEdit) error {
	switch {
	case entry.file != nil:
		return fmt.Errorf("paths %q and %q: one file twice: %w", entry.file.path, file.path, fs.ErrInvalid)
	case entry.folder != nil, stored != nil && stored.Attributes()&metadata.AttributeDirectory != 0:
		return fmt.Errorf("path %q: it is a folder: %w", file.path, fs.ErrInvalid)
	}
	if stored != nil {
		e.count(stored, -1)
	}
	entry.file = file
	e.delta.files++
	e.delta.bytes += file.size
	if file.hash != (format.Hash{}) {
		e.delta.references[file.hash]++
	}
	return nil
}

// write makes the new metadata of all changes.
func (e *treeEdit) write() (*pieces, error) {
	at := e.writeFolder(e.root)
	_, root := e.tree.RootEntry()
	if uint64(at) != root.Subdir() {
		e.patchSubdir(e.root.base, at)
	}
	out := &pieces{}
	out.addPatched(e.stored, int64(len(e.tree.Bytes())), e.patches)
	out.addBytes(make([]byte, e.start-out.size))
	out.addPieces(&e.tail)
	if out.size > metadata.MaxSize {
		return nil, fmt.Errorf("%w: the directory tree would have %d bytes, at most %d are possible", format.ErrUnsupported, out.size, metadata.MaxSize)
	}
	return out, nil
}

func (e *treeEdit) patchSubdir(entry, at int64) {
	e.patches = append(e.patches, patch{entry + metadata.DentrySubdir, binary.LittleEndian.AppendUint64(nil, uint64(at))})
}

// writeFolder writes what changes below a folder, then in it, and returns where
// its entries begin.
func (e *treeEdit) writeFolder(f *folderEdit) int64 {
	subdirs := map[int64]int64{} // of stored folders whose entries move
	replaced := map[int64]metadata.Dentry{}
	removed := map[int64]bool{}
	added := []metadata.Dentry{} // entries without a stored one
	inPlace := f.base >= 0
	// In order of key, so that the result does not depend on chance.
	keys := make([]string, 0, len(f.entries))
	for k := range f.entries {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	for _, k := range keys {
		x := f.entries[k]
		switch {
		case x.folder != nil && x.folder.base >= 0:
			at := e.writeFolder(x.folder)
			if uint64(at) != e.tree.At(x.base).Subdir() {
				subdirs[x.base] = at
			}
			continue
		case x.folder != nil:
			d := metadata.NewDentry(x.name, nil, metadata.AttributeDirectory, -1, e.time, e.time)
			d.SetSubdir(e.writeFolder(x.folder))
			if x.base >= 0 {
				replaced[x.base] = d
			} else {
				added = append(added, d)
			}
			inPlace = false
		case x.file != nil && x.base >= 0:
			d := e.replacement(x)
			replaced[x.base] = d
			inPlace = inPlace && len(d) == len(e.tree.At(x.base))
		case x.file != nil:
			d := metadata.NewDentry(x.name, nil, metadata.AttributeArchive, -1, e.time, e.time)
			d.SetHash(x.file.hash)
			added = append(added, d)
			inPlace = false
		default:
			removed[x.base] = true
			inPlace = false
		}
	}
	if inPlace {
		for at, d := range replaced {
			e.patches = append(e.patches, patch{at, d})
		}
		for at, to := range subdirs {
			e.patchSubdir(at, to)
		}
		return int64(e.tree.At(f.base).Subdir())
	}

	// Stored folders are in order of name, mostly; new entries go to their
	// place in that order.
	slices.SortFunc(added, func(a, b metadata.Dentry) int { return metadata.CompareFold(a.Name(), b.Name()) })
	at := e.start + e.tail.size
	if f.base >= 0 {
		for from, d := range e.tree.Children(e.tree.At(f.base)) {
			for len(added) > 0 && metadata.CompareFold(added[0].Name(), d.Name()) < 0 {
				e.tail.addBytes(added[0])
				added = added[1:]
			}
			switch to, moved := subdirs[from]; {
			case removed[from]:
			case replaced[from] != nil:
				e.tail.addBytes(replaced[from])
			case moved:
				e.tail.add(e.stored, from, metadata.DentrySubdir)
				e.tail.addBytes(binary.LittleEndian.AppendUint64(nil, uint64(to)))
				e.tail.add(e.stored, from+metadata.DentrySubdir+8, int64(len(d))-metadata.DentrySubdir-8)
			default:
				e.tail.add(e.stored, from, int64(len(d)))
			}
			// The last entry of the metadata may lack its padding.
			e.tail.addBytes(make([]byte, metadata.Align8(e.tail.size)-e.tail.size))
		}
	}
	for _, d := range added {
		e.tail.addBytes(d)
	}
	e.tail.addBytes(make([]byte, metadata.EndOfFolder))
	return at
}

// replacement is the entry of a file that takes the place of a stored one: it
// keeps name, short name, owner and what it can of the attributes.
func (e *treeEdit) replacement(x *entryEdit) metadata.Dentry {
	old := e.tree.At(x.base)
	if x.removed {
		d := metadata.NewDentry(x.name, nil, metadata.AttributeArchive, -1, e.time, e.time)
		d.SetHash(x.file.hash)
		return d
	}
	attributes := old.Attributes() &^ attributesOfContent
	if attributes == 0 {
		attributes = metadata.AttributeArchive
	}
	d := metadata.NewDentry(x.name, old.ShortName(), attributes, old.Security(), old.Created(), e.time)
	d.SetHash(x.file.hash)
	return d
}
