package bcd

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// rewrite gives a hive new numbers and seals its base block again.
type rewrite struct{ b []byte }

func newRewrite(b []byte) *rewrite { return &rewrite{bytes.Clone(b)} }

// put writes a number at an offset in the file.
func (r *rewrite) put(at int, v uint32) *rewrite {
	binary.LittleEndian.PutUint32(r.b[at:], v)
	return r
}

func (r *rewrite) put16(at int, v uint16) *rewrite {
	binary.LittleEndian.PutUint16(r.b[at:], v)
	return r
}

func (r *rewrite) get(at int) uint32 { return binary.LittleEndian.Uint32(r.b[at:]) }

// seal corrects the checksum.
func (r *rewrite) seal() []byte {
	return r.put(checksumAt, checksum(r.b)).b
}

// addBin appends a bin with one used cell for each of the contents and returns
// the offsets of the cells in the hive.
func (r *rewrite) addBin(contents ...[]byte) []uint32 {
	start := len(r.b) - baseBlockSize
	bin := make([]byte, binHeaderSize)
	copy(bin, "hbin")
	var offsets []uint32
	for _, c := range contents {
		size := (cellHeader + len(c) + 7) &^ 7
		offsets = append(offsets, uint32(start+len(bin)))
		cell := make([]byte, size)
		binary.LittleEndian.PutUint32(cell, uint32(-size))
		copy(cell[4:], c)
		bin = append(bin, cell...)
	}
	if left := -len(bin) & (binAlign - 1); left > 0 {
		free := make([]byte, left)
		binary.LittleEndian.PutUint32(free, uint32(left))
		bin = append(bin, free...)
	}
	binary.LittleEndian.PutUint32(bin[4:], uint32(start))
	binary.LittleEndian.PutUint32(bin[8:], uint32(len(bin)))
	r.b = append(r.b, bin...)
	r.put(40, uint32(len(r.b)-baseBlockSize))
	return offsets
}

// findKey returns the offset in the file of the contents of the n-th key (from
// 0) with that name.
func findKey(t testing.TB, b []byte, name string, n int) int {
	t.Helper()
	for at := baseBlockSize; at+keyHeaderSize+len(name) <= len(b); at += 4 {
		if string(b[at:at+2]) == "nk" && int(binary.LittleEndian.Uint16(b[at+72:])) == len(name) &&
			string(b[at+keyHeaderSize:at+keyHeaderSize+len(name)]) == name {
			if n == 0 {
				return at
			}
			n--
		}
	}
	t.Fatalf("no key %s", name)
	return 0
}

// TestListKinds: Windows writes lh, older ones lf and li, all with lists of
// lists above some length.
func TestListKinds(t *testing.T) {
	s := mustRamdisk(t, Options{})
	good := mustBytes(t, s)
	want, err := Parse(good)
	if err != nil {
		t.Fatal(err)
	}
	objects := findKey(t, good, "Objects", 0)
	list := baseBlockSize + cellHeader + int(binary.LittleEndian.Uint32(good[objects+28:]))
	if string(good[list:list+4]) != "lf\x03\x00" {
		t.Fatalf("list of objects starts %q", good[list:list+4])
	}

	t.Run("lh", func(t *testing.T) {
		r := newRewrite(good)
		copy(r.b[list:], "lh")
		parsesAs(t, r.seal(), want)
	})
	t.Run("li", func(t *testing.T) {
		r := newRewrite(good)
		copy(r.b[list:], "li")
		for i := range 3 {
			r.put(list+4+4*i, r.get(list+4+8*i))
		}
		parsesAs(t, r.seal(), want)
	})
	t.Run("ri of li and lh", func(t *testing.T) {
		r := newRewrite(good)
		one := append([]byte("li\x01\x00"), good[list+4:list+8]...)
		two := append([]byte("lh\x02\x00"), good[list+12:list+28]...)
		leaves := r.addBin(one, two)
		ri := binary.LittleEndian.AppendUint32([]byte("ri\x02\x00"), leaves[0])
		ri = binary.LittleEndian.AppendUint32(ri, leaves[1])
		top := r.addBin(ri)
		r.put(objects+28, top[0])
		parsesAs(t, r.seal(), want)
	})
	t.Run("unknown", func(t *testing.T) {
		r := newRewrite(good)
		copy(r.b[list:], "xx")
		fails(t, r.seal(), list-cellHeader, `"xx", want lf, lh, li or ri`)
	})
}

