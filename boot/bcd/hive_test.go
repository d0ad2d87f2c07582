package bcd

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestGUID(t *testing.T) {
	want := []byte{0x2c, 0x86, 0xea, 0x9d, 0xdd, 0x5c, 0x70, 0x4e, 0xac, 0xc1, 0xf3, 0x2b, 0x34, 0x4d, 0x47, 0x95}
	for _, text := range []string{
		"{9dea862c-5cdd-4e70-acc1-f32b344d4795}", "{9DEA862C-5CDD-4E70-ACC1-F32B344D4795}", "9dea862c-5cdd-4e70-acc1-f32b344d4795",
	} {
		g, err := ParseGUID(text)
		if err != nil || !bytes.Equal(g[:], want) {
			t.Errorf("%s: %x, %v", text, g[:], err)
		}
	}
	if s := BootManager().String(); s != "{9dea862c-5cdd-4e70-acc1-f32b344d4795}" {
		t.Errorf("text %s", s)
	}
	for _, text := range []string{
		"", "{}", "{9dea862c-5cdd-4e70-acc1-f32b344d4795", "9dea862c5cdd4e70acc1f32b344d4795", "{9dea862c-5cdd-4e70-acc1-f32b344d479g}",
		"{9dea862c-5cdd-4e70-acc1-f32b344d47955}", "9dea862c+5cdd-4e70-acc1-f32b344d4795",
	} {
		if _, err := ParseGUID(text); err == nil {
			t.Errorf("%q passes as a GUID", text)
		}
	}
	for _, id := range []GUID{BootManager(), RamdiskOptions(), GlobalSettings(), LoaderSettings(), DebuggerSettings(), EMSSettings()} {
		if alias, title := wellKnown(id); alias == "" || title == "" {
			t.Errorf("%s has no alias", id)
		}
	}
}

func TestFiletime(t *testing.T) {
	// 2020-01-01 00:00:00 UTC, from Microsoft's documentation of the unit: 100 ns
	// since 1601-01-01.
	at := time.Date(2020, 1, 1, 0, 0, 0, 0, time.UTC)
	if v := filetime(at); v != 132223104000000000 {
		t.Errorf("filetime %d", v)
	}
	for _, at := range []time.Time{at, at.Add(123456700), time.Date(1601, 1, 1, 0, 0, 0, 0, time.UTC), time.Unix(0, 0).UTC()} {
		if back := fromFiletime(filetime(at)); !back.Equal(at) {
			t.Errorf("%s became %s", at, back)
		}
	}
}

func TestChecksum(t *testing.T) {
	b := make([]byte, baseBlockSize)
	if sum := checksum(b); sum != 1 {
		t.Errorf("of zeros: %x", sum)
	}
	binary.LittleEndian.PutUint32(b, 0xffffffff)
	if sum := checksum(b); sum != 0xfffffffe {
		t.Errorf("of ones: %x", sum)
	}
	binary.LittleEndian.PutUint32(b[504:], 0x12345678)
	if sum := checksum(b); sum != 0xffffffff^0x12345678 {
		t.Errorf("of two numbers: %x", sum)
	}
}

// TestHiveHeader has the fields of the base block that other programs check.
func TestHiveHeader(t *testing.T) {
	s := mustRamdisk(t, Options{Modified: time.Date(2026, 5, 4, 3, 2, 1, 0, time.UTC)})
	b := mustBytes(t, s)
	want := unhex(t, `72656766 01000000 01000000`)
	if !bytes.Equal(b[:12], want) {
		t.Errorf("starts % x, want % x", b[:12], want)
	}
	if got := fromFiletime(binary.LittleEndian.Uint64(b[12:])); !got.Equal(s.Modified) {
		t.Errorf("time stamp %s", got)
	}
	want = unhex(t, `01000000 03000000 00000000 01000000 20000000 00200000 01000000 4200430044000000`)
	if !bytes.Equal(b[20:56], want) {
		t.Errorf("then\n% x, want\n% x", b[20:56], want)
	}
	if binary.LittleEndian.Uint32(b[508:]) != checksum(b) {
		t.Error("checksum is wrong")
	}
}

