package hive

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"math/rand/v2"
	"reflect"
	"slices"
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
	good := mustAppend(t, store())
	want, err := Read(good)
	if err != nil {
		t.Fatal(err)
	}
	objects := findKey(t, good, "Objects", 0)
	list := baseBlockSize + cellHeader + int(binary.LittleEndian.Uint32(good[objects+28:]))
	if string(good[list:list+4]) != "lf\x03\x00" {
		t.Fatalf("list of keys starts %q", good[list:list+4])
	}

	t.Run("lh", func(t *testing.T) {
		r := newRewrite(good)
		copy(r.b[list:], "lh")
		readsAs(t, r.seal(), want)
	})
	t.Run("li", func(t *testing.T) {
		r := newRewrite(good)
		copy(r.b[list:], "li")
		for i := range 3 {
			r.put(list+4+4*i, r.get(list+4+8*i))
		}
		readsAs(t, r.seal(), want)
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
		readsAs(t, r.seal(), want)
	})
	t.Run("unknown", func(t *testing.T) {
		r := newRewrite(good)
		copy(r.b[list:], "xx")
		fails(t, r.seal(), list-cellHeader, `"xx", want lf, lh, li or ri`)
	})
}

func readsAs(t *testing.T, b []byte, want *Hive) {
	t.Helper()
	got, err := Read(b)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("hive differs:\n%s", d)
	}
}

// fails wants a CorruptError at an offset in the file.
func fails(t *testing.T, b []byte, at int, want string) {
	t.Helper()
	_, err := Read(b)
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
	good := mustAppend(t, store())
	key := findKey(t, good, options, 0)
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
	data, err := EncodeString(text)
	if err != nil {
		t.Fatal(err)
	}
	build := func(parts int) *rewrite { return bigData(t, data, parts) }
	h, err := Read(build(3).seal())
	if err != nil {
		t.Fatal(err)
	}
	v, _ := h.Root.Find("objects").Find(loader).Find("Elements").Find(options).Value("element")
	if got, err := DecodeString(v.Data); got != text {
		t.Errorf("came back as %.80q, %v", got, err)
	}
	fails(t, build(2).seal(), -1, "has 2 parts, 38402 bytes need 3")
	fails(t, build(4).seal(), -1, "has 4 parts")
	// Version 1.3 has no such cells: there the db cell would be the data.
	fails(t, build(3).put(24, 3).seal(), -1, "needs 38402 bytes, its cell has 12")
}

// TestAttacks are hives made to crash, to hang or to fill the memory of a
// reader.
func TestAttacks(t *testing.T) {
	good := mustAppend(t, store())
	objects := findKey(t, good, "Objects", 0)
	manager := findKey(t, good, manager, 0)
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
		{"the same key twice", func(r *rewrite) {
			copy(r.b[manager+keyHeaderSize:], strings.ToUpper(loader))
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
		root := &Key{Name: "r"}
		for k, i := root, 0; i < 50; i++ {
			k = k.Add("Objects")
		}
		fails(t, mustAppend(t, &Hive{Root: root, Modified: time.Unix(0, 0)}), -1, "more than 16 levels deep")
	})
	t.Run("truncated", func(t *testing.T) {
		for n := 0; n < len(good); n += 7 {
			if _, err := Read(good[:n]); err == nil {
				t.Errorf("the first %d bytes of %d pass as a hive", n, len(good))
			}
		}
		fails(t, good[:4095], 4095, "inside its base block")
		fails(t, good[:len(good)-1], len(good)-1, "the file ends 1 bytes too early")
	})
	t.Run("not a hive", func(t *testing.T) {
		for _, b := range [][]byte{nil, []byte("MZ"), []byte("REGF"), bytes.Repeat([]byte{0}, 8192), make([]byte, MaxSize+1)} {
			if _, err := Read(b); !errors.Is(err, ErrNotHive) {
				t.Errorf("%d bytes: %v", len(b), err)
			}
		}
		if _, err := Read(append([]byte("regf"), make([]byte, MaxSize)...)); !errors.Is(err, ErrNotHive) {
			t.Errorf("huge: %v", err)
		}
	})
}

// TestUTF16Names: key names may be stored as UTF-16.
func TestUTF16Names(t *testing.T) {
	good := mustAppend(t, store())
	r := newRewrite(good)
	objects := findKey(t, good, "Objects", 0)
	name, err := EncodeString("Objects")
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
	want, err := Read(good)
	if err != nil {
		t.Fatal(err)
	}
	readsAs(t, r.seal(), want)
}

func FuzzRead(f *testing.F) {
	good := mustAppend(f, store())
	f.Add(good)
	f.Add(mustAppend(f, random(rand.New(rand.NewPCG(1, 2)), 3)))
	for _, at := range []int{20, 36, 40, 0x1008, 0x1020, 0x1028, 0x1060, 0x1200} {
		f.Add(newRewrite(good).put(at, 0xfffffff8).seal())
	}
	f.Add(bigData(f, make([]byte, 2*bigDataSegment-2), 2).seal())
	f.Fuzz(func(t *testing.T, b []byte) {
		// Else nearly all mutations would end at the checksum.
		if len(b) >= baseBlockSize {
			b = newRewrite(b).seal()
		}
		h, err := Read(b)
		if err != nil {
			var corrupt *CorruptError
			if !errors.Is(err, ErrNotHive) && !errors.As(err, &corrupt) {
				t.Fatalf("error of another kind: %v", err)
			}
			return
		}
		again, err := h.Append(nil)
		if err != nil {
			return // a name in other characters, for example: read, but not written
		}
		back, err := Read(again)
		if err != nil {
			t.Fatalf("what was written cannot be read: %v\n%s", err, hex.Dump(again))
		}
		sortKeys(h.Root)
		if !reflect.DeepEqual(h.Root, back.Root) {
			t.Errorf("writing changed the hive:\n%s", cmp.Diff(h.Root, back.Root))
		}
	})
}

// sortKeys puts keys into the order in which they are written.
func sortKeys(k *Key) {
	slices.SortStableFunc(k.Keys, func(a, b *Key) int { return strings.Compare(strings.ToUpper(a.Name), strings.ToUpper(b.Name)) })
	for _, sub := range k.Keys {
		sortKeys(sub)
	}
}
