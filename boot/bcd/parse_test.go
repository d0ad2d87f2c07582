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

	"castpoint/boot/bcd/hive"
	"castpoint/boot/bcd/value"
)

// sealed is a hive with another number at an offset in the file, and with the checksum of
// its base block made right again.
func sealed(b []byte, at int, v uint32) []byte {
	b = bytes.Clone(b)
	binary.LittleEndian.PutUint32(b[at:], v)
	var sum uint32
	for i := 0; i < 508; i += 4 {
		sum ^= binary.LittleEndian.Uint32(b[i:])
	}
	switch sum {
	case 0:
		sum = 1
	case 0xffffffff:
		sum = 0xfffffffe
	}
	binary.LittleEndian.PutUint32(b[508:], sum)
	return b
}

// TestNotAStore: every reason has an error that can be told from the others.
func TestNotAStore(t *testing.T) {
	another, err := (&hive.Hive{Root: &hive.Key{Name: "ROOT", Keys: []*hive.Key{{Name: "Software"}}}}).Append(nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Parse(another); !errors.Is(err, ErrNotBCD) || !strings.Contains(err.Error(), "Objects") {
		t.Errorf("another hive: %v", err)
	}
	if _, err := Parse([]byte("MZ")); !errors.Is(err, hive.ErrNotHive) {
		t.Errorf("no hive: %v", err)
	}
	var corrupt *hive.CorruptError
	if _, err := Parse(mustBytes(t, mustRamdisk(t, Options{}))[:5000]); !errors.As(err, &corrupt) || corrupt.Offset != 5000 {
		t.Errorf("half a hive: %v", err)
	}
}

// TestOddStores are stores with faults that leave the rest readable.
func TestOddStores(t *testing.T) {
	id := "{00000000-0000-0000-0000-000000000001}"
	// store builds a hive from the keys below one object.
	store := func(build func(root, object *hive.Key)) []byte {
		root := &hive.Key{Name: "BCD"}
		root.Add("Description")
		object := root.Add("Objects").Add(id)
		object.Add("Description").Set("Type", hive.DWord, []byte{3, 0, 0x20, 0x10})
		build(root, object)
		b, err := (&hive.Hive{Root: root, Modified: time.Unix(0, 0)}).Append(nil)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	element := func(name string, typ hive.Type, data ...byte) func(_, o *hive.Key) {
		return func(_, o *hive.Key) { o.Add("Elements").Add(name).Set("Element", typ, data) }
	}
	for _, tt := range []struct {
		name  string
		build func(root, object *hive.Key)
		note  string
		want  value.Value // of the one element
	}{
		{"no description", func(r, _ *hive.Key) { r.Keys = r.Keys[1:] }, "the root has no Description key", nil},
		{"object without type", func(_, o *hive.Key) { o.Keys[0].Values = nil }, "object " + id + " has no type", nil},
		{"object without description", func(_, o *hive.Key) { o.Keys = nil }, "object " + id + " has no Description key", nil},
		{"object called otherwise", func(r, _ *hive.Key) { r.Keys[1].Add("bootmgr") }, `an object is called "bootmgr", which is not a GUID`, nil},
		{"same object without braces", func(r, _ *hive.Key) { r.Keys[1].Add(strings.Trim(id, "{}")) }, "is there twice", nil},
		{"element called otherwise", element("path", hive.SZ), `an element is called "path"`, nil},
		{"element of nine digits", element("012000002", hive.SZ), `an element is called "012000002"`, nil},
		{"element without value", func(_, o *hive.Key) { o.Add("Elements").Add("12000002") }, "element 12000002 has no value", nil},
		{"string as binary", element("12000002", hive.Binary, 1), "string stored as REG_BINARY, want REG_SZ", value.Raw{Type: 3, Data: []byte{1}, Problem: "string stored as REG_BINARY, want REG_SZ"}},
		{"odd string", element("12000002", hive.SZ, 'a', 0, 'b'), "3 bytes are not UTF-16", value.Raw{Type: 1, Data: []byte{'a', 0, 'b'}, Problem: "3 bytes are not UTF-16"}},
		{"string without its zero", element("12000002", hive.SZ, 'a', 0, 'b', 0), "", value.String("ab")},
		{"empty string", element("12000002", hive.SZ), "", value.String("")},
		{"integer of one byte", element("25000004", hive.Binary, 30), "", value.Integer(30)},
		{"integer of three bytes", element("15000014", hive.Binary, 0, 0xc2, 1), "", value.Integer(115200)},
		{"integer of nothing", element("25000004", hive.Binary), "integer of 0 bytes", value.Raw{Type: 3, Data: nil, Problem: "integer of 0 bytes, want 1 to 8"}},
		{"integer of nine bytes", element("25000004", hive.Binary, 1, 2, 3, 4, 5, 6, 7, 8, 9), "integer of 9 bytes", value.Raw{Type: 3, Data: []byte{1, 2, 3, 4, 5, 6, 7, 8, 9}, Problem: "integer of 9 bytes, want 1 to 8"}},
		{"boolean of two bytes", element("26000010", hive.Binary, 1, 0), "", value.Boolean(true)},
		{"boolean of nothing", element("26000010", hive.Binary), "boolean of 0 bytes", value.Raw{Type: 3, Data: nil, Problem: "boolean of 0 bytes, want 1"}},
		{"list of half a number", element("17000077", hive.Binary, 1, 2, 3, 4), "multiple of 8", value.Raw{Type: 3, Data: []byte{1, 2, 3, 4}, Problem: "integer list of 4 bytes, want a multiple of 8"}},
		{"reference to nothing", element("23000003", hive.SZ, 'x', 0), `"x" is not a GUID`, value.Raw{Type: 1, Data: []byte{'x', 0}, Problem: `"x" is not a GUID: want {xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx}`}},
		{"empty list", element("24000001", hive.MultiSZ, 0, 0), "", value.Refs{}},
		{"format that is not", element("28000001", hive.DWord, 1, 2, 3, 4), "", value.Raw{Type: 4, Data: []byte{1, 2, 3, 4}, Problem: ""}},
		{"device of nothing", element("11000001", hive.Binary), "device of 0 bytes", value.Raw{Type: 3, Data: nil, Problem: "device of 0 bytes, want at least 32"}},
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
			var got value.Value
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
	b := sealed(sealed(mustBytes(t, mustRamdisk(t, Options{})), 4, 7), 8, 6)
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

func FuzzParse(f *testing.F) {
	for _, o := range []Options{{}, {Firmware: BIOS, EMS: &EMS{}}, {Entries: make([]Entry, 5), Multicast: true}} {
		f.Add(mustBytes(f, mustRamdisk(f, o)))
	}
	f.Add(mustBytes(f, randomStore(rand.New(rand.NewPCG(1, 2)), 3)))
	good := mustBytes(f, mustRamdisk(f, Options{}))
	for _, at := range []int{20, 36, 40, 0x1008, 0x1020, 0x1028, 0x1060, 0x1200} {
		f.Add(sealed(good, at, 0xfffffff8))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		// Else nearly all mutations would end at the checksum.
		if len(b) >= 4096 {
			b = sealed(b, 0, binary.LittleEndian.Uint32(b))
		}
		s, err := Parse(b)
		if err != nil {
			var corrupt *hive.CorruptError
			if !errors.Is(err, hive.ErrNotHive) && !errors.Is(err, ErrNotBCD) && !errors.As(err, &corrupt) {
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