func parsesAs(t *testing.T, b []byte, want *Store) {
	t.Helper()
	got, err := Parse(b)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("store differs:\n%s", d)
	}
}

// fails wants a CorruptError at an offset in the file.
func fails(t *testing.T, b []byte, at int, want string) {
	t.Helper()
	_, err := Parse(b)
	var corrupt *CorruptError
	if !errors.As(err, &corrupt) || !strings.Contains(corrupt.Problem, want) {
		t.Fatalf("error %v, want %q in it", err, want)
	}
	if at >= 0 && corrupt.Offset != int64(at) {
		t.Errorf("offset 0x%x, want 0x%x: %v", corrupt.Offset, at, err)
	}
}

// bigData is a hive with a long value in a number of cells, which begin at version 1.5.
func bigData(t testing.TB, data []byte, parts int) *rewrite {
	t.Helper()
	good := mustBytes(t, mustRamdisk(t, Options{Entries: []Entry{{LoadOptions: "x-long-one"}}}))
	key := findKey(t, good, ElemLoadOptions.String(), 0)
	list := int(binary.LittleEndian.Uint32(good[key+40:]))
	value := baseBlockSize + cellHeader + int(binary.LittleEndian.Uint32(good[baseBlockSize+cellHeader+list:]))
	r := newRewrite(good)
	var cells [][]byte
	for rest := data; len(rest) > 0; {
		n := min(len(rest), bigDataSegment)
		cells = append(cells, append(bytes.Clone(rest[:n]), 0, 0, 0, 0))
		rest = rest[n:]
	}
	var offsets []byte
	for _, at := range r.addBin(cells...) {
		offsets = binary.LittleEndian.AppendUint32(offsets, at)
	}
	at := r.addBin(offsets)
	db := binary.LittleEndian.AppendUint32([]byte{'d', 'b', byte(parts), 0}, at[0])
	at = r.addBin(append(db, 0, 0, 0, 0))
	r.put(value+4, uint32(len(data))).put(value+8, at[0])
	return r.put(24, 5)
}

// TestBigData: from version 1.4 on, long values are in several cells.
func TestBigData(t *testing.T) {
	text := strings.Repeat("0123456789abcdef", 1200)
	data, err := encodeString(text)
	if err != nil {
		t.Fatal(err)
	}
	build := func(parts int) *rewrite { return bigData(t, data, parts) }
	s, err := Parse(build(3).seal())
	if err != nil {
		t.Fatal(err)
	}
	if got := s.Object(entryID(0)).Element(ElemLoadOptions); got != String(text) {
		t.Errorf("came back as %.80v", got)
	}
	fails(t, build(2).seal(), -1, "has 2 parts, 38402 bytes need 3")
	fails(t, build(4).seal(), -1, "has 4 parts")
	// Version 1.3 has no such cells: there the db cell would be the data.
	fails(t, build(3).put(24, 3).seal(), -1, "needs 38402 bytes, its cell has 12")
}

