package hive

import (
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"time"
)

// ErrNotHive says that a file does not start as a registry hive does.
var ErrNotHive = errors.New("not a registry hive")

// MaxSize is the longest file that Read reads, in bytes. Stores have tens of
// kilobytes.
const MaxSize = 16 << 20

// Deepest key that is read; the elements of a store are at depth 4.
const maxKeyDepth = 16

// CorruptError says what is wrong with a hive, and where.
type CorruptError struct {
	Offset  int64  // in the file, in bytes
	Problem string // what is wrong there
}

func (e *CorruptError) Error() string {
	return fmt.Sprintf("registry hive is damaged at offset 0x%x: %s", e.Offset, e.Problem)
}

// reader follows the cells of a hive. Whatever a cell says is checked
// against the file: an offset must be the start of a used cell, and each cell
// may be used once. So reading ends, takes memory in proportion to the file, and
// cannot be sent in circles.
type reader struct {
	bins  []byte
	minor uint32            // of the version: 1.minor
	cells map[uint32]uint32 // size of each used cell, without its header; by offset
	seen  map[uint32]bool   // cells followed so far
	notes []string
}

func (r *reader) damaged(at uint32, format string, args ...any) error {
	return &CorruptError{Offset: baseBlockSize + int64(at), Problem: fmt.Sprintf(format, args...)}
}

// Read reads all of a hive. It never trusts the input. Errors are ErrNotHive and
// *CorruptError.
func Read(b []byte) (*Hive, error) {
	r := &reader{cells: map[uint32]uint32{}, seen: map[uint32]bool{}}
	rootAt, modified, err := r.readBase(b)
	if err != nil {
		return nil, err
	}
	if err := r.findCells(); err != nil {
		return nil, err
	}
	root, err := r.readKey(rootAt, 0)
	if err != nil {
		return nil, err
	}
	return &Hive{Root: root, Modified: modified, Notes: r.notes}, nil
}

// readBase checks the base block and returns the offset of the root key.
func (r *reader) readBase(b []byte) (rootAt uint32, modified time.Time, err error) {
	le := binary.LittleEndian
	damaged := func(at int64, format string, args ...any) error {
		return &CorruptError{Offset: at, Problem: fmt.Sprintf(format, args...)}
	}
	switch {
	case len(b) < 4 || string(b[:4]) != "regf":
		return 0, modified, fmt.Errorf("%w: it does not start with regf", ErrNotHive)
	case len(b) > MaxSize:
		return 0, modified, fmt.Errorf("%w that can be a store: %d bytes, at most %d", ErrNotHive, len(b), MaxSize)
	case len(b) < baseBlockSize:
		return 0, modified, damaged(int64(len(b)), "the file ends inside its base block of %d bytes", baseBlockSize)
	}
	if sum := le.Uint32(b[checksumAt:]); sum != checksum(b) {
		return 0, modified, damaged(checksumAt, "checksum of the base block is 0x%08x, computed 0x%08x", sum, checksum(b))
	}
	major, minor := le.Uint32(b[20:]), le.Uint32(b[24:])
	if major != 1 || minor < 3 || minor > 6 {
		return 0, modified, damaged(20, "hive of version %d.%d, want 1.3 to 1.6", major, minor)
	}
	if typ := le.Uint32(b[28:]); typ != 0 {
		return 0, modified, damaged(28, "file of type %d, want 0 (a hive; 1, 2 and 6 are its logs)", typ)
	}
	size := le.Uint32(b[40:])
	if size == 0 || size%binAlign != 0 {
		return 0, modified, damaged(40, "%d bytes of bins, want a multiple of %d", size, binAlign)
	}
	if have := len(b) - baseBlockSize; uint64(size) > uint64(have) {
		return 0, modified, damaged(int64(len(b)), "the file ends %d bytes too early: %d bytes of bins, %d are there",
			int64(size)-int64(have), size, have)
	}
	if first, second := le.Uint32(b[4:]), le.Uint32(b[8:]); first != second {
		r.notes = append(r.notes, fmt.Sprintf("the hive was not closed cleanly (sequence numbers %d and %d):"+
			" the last changes may be in its log files, which are not read", first, second))
	}
	r.bins = b[baseBlockSize : baseBlockSize+int(size)]
	r.minor = minor
	return le.Uint32(b[36:]), fromFiletime(le.Uint64(b[12:])), nil
}

