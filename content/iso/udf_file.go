package iso

import "fmt"

// File types [4/14.6.6] that are told apart.
const (
	udfFolder  = 4
	udfRegular = 5
	udfSymlink = 12
	udfStream  = 249 // UDF 2.2.3.1 has it for its real-time files, which read like others
)

// Characteristics of a name in a folder [4/14.4.3].
const (
	nameFolder  = 1 << 1
	nameDeleted = 1 << 2
	nameParent  = 1 << 3
)

// Forms of allocation descriptors, in the low bits of an entry's flags
// [4/14.6.8].
const (
	formShort  = 0
	formLong   = 1
	formInline = 3
)

// strategySimple is the only ICB strategy that is made today [4/A.5]: one entry,
// which is never superseded.
const strategySimple = 4

// maxContinued bounds the chain of blocks of allocation descriptors: each holds
// at least 60, so files with more pieces than maxExtents end before.
const maxContinued = 2048

// entry is a file entry or extended file entry [4/14.9, 4/14.17].
type entry struct {
	kind    byte
	size    int64
	inline  []byte
	extents []extent
}

// readEntry reads the entry that an address in a folder names. offset is its
// place in the image, which stands for the file.
func (u *udf) readEntry(path string, a address) (e entry, offset int64, err error) {
	b, offset, err := u.descriptor(fmt.Sprintf("file entry of %q", path), a.ref, a.block, tagFileEntry, tagExtendedEntry)
	if err != nil {
		return e, 0, err
	}
	if s := le.Uint16(b[20:]); s != strategySimple {
		return e, 0, unsupported("file %q is stored by strategy %d", path, s)
	}
	head := 176
	if le.Uint16(b) == tagExtendedEntry {
		head = 216
	}
	attributes, length := int64(le.Uint32(b[head-8:])), int64(le.Uint32(b[head-4:]))
	if attributes+length > int64(len(b)-head) {
		return e, 0, corrupt("file entry of %q: %d bytes of attributes and %d of allocation do not fit a block", path, attributes, length)
	}
	e.kind = b[27]
	size := le.Uint64(b[56:])
	if size > 1<<62 {
		return e, 0, corrupt("file %q: %d bytes", path, size)
	}
	e.size = int64(size)
	ads := b[int64(head)+attributes:][:length]
	switch form := le.Uint16(b[34:]) & 7; form {
	case formInline:
		if e.size > length {
			return e, 0, corrupt("file %q: it says it has %d bytes and lacks %d of them", path, e.size, e.size-length)
		}
		e.inline = append([]byte{}, ads[:e.size]...) // not nil, and not the whole block
		return e, offset, nil
	case formShort, formLong:
		e.extents, err = u.allocation(path, ads, form, a.ref)
		return e, offset, err
	default:
		return e, 0, unsupported("file %q has allocation descriptors of form %d", path, form)
	}
}

// allocation reads the allocation descriptors of a file [4/12]: a piece is at
// most 1 GiB, so large files have many, and where they do not fit the entry they
// go on in other blocks.
func (u *udf) allocation(path string, b []byte, form uint16, ref uint16) ([]extent, error) {
	var list []extent
	size := 8
	if form == formLong {
		size = 16
	}
	for links := 0; ; {
		if len(b) < size {
			return list, nil
		}
		n := le.Uint32(b)
		a := address{byte(n >> 30), int64(n & (1<<30 - 1)), le.Uint32(b[4:]), ref}
		if form == formLong {
			a = longAD(b)
		}
		b = b[size:]
		if a.length == 0 {
			return list, nil // ends the list [4/12]
		}
		if a.kind == pieceNext {
			if links++; links > maxContinued {
				return nil, corrupt("file %q: its allocation goes on for ever", path)
			}
			next, _, err := u.descriptor(fmt.Sprintf("allocation of %q", path), a.ref, a.block, tagAllocationExtent)
			if err != nil {
				return nil, err
			}
			length := int64(le.Uint32(next[20:]))
			if length > int64(len(next)-24) {
				return nil, corrupt("file %q: %d bytes of allocation do not fit a block", path, length)
			}
			b = next[24 : 24+length]
			continue
		}
		if len(list) >= maxExtents {
			return nil, corrupt("file %q has more than %d pieces", path, maxExtents)
		}
		e := extent{-1, a.length}
		if a.kind == pieceRecorded {
			var err error
			if e.offset, err = u.at(a.ref, a.block, a.length); err != nil {
				return nil, fmt.Errorf("file %q: %w", path, err)
			}
		}
		list = append(list, e)
	}
}

// folder reads a folder and what is below it.
func (u *udf) folder(dir string, a address, depth int) error {
	e, offset, err := u.readEntry(dir, a)
	if err != nil {
		return err
	}
	if e.kind != udfFolder {
		return corrupt("folder %q is a file of type %d", dir, e.kind)
	}
	if err := u.enter(dir, offset, depth); err != nil {
		return err
	}
	b, err := u.content(dir, e)
	if err != nil {
		return err
	}
	for len(b) > 0 {
		used, err := u.child(dir, b, depth)
		if err != nil {
			return err
		}
		b = b[used:]
	}
	return nil
}

// content is what a folder holds.
func (u *udf) content(dir string, e entry) ([]byte, error) {
	if e.inline != nil {
		return e.inline, nil
	}
	if e.size > maxDirectory {
		return nil, corrupt("folder %q has %d bytes, more than %d", dir, e.size, maxDirectory)
	}
	f := File{Path: dir, Size: e.size, extents: e.extents}
	if err := u.fit(&f); err != nil {
		return nil, err
	}
	var b []byte
	for _, x := range f.extents {
		if x.offset < 0 {
			return nil, corrupt("folder %q has a hole", dir)
		}
		part, err := u.bytes("folder "+dir, x.offset, x.length)
		if err != nil {
			return nil, err
		}
		b = append(b, part...)
	}
	return b, nil
}

// child takes the first name of a folder [4/14.4] and returns its length.
func (u *udf) child(dir string, b []byte, depth int) (int, error) {
	const head = 38
	if len(b) < head {
		return 0, corrupt("folder %q ends within a name", dir)
	}
	name, own := int(b[19]), int(le.Uint16(b[36:]))
	used := (head + own + name + 3) &^ 3
	if head+own+name > len(b) {
		return 0, corrupt("folder %q ends within a name", dir)
	}
	used = min(used, len(b))
	// Its place is that of the block it begins in, which is not known here.
	if err := checkTag(b[:used], tagFileIdentifier, le.Uint32(b[12:])); err != nil {
		return 0, fmt.Errorf("folder %q: %w", dir, err)
	}
	flags := b[18]
	if flags&(nameDeleted|nameParent) != 0 {
		return used, nil
	}
	text, err := cs0(b[head+own : head+own+name])
	if err != nil {
		return 0, fmt.Errorf("folder %q: %w", dir, err)
	}
	path, err := u.name(dir, text)
	if err != nil {
		return 0, err
	}
	a := longAD(b[20:])
	if flags&nameFolder != 0 {
		return used, u.folder(path, a, depth+1)
	}
	e, _, err := u.readEntry(path, a)
	if err != nil {
		return 0, err
	}
	f := File{Path: path, Size: e.size, inline: e.inline, extents: e.extents}
	switch e.kind {
	case udfRegular, udfStream, 0:
	case udfSymlink:
		f.Special = "symbolic link"
	default:
		f.Special = "special file"
	}
	return used, u.add(f)
}