// TestAttacks are hives made to crash, to hang or to fill the memory of a
// reader.
func TestAttacks(t *testing.T) {
	good := mustBytes(t, mustRamdisk(t, Options{}))
	objects := findKey(t, good, "Objects", 0)
	manager := findKey(t, good, BootManager().String(), 0)
	description := findKey(t, good, "Description", 0)
	cellOf := func(at int) uint32 { return uint32(at - baseBlockSize - cellHeader) }
	listOf := func(at int) int { return baseBlockSize + cellHeader + int(binary.LittleEndian.Uint32(good[at+28:])) }
	values := baseBlockSize + cellHeader + int(binary.LittleEndian.Uint32(good[description+40:]))
	value := baseBlockSize + cellHeader + int(binary.LittleEndian.Uint32(good[values:]))
	data := int(binary.LittleEndian.Uint32(good[value+8:]))

	for _, tt := range []struct {
		name string
		edit func(*rewrite)
		at   int // offset in the file; -1 not checked
		want string
	}{
		{"cycle: a key below itself", func(r *rewrite) { r.put(listOf(manager)+4, cellOf(manager)) },
			manager - 4, "something else uses too"},
		{"cycle: a key below its child", func(r *rewrite) { r.put(listOf(manager)+4, cellOf(objects)) },
			objects - 4, "something else uses too"},
		{"cycle: a list in itself", func(r *rewrite) {
			copy(r.b[listOf(objects):], "ri")
			r.put(listOf(objects)+4, cellOf(listOf(objects)))
		}, listOf(objects) - 4, "something else uses too"},
		{"lists of lists of lists", func(r *rewrite) {
			at := r.addBin(binary.LittleEndian.AppendUint32([]byte("ri\x01\x00"), cellOf(listOf(objects))))
			at = r.addBin(binary.LittleEndian.AppendUint32([]byte("ri\x01\x00"), at[0]))
			r.put(objects+28, at[0])
		}, -1, "list of lists inside a list of lists"},
		{"two values with the same data", func(r *rewrite) {
			vk := bytes.Clone(r.b[value : value+27])
			vk[26] = 'X'
			at := r.addBin(vk)
			list := binary.LittleEndian.AppendUint32(bytes.Clone(r.b[values:values+4]), at[0])
			at = r.addBin(list)
			r.put(description+36, 2).put(description+40, at[0])
		}, data + baseBlockSize, "something else uses too"},
		{"cell past the end", func(r *rewrite) { r.put(objects+28, 0x7fffff00) }, 0x7fffff00 + baseBlockSize, "past the end of the bins (0x2000 bytes)"},
		{"cell at minus one", func(r *rewrite) { r.put(objects+28, noCell) }, -1, "past the end"},
		{"root past the end", func(r *rewrite) { r.put(36, 0x10000) }, -1, "past the end"},
		{"root in the middle of a cell", func(r *rewrite) { r.put(36, 0x28) }, 0x1028, "not at the start of a used cell"},
		{"root in a bin's header", func(r *rewrite) { r.put(36, 0) }, 0x1000, "not at the start of a used cell"},
		{"root that is no key", func(r *rewrite) { r.put(36, cellOf(listOf(objects))) }, -1, "needs 76 bytes"},
		{"key in a free cell", func(r *rewrite) { r.put(objects-4, -r.get(objects-4)) }, objects - 4, "not at the start of a used cell"},
		{"huge count of keys", func(r *rewrite) { r.put(objects+20, 0xffffffff) }, objects - 4, "says 4294967295 sub-keys, its list has 3"},
		{"huge count in a list", func(r *rewrite) { r.put16(listOf(objects)+2, 0xffff) }, listOf(objects) - 4, "list of 65535 sub-keys needs 524284 bytes"},
		{"huge count of values", func(r *rewrite) { r.put(description+36, 0x40000001) }, values - 4, "list of 1073741825 values"},
		{"huge key name", func(r *rewrite) { r.put16(objects+72, 0xffff) }, objects - 4, "name of 65535 bytes"},
		{"huge value name", func(r *rewrite) { r.put16(value+2, 0xffff) }, value - 4, "name of 65535 bytes"},
		{"huge data", func(r *rewrite) { r.put(value+4, 0x7fffffff) }, value - 4, "says 2147483647 bytes, the hive has 8192"},
		{"data longer than its cell", func(r *rewrite) { r.put(value+4, 200) }, data + baseBlockSize, `data of value "KeyName" needs 200 bytes`},
		{"five bytes in a value's own cell", func(r *rewrite) { r.put(value+4, 5|dataInline) }, value - 4, "says 5 bytes in its own cell"},
		{"value that is none", func(r *rewrite) { r.put16(value, 0) }, value - 4, `want "vk"`},
		{"key that is none", func(r *rewrite) { r.put16(objects, 0) }, objects - 4, `want "nk"`},
		{"the same object twice", func(r *rewrite) {
			copy(r.b[manager+keyHeaderSize:], strings.ToUpper(entryID(0).String()))
		}, manager - 4, "second key"},
		{"cell of nothing", func(r *rewrite) { r.put(0x1020, 0) }, 0x1020, "cell of 0 bytes"},
		{"smallest cell", func(r *rewrite) { r.put(0x1020, 0x80000000) }, 0x1020, "cell of 2147483648 bytes"},
		{"cell beyond its bin", func(r *rewrite) { r.put(0x1020, 0xffff0000) }, 0x1020, "cell of 65536 bytes, 4064 are left"},
		{"cell not aligned", func(r *rewrite) { r.put(0x1020, 0xfffffffc) }, 0x1020, "cell of 4 bytes"},
		{"bin of nothing", func(r *rewrite) { r.put(0x1008, 0) }, 0x1008, "bin of 0 bytes"},
		{"bin beyond the file", func(r *rewrite) { r.put(0x1008, 0x100000) }, 0x1008, "bin of 1048576 bytes, 8192 are left"},
		{"bin without a name", func(r *rewrite) { r.put(0x2000, 0) }, 0x2000, "no bin starts here"},
		{"bin somewhere else", func(r *rewrite) { r.put(0x2004, 0) }, 0x2004, "says that it is at 0x0, it is at 0x1000"},
		{"no bins", func(r *rewrite) { r.put(40, 0) }, 40, "0 bytes of bins"},
		{"odd bins", func(r *rewrite) { r.put(40, 4095) }, 40, "4095 bytes of bins"},
		{"more bins than file", func(r *rewrite) { r.put(40, 0xfffff000) }, len(good), "the file ends 4294955008 bytes too early"},
		{"version 1.2", func(r *rewrite) { r.put(24, 2) }, 20, "version 1.2"},
		{"version 2.0", func(r *rewrite) { r.put(20, 2) }, 20, "version 2.3"},
		{"a log file", func(r *rewrite) { r.put(28, 1) }, 28, "file of type 1"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := newRewrite(good)
			tt.edit(r)
			fails(t, r.seal(), tt.at, tt.want)
		})
	}

	t.Run("wrong checksum", func(t *testing.T) {
		r := newRewrite(good)
		fails(t, r.put(200, 1).b, checksumAt, "checksum of the base block")
	})
	t.Run("deep", func(t *testing.T) {
		root := &hiveKey{name: "r"}
		for k, i := root, 0; i < 50; i++ {
			k = k.sub("Objects")
		}
		b, err := appendHive(nil, root, time.Unix(0, 0))
		if err != nil {
			t.Fatal(err)
		}
		fails(t, b, -1, "more than 16 levels deep")
	})
	t.Run("truncated", func(t *testing.T) {
		for n := 0; n < len(good); n += 7 {
			if _, err := Parse(good[:n]); err == nil {
				t.Errorf("the first %d bytes of %d pass as a store", n, len(good))
			}
		}
		fails(t, good[:4095], 4095, "inside its base block")
		fails(t, good[:len(good)-1], len(good)-1, "the file ends 1 bytes too early")
	})
	t.Run("not a hive", func(t *testing.T) {
		for _, b := range [][]byte{nil, []byte("MZ"), []byte("REGF"), bytes.Repeat([]byte{0}, 8192), make([]byte, MaxSize+1)} {
			if _, err := Parse(b); !errors.Is(err, ErrNotHive) {
				t.Errorf("%d bytes: %v", len(b), err)
			}
		}
		if _, err := Parse(append([]byte("regf"), make([]byte, MaxSize)...)); !errors.Is(err, ErrNotHive) {
			t.Errorf("huge: %v", err)
		}
	})
	t.Run("another hive", func(t *testing.T) {
		b, err := appendHive(nil, &hiveKey{name: "ROOT", keys: []*hiveKey{{name: "Software"}}}, time.Unix(0, 0))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := Parse(b); !errors.Is(err, ErrNotBCD) || !strings.Contains(err.Error(), "Objects") {
			t.Errorf("error %v", err)
		}
	})
}

