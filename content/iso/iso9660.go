package iso

import (
	"fmt"
	"strings"
	"unicode/utf16"
)

// Types of volume descriptors (ECMA-119 section 8.1.1).
const (
	volumePrimary       = 1
	volumeSupplementary = 2
	volumeTerminator    = 255
	maxDescriptors      = 64
)

// Flags of a directory record (ECMA-119 section 9.1.6).
const (
	recordFolder     = 1 << 1
	recordAssociated = 1 << 2 // a resource fork, not a file
	recordMore       = 1 << 7 // the next record has more of the same file
)

// recordHead is the length of a directory record before its name.
const recordHead = 33

// volume9660 is one directory tree of an ISO 9660 image.
type volume9660 struct {
	*tree
	block  int64 // bytes of a logical block
	joliet bool
	ridge  bool
	skip   int // bytes at the start of system use fields that are not SUSP's
}

// read9660 reads the tree with the best names: Rock Ridge before Joliet, which
// cuts them at 64 characters, before those in capitals.
func (t *tree) read9660() (Format, string, error) {
	var primary, joliet []byte
	for n := int64(0); n < maxDescriptors; n++ {
		offset := (firstDescriptor + n) * sector
		if offset+sector > t.size {
			break
		}
		b, err := t.bytes("volume descriptor", offset, sector)
		if err != nil {
			return "", "", err
		}
		if string(b[1:6]) != "CD001" || b[0] == volumeTerminator {
			break
		}
		switch {
		case b[0] == volumePrimary && primary == nil:
			primary = b
		case b[0] == volumeSupplementary && joliet == nil && isJoliet(b[88:120]):
			joliet = b
		}
	}
	if primary == nil {
		return "", "", fmt.Errorf("%w: neither UDF nor ISO 9660", ErrNotISO)
	}
	v := volume9660{tree: t, block: int64(le.Uint16(primary[128:]))}
	if v.block != 512 && v.block != 1024 && v.block != 2048 {
		return "", "", corrupt("blocks of %d bytes", v.block)
	}
	label := strings.TrimRight(strings.Map(printable, string(primary[40:72])), " ")
	root := primary[156:190]
	if err := v.findRidge(root); err != nil {
		return "", "", err
	}
	format := FormatISO9660
	switch {
	case v.ridge:
		format = FormatRockRidge
	case joliet != nil && int64(le.Uint16(joliet[128:])) == v.block:
		format, v.joliet, root = FormatJoliet, true, joliet[156:190]
	}
	return format, label, v.folder("", v.run(root), 0)
}

// isJoliet knows the escape sequences of UCS-2 levels 1 to 3 (Joliet
// specification, SVD Escape Sequences Field).
func isJoliet(escapes []byte) bool {
	s := string(escapes[:3])
	return s == "%/@" || s == "%/C" || s == "%/E"
}

// run is where the bytes of a directory record lie.
func (v *volume9660) run(record []byte) extent {
	first := int64(le.Uint32(record[2:])) + int64(record[1]) // behind the extended attributes
	return extent{first * v.block, int64(le.Uint32(record[10:]))}
}

// folder reads a folder and what is below it. A folder is one run.
func (v *volume9660) folder(dir string, e extent, depth int) error {
	if err := v.enter(dir, e.offset, depth); err != nil {
		return err
	}
	if e.length > maxDirectory {
		return corrupt("folder %q has %d bytes, more than %d", dir, e.length, maxDirectory)
	}
	b, err := v.bytes(fmt.Sprintf("folder %q", dir), e.offset, e.length)
	if err != nil {
		return err
	}
	var open *File // a file whose next piece is expected
	for at := 0; at < len(b); {
		n := int(b[at])
		if n == 0 { // records do not cross sectors
			at = (at/sector + 1) * sector
			continue
		}
		end := at + n
		if end > len(b) || n < recordHead+1 || recordHead+int(b[at+32]) > n || at/sector != (end-1)/sector {
			return corrupt("folder %q: the record at byte %d does not fit", dir, at)
		}
		if open, err = v.record(dir, b[at:end], open, depth); err != nil {
			return err
		}
		at = end
	}
	if open != nil {
		return corrupt("file %s: its last piece is missing", open.Path)
	}
	return nil
}

// record takes one directory record. open is the file that the last one began,
// or nil; the file that is then open is returned.
func (v *volume9660) record(dir string, b []byte, open *File, depth int) (*File, error) {
	raw := b[recordHead : recordHead+int(b[32])]
	flags := b[25]
	if len(raw) == 1 && raw[0] <= 1 || flags&recordAssociated != 0 {
		return open, nil // the folder itself, and its parent
	}
	if b[26] != 0 || b[27] != 0 {
		return nil, unsupported("folder %q has interleaved files", dir)
	}
	s := susp{child: -1}
	if v.ridge {
		var err error
		if s, err = v.systemUse(dir, b); err != nil {
			return nil, err
		}
	}
	text, err := v.text(raw, s)
	if err != nil {
		return nil, fmt.Errorf("folder %q: %w", dir, err)
	}
	path, err := v.name(dir, text)
	if err != nil {
		return nil, err
	}
	if open != nil && open.Path != path {
		return nil, corrupt("file %s: its last piece is missing", open.Path)
	}
	switch {
	case s.relocated:
		return nil, nil // shown where it belongs, by its child link
	case s.child >= 0:
		return nil, v.child(path, s.child, depth)
	case flags&recordFolder != 0:
		return nil, v.folder(path, v.run(b), depth+1)
	case s.compressed:
		return nil, unsupported("file %s is compressed (zisofs)", path)
	}
	if open == nil {
		open = &File{Path: path, Special: s.special}
	}
	piece := v.run(b)
	if len(open.extents) >= maxExtents {
		return nil, corrupt("file %s has more than %d pieces", path, maxExtents)
	}
	open.Size += piece.length
	open.extents = append(open.extents, piece)
	if flags&recordMore != 0 {
		return open, nil
	}
	return nil, v.add(*open)
}

// child reads a folder that Rock Ridge has moved because it lay too deep.
func (v *volume9660) child(path string, block int64, depth int) error {
	b, err := v.bytes("folder "+path, block*v.block, recordHead+1)
	if err != nil {
		return err
	}
	return v.folder(path, extent{block * v.block, int64(le.Uint32(b[10:]))}, depth+1)
}

// text is the best name that a record has.
func (v *volume9660) text(raw []byte, s susp) (string, error) {
	if s.name != "" {
		return s.name, nil
	}
	if !v.joliet {
		name, _, _ := strings.Cut(strings.ToValidUTF8(string(raw), "_"), ";")
		return strings.TrimSuffix(name, "."), nil
	}
	if len(raw)%2 != 0 {
		return "", corrupt("a Joliet name of %d bytes", len(raw))
	}
	units := make([]uint16, 0, len(raw)/2)
	for i := 0; i < len(raw); i += 2 {
		units = append(units, uint16(raw[i])<<8|uint16(raw[i+1]))
	}
	name := string(utf16.Decode(units))
	// Some writers add a version, as the names in capitals have it.
	return strings.TrimSuffix(name, ";1"), nil
}