// findCells walks all bins and notes where the used cells are.
func (r *reader) findCells() error {
	le := binary.LittleEndian
	for at := uint32(0); at < uint32(len(r.bins)); {
		bin := r.bins[at:]
		if string(bin[:4]) != "hbin" {
			return r.damaged(at, "no bin starts here: %q, want \"hbin\"", bin[:4])
		}
		if own := le.Uint32(bin[4:]); own != at {
			return r.damaged(at+4, "bin says that it is at 0x%x, it is at 0x%x", own, at)
		}
		size := le.Uint32(bin[8:])
		if size == 0 || size%binAlign != 0 || uint64(size) > uint64(len(bin)) {
			return r.damaged(at+8, "bin of %d bytes, %d are left", size, len(bin))
		}
		end := at + size
		for cell := at + binHeaderSize; cell < end; {
			n := int64(int32(le.Uint32(r.bins[cell:])))
			used := n < 0
			if used {
				n = -n
			}
			if n < cellAlign || n%cellAlign != 0 || n > int64(end-cell) {
				return r.damaged(cell, "cell of %d bytes, %d are left in its bin", n, end-cell)
			}
			if used {
				r.cells[cell] = uint32(n) - cellHeader
			}
			cell += uint32(n)
		}
		at = end
	}
	return nil
}

// open returns the contents of a used cell that has not been followed yet, and
// at least need bytes of it.
func (r *reader) open(at uint32, need int, what string) ([]byte, error) {
	size, ok := r.cells[at]
	switch {
	case ok:
	case uint64(at) >= uint64(len(r.bins)):
		return nil, r.damaged(at, "%s is past the end of the bins (0x%x bytes)", what, len(r.bins))
	default:
		return nil, r.damaged(at, "%s is not at the start of a used cell", what)
	}
	if r.seen[at] {
		return nil, r.damaged(at, "%s is in a cell that something else uses too", what)
	}
	r.seen[at] = true
	if int64(size) < int64(need) {
		return nil, r.damaged(at, "%s needs %d bytes, its cell has %d", what, need, size)
	}
	return r.bins[at+cellHeader : at+cellHeader+size], nil
}

func (r *reader) readKey(at uint32, depth int) (*Key, error) {
	if depth > maxKeyDepth {
		return nil, r.damaged(at, "key more than %d levels deep", maxKeyDepth)
	}
	le := binary.LittleEndian
	nk, err := r.open(at, keyHeaderSize, "key")
	if err != nil {
		return nil, err
	}
	if string(nk[:2]) != "nk" {
		return nil, r.damaged(at, "no key here: %q, want \"nk\"", nk[:2])
	}
	nameLength := int(le.Uint16(nk[72:]))
	if keyHeaderSize+nameLength > len(nk) {
		return nil, r.damaged(at, "key with a name of %d bytes, its cell has %d", nameLength, len(nk)-keyHeaderSize)
	}
	k := &Key{Name: decodeName(nk[keyHeaderSize:keyHeaderSize+nameLength], le.Uint16(nk[2:])&keyFlagCompressed != 0)}

	if n := le.Uint32(nk[36:]); n > 0 {
		if k.Values, err = r.readValues(le.Uint32(nk[40:]), n, k.Name); err != nil {
			return nil, err
		}
	}
	if n := le.Uint32(nk[20:]); n > 0 {
		offsets, err := r.readKeyList(le.Uint32(nk[28:]), nil, 0)
		if err != nil {
			return nil, err
		}
		if uint64(len(offsets)) != uint64(n) {
			return nil, r.damaged(at, "key %q says %d sub-keys, its list has %d", k.Name, n, len(offsets))
		}
		names := map[string]bool{}
		for _, sub := range offsets {
			child, err := r.readKey(sub, depth+1)
			if err != nil {
				return nil, err
			}
			name := strings.ToUpper(child.Name)
			if names[name] {
				return nil, r.damaged(sub, "second key %q in %q", child.Name, k.Name)
			}
			names[name] = true
			k.Keys = append(k.Keys, child)
		}
	}
	return k, nil
}