// TestOddStores are stores with faults that leave the rest readable.
func TestOddStores(t *testing.T) {
	id := "{00000000-0000-0000-0000-000000000001}"
	// store builds a hive from the keys below one object.
	store := func(build func(root, object *hiveKey)) []byte {
		root := &hiveKey{name: "BCD"}
		root.sub("Description")
		object := root.sub("Objects").sub(id)
		object.sub("Description").set("Type", regDword, []byte{3, 0, 0x20, 0x10})
		build(root, object)
		b, err := appendHive(nil, root, time.Unix(0, 0))
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	element := func(name string, typ regType, data ...byte) func(_, o *hiveKey) {
		return func(_, o *hiveKey) { o.sub("Elements").sub(name).set("Element", typ, data) }
	}
	for _, tt := range []struct {
		name  string
		build func(root, object *hiveKey)
		note  string
		want  Value // of the one element
	}{
		{"no description", func(r, _ *hiveKey) { r.keys = r.keys[1:] }, "the root has no Description key", nil},
		{"object without type", func(_, o *hiveKey) { o.keys[0].values = nil }, "object " + id + " has no type", nil},
		{"object without description", func(_, o *hiveKey) { o.keys = nil }, "object " + id + " has no Description key", nil},
		{"object called otherwise", func(r, _ *hiveKey) { r.keys[1].sub("bootmgr") }, `an object is called "bootmgr", which is not a GUID`, nil},
		{"same object without braces", func(r, _ *hiveKey) { r.keys[1].sub(strings.Trim(id, "{}")) }, "is there twice", nil},
		{"element called otherwise", element("path", regString), `an element is called "path"`, nil},
		{"element of nine digits", element("012000002", regString), `an element is called "012000002"`, nil},
		{"element without value", func(_, o *hiveKey) { o.sub("Elements").sub("12000002") }, "element 12000002 has no value", nil},
		{"string as binary", element("12000002", regBinary, 1), "string stored as REG_BINARY, want REG_SZ", Raw{3, []byte{1}, "string stored as REG_BINARY, want REG_SZ"}},
		{"odd string", element("12000002", regString, 'a', 0, 'b'), "3 bytes are not UTF-16", Raw{1, []byte{'a', 0, 'b'}, "3 bytes are not UTF-16"}},
		{"string without its zero", element("12000002", regString, 'a', 0, 'b', 0), "", String("ab")},
		{"empty string", element("12000002", regString), "", String("")},
		{"integer of one byte", element("25000004", regBinary, 30), "", Integer(30)},
		{"integer of three bytes", element("15000014", regBinary, 0, 0xc2, 1), "", Integer(115200)},
		{"integer of nothing", element("25000004", regBinary), "integer of 0 bytes", Raw{3, nil, "integer of 0 bytes, want 1 to 8"}},
		{"integer of nine bytes", element("25000004", regBinary, 1, 2, 3, 4, 5, 6, 7, 8, 9), "integer of 9 bytes", Raw{3, []byte{1, 2, 3, 4, 5, 6, 7, 8, 9}, "integer of 9 bytes, want 1 to 8"}},
		{"boolean of two bytes", element("26000010", regBinary, 1, 0), "", Boolean(true)},
		{"boolean of nothing", element("26000010", regBinary), "boolean of 0 bytes", Raw{3, nil, "boolean of 0 bytes, want 1"}},
		{"list of half a number", element("17000077", regBinary, 1, 2, 3, 4), "multiple of 8", Raw{3, []byte{1, 2, 3, 4}, "integer list of 4 bytes, want a multiple of 8"}},
		{"reference to nothing", element("23000003", regString, 'x', 0), `"x" is not a GUID`, Raw{1, []byte{'x', 0}, `"x" is not a GUID: want {xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx}`}},
		{"empty list", element("24000001", regMultiString, 0, 0), "", Refs{}},
		{"format that is not", element("28000001", regDword, 1, 2, 3, 4), "", Raw{4, []byte{1, 2, 3, 4}, ""}},
		{"device of nothing", element("11000001", regBinary), "device of 0 bytes", Raw{3, nil, "device of 0 bytes, want at least 32"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s, err := Parse(store(tt.build))
			if err != nil {
				t.Fatal(err)
			}
			if notes := strings.Join(s.Notes, "\n"); tt.note == "" && notes != "" || !strings.Contains(notes, tt.note) {
				t.Errorf("notes %q, want %q in them", notes, tt.note)
			}
			if len(s.Objects) != 1 {
				t.Fatalf("%d objects", len(s.Objects))
			}
			var got Value
			if e := s.Objects[0].Elements; len(e) > 0 {
				got = e[0].Value
			}
			if d := cmp.Diff(tt.want, got); d != "" {
				t.Errorf("value differs:\n%s", d)
			}
			describe(t, s)
		})
	}
}

func TestDirtyHive(t *testing.T) {
	b := newRewrite(mustBytes(t, mustRamdisk(t, Options{}))).put(4, 7).put(8, 6).seal()
	s, err := Parse(b)
	if err != nil {
		t.Fatal(err)
	}
	if len(s.Notes) != 1 || !strings.Contains(s.Notes[0], "not closed cleanly (sequence numbers 7 and 6)") {
		t.Errorf("notes %q", s.Notes)
	}
	if text := describe(t, s); !strings.HasPrefix(text, "note: the hive was not closed cleanly") {
		t.Errorf("description starts %.80q", text)
	}
}

// TestUTF16Names: key names may be stored as UTF-16.
func TestUTF16Names(t *testing.T) {
	good := mustBytes(t, mustRamdisk(t, Options{}))
	r := newRewrite(good)
	objects := findKey(t, good, "Objects", 0)
	name, err := encodeString("Objects")
	if err != nil {
		t.Fatal(err)
	}
	nk := append(bytes.Clone(good[objects:objects+keyHeaderSize]), name[:14]...)
	binary.LittleEndian.PutUint16(nk[2:], 0)
	binary.LittleEndian.PutUint16(nk[72:], 14)
	at := r.addBin(nk)
	root := findKey(t, good, "NewStoreRoot", 0)
	list := baseBlockSize + cellHeader + int(r.get(root+28))
	r.put(list+12, at[0])
	want, err := Parse(good)
	if err != nil {
		t.Fatal(err)
	}
	parsesAs(t, r.seal(), want)
}

func FuzzParse(f *testing.F) {
	for _, o := range []Options{{}, {Firmware: BIOS, EMS: &EMS{}}, {Entries: make([]Entry, 5), Multicast: true}} {
		f.Add(mustBytes(f, mustRamdisk(f, o)))
	}
	f.Add(mustBytes(f, randomStore(rand.New(rand.NewPCG(1, 2)), 3)))
	good := mustBytes(f, mustRamdisk(f, Options{}))
	for _, at := range []int{20, 36, 40, 0x1008, 0x1020, 0x1028, 0x1060, 0x1200} {
		f.Add(newRewrite(good).put(at, 0xfffffff8).seal())
	}
	f.Add(bigData(f, make([]byte, 2*bigDataSegment-2), 2).seal())
	f.Fuzz(func(t *testing.T, b []byte) {
		// Else nearly all mutations would end at the checksum.
		if len(b) >= baseBlockSize {
			b = newRewrite(b).seal()
		}
		s, err := Parse(b)
		if err != nil {
			var corrupt *CorruptError
			if !errors.Is(err, ErrNotHive) && !errors.Is(err, ErrNotBCD) && !errors.As(err, &corrupt) {
				t.Fatalf("error of another kind: %v", err)
			}
			return
		}
		describe(t, s)
		if _, err := s.MarshalJSON(); err != nil {
			t.Fatalf("JSON: %v", err)
		}
		again, err := s.Bytes()
		if err != nil {
			return // an object without a name, for example: read, but not written
		}
		back, err := Parse(again)
		if err != nil {
			t.Fatalf("what was written cannot be read: %v\n%s", err, hex.Dump(again))
		}
		s.Notes, back.Notes = nil, nil
		if d := cmp.Diff(canonical(s).Objects, canonical(back).Objects); d != "" {
			t.Errorf("writing changed the store:\n%s", d)
		}
	})
}