// TestHiveCells has what other programs rely on and Parse does not look at:
// Windows loads a store only when these are right.
func TestHiveCells(t *testing.T) {
	le := binary.LittleEndian
	s := randomStore(rand.New(rand.NewPCG(3, 3)), 40)
	b := mustBytes(t, s)
	r := &hiveReader{cells: map[uint32]uint32{}, bins: b[baseBlockSize:]}
	if err := r.findCells(); err != nil {
		t.Fatal(err)
	}
	cell := func(at uint32) []byte { return r.bins[at+cellHeader : at+cellHeader+r.cells[at]] }

	reached := map[uint32]bool{}
	keys := uint32(0)
	rootAt := le.Uint32(b[36:])
	security := le.Uint32(cell(rootAt)[44:])
	var walk func(at, parent uint32) (name string)
	walk = func(at, parent uint32) string {
		nk := cell(at)
		reached[at] = true
		keys++
		name := string(nk[76 : 76+le.Uint16(nk[72:])])
		if flags, want := le.Uint16(nk[2:]), map[bool]uint16{true: 0x2c, false: 0x20}[at == rootAt]; flags != want {
			t.Errorf("key %s has flags %x, want %x", name, flags, want)
		}
		if got := le.Uint32(nk[16:]); at != rootAt && got != parent {
			t.Errorf("key %s says its parent is at %x, it is at %x", name, got, parent)
		}
		if !fromFiletime(le.Uint64(nk[4:])).Equal(s.Modified) {
			t.Errorf("key %s has another time stamp", name)
		}
		if le.Uint32(nk[32:]) != noCell || le.Uint32(nk[24:]) != 0 || le.Uint32(nk[48:]) != noCell || le.Uint16(nk[74:]) != 0 {
			t.Errorf("key %s has volatile keys or a class", name)
		}
		if le.Uint32(nk[44:]) != security {
			t.Errorf("key %s has other security", name)
		}
		longestKey, longestValue, longestData := 0, 0, 0
		if n := le.Uint32(nk[20:]); n > 0 {
			list := le.Uint32(nk[28:])
			reached[list] = true
			lf := cell(list)
			last := ""
			for i := range int(n) {
				sub := walk(le.Uint32(lf[4+8*i:]), at)
				if hint := string(lf[8+8*i : 12+8*i]); hint != sub[:4] {
					t.Errorf("hint of key %s is %q", sub, hint)
				}
				if upper := strings.ToUpper(sub); upper <= last {
					t.Errorf("key %s is not in order", sub)
				} else {
					last = upper
				}
				longestKey = max(longestKey, 2*len(sub))
			}
		}
		if n := le.Uint32(nk[36:]); n > 0 {
			list := le.Uint32(nk[40:])
			reached[list] = true
			for i := range int(n) {
				at := le.Uint32(cell(list)[4*i:])
				reached[at] = true
				vk := cell(at)
				size := le.Uint32(vk[4:])
				if size&dataInline == 0 {
					reached[le.Uint32(vk[8:])] = true
				} else if size&^dataInline > 4 {
					t.Errorf("value of key %s has %x bytes in its cell", name, size)
				}
				longestValue = max(longestValue, 2*int(le.Uint16(vk[2:])))
				longestData = max(longestData, int(size&^dataInline))
			}
		}
		if le.Uint32(nk[52:]) != uint32(longestKey) || le.Uint32(nk[60:]) != uint32(longestValue) || le.Uint32(nk[64:]) != uint32(longestData) {
			t.Errorf("key %s says its longest are %d, %d, %d; they are %d, %d, %d", name,
				le.Uint32(nk[52:]), le.Uint32(nk[60:]), le.Uint32(nk[64:]), longestKey, longestValue, longestData)
		}
		return name
	}
	walk(rootAt, 0)

	sk := cell(security)
	reached[security] = true
	if string(sk[:2]) != "sk" || le.Uint32(sk[4:]) != security || le.Uint32(sk[8:]) != security {
		t.Errorf("security cell at %x links to %x and %x", security, le.Uint32(sk[4:]), le.Uint32(sk[8:]))
	}
	if n := le.Uint32(sk[12:]); n != keys {
		t.Errorf("security cell is used by %d keys, says %d", keys, n)
	}
	// O:BAG:SYD:(A;CI;KA;;;BA)(A;CI;KA;;;SY)
	want := unhex(t, `01000480 14000000 24000000 00000000 30000000
		0102000000000005 20000000 20020000  0101000000000005 12000000
		0200 3400 0200 0000
		0002 1800 3f000f00 0102000000000005 20000000 20020000
		0002 1400 3f000f00 0101000000000005 12000000`)
	if got := sk[20 : 20+le.Uint32(sk[16:])]; !bytes.Equal(got, want) {
		t.Errorf("security descriptor\n%swant\n%s", hex.Dump(got), hex.Dump(want))
	}
	for at := range r.cells {
		if !reached[at] {
			t.Errorf("nothing uses the cell at 0x%x", at)
		}
	}
}

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
		{"element twice", object(Element{ElemNX, Integer(1)}, Element{ElemNX, Integer(2)}), "two keys 25000020"},
		{"no value", object(Element{ElemNX, nil}), "element 25000020 has no value"},
		{"other format", object(Element{ElemNX, Boolean(true)}), `element 25000020 wants format "integer", its value has "boolean"`},
		{"zero in text", object(Element{ElemPath, String("a\x00b")}), "zero character"},
		{"no such device", object(Element{ElemDevice, Device{}}), "kind 0"},
		{"RAM disk of nothing", object(Element{ElemDevice, Device{Kind: DeviceRamdisk, Path: `\x`}}), "ramdisk device without a parent"},
		{"RAM disk without file", object(Element{ElemDevice, RamdiskDevice("", id)}), "ramdisk device without a path"},
		{"options inside", object(Element{ElemDevice, Device{Kind: DeviceVHD, Parent: &Device{Kind: DeviceBoot, Options: id}}}), "only the outermost"},
		{"huge", object(Element{ElemPath, String(strings.Repeat("x", 9000))}), "18002 bytes, at most 16344"},
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
	guid := func() (g GUID) {
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
		used := map[ElementID]bool{}
		for range r.IntN(12) {
			var v Value
			format := Format(r.IntN(9))
			switch format {
			case FormatDevice:
				v = RamdiskDevice(`\`+text(), guid())
			case FormatString:
				v = String(text())
			case FormatObject:
				v = Ref(guid())
			case FormatObjectList:
				list := Refs{}
				for range r.IntN(5) {
					list = append(list, guid())
				}
				v = list
			case FormatInteger:
				v = Integer(r.Uint64() >> r.IntN(64))
			case FormatBoolean:
				v = Boolean(r.IntN(2) == 0)
			case FormatIntegerList:
				list := Integers{}
				for range r.IntN(5) {
					list = append(list, r.Uint64())
				}
				v = list
			default: // 0 and 8: formats that do not exist
				v = Raw{Type: uint32(r.IntN(12)), Data: []byte(text() + "x")}
			}
			id := ElementID(r.Uint32()&0xf0ffffff | uint32(format)<<24)
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
			checkBins(t, b)
		})
	}
}

// checkBins checks what hive readers rely on: bins in steps of 4096 bytes,
// filled with cells to the last byte, aligned to 8.
func checkBins(t *testing.T, b []byte) {
	t.Helper()
	r := &hiveReader{cells: map[uint32]uint32{}, bins: b[baseBlockSize:]}
	if err := r.findCells(); err != nil {
		t.Error(err)
	}
	for at := range r.cells {
		if at%8 != 0 {
			t.Errorf("cell at 0x%x is not aligned", at)
		}
	}
}