// readKeyList reads the offsets in a list of sub-keys: lf and lh have a hint or
// hash beside each, li has none, ri is a list of lists.
func (r *reader) readKeyList(at uint32, offsets []uint32, depth int) ([]uint32, error) {
	le := binary.LittleEndian
	list, err := r.open(at, 4, "list of sub-keys")
	if err != nil {
		return nil, err
	}
	kind, n := string(list[:2]), int(le.Uint16(list[2:]))
	entry := 8
	switch kind {
	case "lf", "lh":
	case "li", "ri":
		entry = 4
	default:
		return nil, r.damaged(at, "no list of sub-keys here: %q, want lf, lh, li or ri", kind)
	}
	if kind == "ri" && depth > 0 {
		return nil, r.damaged(at, "list of lists inside a list of lists")
	}
	if 4+entry*n > len(list) {
		return nil, r.damaged(at, "list of %d sub-keys needs %d bytes, its cell has %d", n, 4+entry*n, len(list))
	}
	for i := range n {
		off := le.Uint32(list[4+entry*i:])
		if kind != "ri" {
			offsets = append(offsets, off)
			continue
		}
		if offsets, err = r.readKeyList(off, offsets, depth+1); err != nil {
			return nil, err
		}
	}
	return offsets, nil
}

func (r *reader) readValues(at, n uint32, key string) ([]Value, error) {
	le := binary.LittleEndian
	list, err := r.open(at, 0, "list of values of key "+key)
	if err != nil {
		return nil, err
	}
	if 4*uint64(n) > uint64(len(list)) {
		return nil, r.damaged(at, "list of %d values of key %q needs %d bytes, its cell has %d", n, key, 4*uint64(n), len(list))
	}
	values := make([]Value, 0, n)
	for i := range n {
		v, err := r.readValue(le.Uint32(list[4*i:]))
		if err != nil {
			return nil, err
		}
		values = append(values, v)
	}
	return values, nil
}

func (r *reader) readValue(at uint32) (Value, error) {
	le := binary.LittleEndian
	var v Value
	vk, err := r.open(at, valueHeaderSize, "value")
	if err != nil {
		return v, err
	}
	if string(vk[:2]) != "vk" {
		return v, r.damaged(at, "no value here: %q, want \"vk\"", vk[:2])
	}
	nameLength := int(le.Uint16(vk[2:]))
	if valueHeaderSize+nameLength > len(vk) {
		return v, r.damaged(at, "value with a name of %d bytes, its cell has %d", nameLength, len(vk)-valueHeaderSize)
	}
	v.Name = decodeName(vk[valueHeaderSize:valueHeaderSize+nameLength], le.Uint16(vk[16:])&valueFlagASCII != 0)
	v.Type = Type(le.Uint32(vk[12:]))

	size, data := le.Uint32(vk[4:]), le.Uint32(vk[8:])
	what := fmt.Sprintf("data of value %q", v.Name)
	switch {
	case size&dataInline != 0:
		if size &^= dataInline; size > 4 {
			return v, r.damaged(at, "value %q says %d bytes in its own cell, 4 fit", v.Name, size)
		}
		v.Data = append([]byte(nil), vk[8:8+size]...)
	case size == 0:
	case size > uint32(len(r.bins)):
		return v, r.damaged(at, "value %q says %d bytes, the hive has %d", v.Name, size, len(r.bins))
	case size > bigDataSegment && r.minor >= 4:
		if v.Data, err = r.readBigData(data, int(size), what); err != nil {
			return v, err
		}
	default:
		cell, err := r.open(data, int(size), what)
		if err != nil {
			return v, err
		}
		v.Data = append([]byte(nil), cell[:size]...)
	}
	return v, nil
}

// readBigData reads data that is spread over several cells (db).
func (r *reader) readBigData(at uint32, size int, what string) ([]byte, error) {
	le := binary.LittleEndian
	db, err := r.open(at, 8, what)
	if err != nil {
		return nil, err
	}
	if string(db[:2]) != "db" {
		return nil, r.damaged(at, "no big data here: %q, want \"db\"", db[:2])
	}
	n := int(le.Uint16(db[2:]))
	if want := (size + bigDataSegment - 1) / bigDataSegment; n != want {
		return nil, r.damaged(at, "%s has %d parts, %d bytes need %d", what, n, size, want)
	}
	list, err := r.open(le.Uint32(db[4:]), 4*n, "list of parts of "+what)
	if err != nil {
		return nil, err
	}
	var data []byte
	for i := range n {
		part := min(size-len(data), bigDataSegment)
		cell, err := r.open(le.Uint32(list[4*i:]), part, fmt.Sprintf("part %d of %s", i, what))
		if err != nil {
			return nil, err
		}
		data = append(data, cell[:part]...)
	}
	return data, nil
}

// decodeName reads the name of a key or value: Latin-1 or UTF-16LE.
func decodeName(b []byte, compressed bool) string {
	if !compressed {
		return decodeUTF16(b)
	}
	runes := make([]rune, len(b))
	for i, c := range b {
		runes[i] = rune(c)
	}
	return string(runes)
}
