package bcd

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"castpoint/boot/bcd/element"
	"castpoint/boot/bcd/value"
)

func TestSameInputSameBytes(t *testing.T) {
	a, b := mustBytes(t, mustRamdisk(t, Options{})), mustBytes(t, mustRamdisk(t, Options{}))
	if !bytes.Equal(a, b) {
		t.Error("the same options gave other bytes")
	}
	later := mustBytes(t, mustRamdisk(t, Options{Modified: time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)}))
	if bytes.Equal(a, later) {
		t.Error("the time stamp is not in the bytes")
	}
	// Objects in another order are the same store.
	s := mustRamdisk(t, Options{})
	s.Objects[0], s.Objects[2] = s.Objects[2], s.Objects[0]
	if !bytes.Equal(a, mustBytes(t, s)) {
		t.Error("the order of objects changes the bytes")
	}
	prefixed, err := mustRamdisk(t, Options{}).Append([]byte("x"))
	if err != nil || !bytes.Equal(prefixed, append([]byte("x"), a...)) {
		t.Errorf("append: %v", err)
	}
	var w bytes.Buffer
	if n, err := mustRamdisk(t, Options{}).WriteTo(&w); err != nil || n != int64(len(a)) || !bytes.Equal(w.Bytes(), a) {
		t.Errorf("write: %d bytes, %v", n, err)
	}
}

func TestWriteRefuses(t *testing.T) {
	id := mustGUID(t, "{00000000-0000-0000-0000-000000000001}")
	object := func(e ...Element) *Store { return &Store{Objects: []Object{{ID: id, Elements: e}}} }
	for _, tt := range []struct {
		name string
		s    *Store
		want string
	}{
		{"no id", &Store{Objects: []Object{{}}}, "GUID that is not zero"},
		{"object twice", &Store{Objects: []Object{{ID: id}, {ID: id}}}, "two keys {00000000-0000-0000-0000-000000000001}"},
		{"element twice", object(Element{element.NX, value.Integer(1)}, Element{element.NX, value.Integer(2)}), "two keys 25000020"},
		{"no value", object(Element{element.NX, nil}), "element 25000020 has no value"},
		{"other format", object(Element{element.NX, value.Boolean(true)}), `element 25000020 wants format "integer", its value has "boolean"`},
		{"zero in text", object(Element{element.Path, value.String("a\x00b")}), "zero character"},
		{"no such device", object(Element{element.Device, value.Device{}}), "kind 0"},
		{"RAM disk of nothing", object(Element{element.Device, value.Device{Kind: value.DeviceRamdisk, Path: `\x`}}), "ramdisk device without a parent"},
		{"RAM disk without file", object(Element{element.Device, value.RamdiskDevice("", id)}), "ramdisk device without a path"},
		{"options inside", object(Element{element.Device, value.Device{Kind: value.DeviceVHD, Parent: &value.Device{Kind: value.DeviceBoot, Options: id}}}), "only the outermost"},
		{"huge", object(Element{element.Path, value.String(strings.Repeat("x", 9000))}), "18002 bytes, at most 16344"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := tt.s.Bytes()
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error %v, want %q in it", err, tt.want)
			}
		})
	}
}

// randomStore has n objects with elements of all formats and many sizes.
func randomStore(r *rand.Rand, n int) *Store {
	s := &Store{Modified: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)}
	guid := func() (g value.GUID) {
		binary.LittleEndian.PutUint64(g[:], r.Uint64())
		binary.LittleEndian.PutUint64(g[8:], r.Uint64())
		return g
	}
	text := func() string {
		length := r.IntN(40)
		if r.IntN(20) == 0 {
			length = r.IntN(3500) // at most two UTF-16 units each: below the limit
		}
		runes := make([]rune, length)
		for i := range runes {
			runes[i] = []rune("abcxyz 0189\\ßÄ€漢🜁")[r.IntN(17)]
		}
		return string(runes)
	}
	for range n {
		o := Object{ID: guid(), Type: ObjectType(r.Uint32())}
		if r.IntN(10) == 0 {
			o.FirmwareVariable = []byte(text() + "x")
		}
		used := map[element.ID]bool{}
		for range r.IntN(12) {
			var v value.Value
			format := element.Format(r.IntN(9))
			switch format {
			case element.FormatDevice:
				v = value.RamdiskDevice(`\`+text(), guid())
			case element.FormatString:
				v = value.String(text())
			case element.FormatObject:
				v = value.Ref(guid())
			case element.FormatObjectList:
				list := value.Refs{}
				for range r.IntN(5) {
					list = append(list, guid())
				}
				v = list
			case element.FormatInteger:
				v = value.Integer(r.Uint64() >> r.IntN(64))
			case element.FormatBoolean:
				v = value.Boolean(r.IntN(2) == 0)
			case element.FormatIntegerList:
				list := value.Integers{}
				for range r.IntN(5) {
					list = append(list, r.Uint64())
				}
				v = list
			default: // 0 and 8: formats that do not exist
				v = value.Raw{Type: uint32(r.IntN(12)), Data: []byte(text() + "x")}
			}
			id := element.ID(r.Uint32()&0xf0ffffff | uint32(format)<<24)
			if !used[id] {
				used[id] = true
				o.Elements = append(o.Elements, Element{id, v})
			}
		}
		s.Objects = append(s.Objects, o)
	}
	return s
}

// canonical sorts as a hive is sorted.
func canonical(s *Store) *Store {
	out := &Store{Modified: s.Modified, Objects: append([]Object(nil), s.Objects...)}
	sortBy(out.Objects, func(o Object) string { return o.ID.String() })
	for i := range out.Objects {
		out.Objects[i].Elements = append([]Element(nil), out.Objects[i].Elements...)
		sortBy(out.Objects[i].Elements, func(e Element) string { return e.ID.String() })
	}
	return out
}

func sortBy[T any](list []T, key func(T) string) {
	slices.SortFunc(list, func(a, b T) int { return strings.Compare(key(a), key(b)) })
}

func TestRoundTrip(t *testing.T) {
	// 1 to 1501 objects: one list, a full list, one more than that, several.
	for _, n := range []int{0, 1, 2, 30, 499, 500, 501, 1501} {
		t.Run(fmt.Sprint(n, " objects"), func(t *testing.T) {
			s := randomStore(rand.New(rand.NewPCG(uint64(n), 1)), n)
			b := mustBytes(t, s)
			back, err := Parse(b)
			if err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(canonical(s), back); d != "" {
				t.Fatalf("the store came back different:\n%s", d)
			}
			again := mustBytes(t, back)
			if !bytes.Equal(b, again) {
				t.Error("the bytes came back different")
			}
		})
	}
}

func mustGUID(t testing.TB, s string) value.GUID {
	t.Helper()
	g, err := value.ParseGUID(s)
	if err != nil {
		t.Fatal(err)
	}
	return g
}
