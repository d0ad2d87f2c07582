package hive

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"
	"time"
)

// unhex reads hexadecimal with spaces and line breaks.
func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.Join(strings.Fields(s), ""))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func mustAppend(t testing.TB, h *Hive) []byte {
	t.Helper()
	b, err := h.Append(nil)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// Keys of the hive that store makes.
const (
	manager = "{9dea862c-5cdd-4e70-acc1-f32b344d4795}"
	loader  = "{5c4e1a70-8d3b-4f26-9e17-6bd240a90000}"
	ramdisk = "{ae5534e0-a924-466c-b836-758539a3ee3a}"
	options = "12000030" // of the loader: a text
)

// store is a hive of the size and shape of a boot configuration store, in two bins.
func store() *Hive {
	root := &Key{Name: "NewStoreRoot"}
	name, _ := EncodeString("BCD00000001")
	root.Add("Description").Set("KeyName", SZ, name)
	objects := root.Add("Objects")
	for _, o := range []struct {
		name     string
		elements []string
	}{
		{manager, []string{"12000004", "12000005", "23000003", "24000001", "25000004", "26000020"}},
		{ramdisk, []string{"31000003", "32000004", "35000007", "35000008"}},
		{loader, []string{"11000001", "12000002", "12000004", "12000005", options, "21000001", "22000002", "25000020", "26000010", "26000022"}},
	} {
		key := objects.Add(o.name)
		key.Add("Description").Set("Type", DWord, []byte{1, 2, 3, 4})
		elements := key.Add("Elements")
		for i, id := range o.elements {
			elements.Add(id).Set("Element", Binary, bytes.Repeat([]byte{byte(i)}, 10*i+1))
		}
	}
	return &Hive{Root: root, Modified: time.Date(2020, 1, 1, 0, 0, 0, 0, time.UTC)}
}

// random is a hive of n keys with values of all lengths and types, and keys below.
func random(r *rand.Rand, n int) *Hive {
	fill := func(k *Key) {
		for i := range r.IntN(4) {
			length := r.IntN(40)
			if r.IntN(20) == 0 {
				length = r.IntN(maxValueData + 1)
			}
			var data []byte
			for range length {
				data = append(data, byte(r.Uint32()))
			}
			k.Set(fmt.Sprint("value ", i), Type(r.IntN(12)), data)
		}
	}
	root := &Key{Name: "root"}
	for i := range n {
		k := root.Add(fmt.Sprintf("key %05d", i))
		fill(k)
		for j := range r.IntN(12) {
			fill(k.Add(fmt.Sprintf("%c key", 'a'+j)))
		}
	}
	return &Hive{Root: root, Modified: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)}
}

// TestRoundTrip: what was written is read again as it was.
func TestRoundTrip(t *testing.T) {
	// 1 to 1501 keys: one list, a full list, one more than that, several.
	for _, n := range []int{0, 1, 2, 30, 499, 500, 501, 1501} {
		t.Run(fmt.Sprint(n, " keys"), func(t *testing.T) {
			h := random(rand.New(rand.NewPCG(uint64(n), 1)), n)
			b := mustAppend(t, h)
			back, err := Read(b)
			if err != nil {
				t.Fatal(err)
			}
			// A difference in so much takes cmp minutes to find.
			if !reflect.DeepEqual(h, back) {
				t.Fatal("the hive came back different")
			}
			if !bytes.Equal(b, mustAppend(t, back)) {
				t.Error("the bytes came back different")
			}
			checkBins(t, b)
		})
	}
}

func TestAppendRefuses(t *testing.T) {
	for _, tt := range []struct {
		name string
		root *Key
		want string
	}{
		{"no name", &Key{}, "want 1 to 255 ASCII characters"},
		{"long name", &Key{Name: strings.Repeat("x", 256)}, "want 1 to 255 ASCII characters"},
		{"name in other characters", &Key{Name: "Schlüssel"}, "want 1 to 255 ASCII characters"},
		{"two keys", &Key{Name: "r", Keys: []*Key{{Name: "a"}, {Name: "A"}}}, "two keys A in r"},
		{"value name in other characters", &Key{Name: "r", Values: []Value{{"Größe", Binary, nil}}}, "want at most 255 ASCII characters"},
		{"long value name", &Key{Name: "r", Values: []Value{{strings.Repeat("x", 256), Binary, nil}}}, "want at most 255 ASCII characters"},
		{"huge", &Key{Name: "r", Values: []Value{{"v", Binary, make([]byte, maxValueData+1)}}}, "16345 bytes, at most 16344 fit"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if _, err := (&Hive{Root: tt.root}).Append(nil); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error %v, want %q in it", err, tt.want)
			}
		})
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

// TestHeader has the fields of the base block that other programs check.
func TestHeader(t *testing.T) {
	h := store()
	h.Modified = time.Date(2026, 5, 4, 3, 2, 1, 0, time.UTC)
	b := mustAppend(t, h)
	want := unhex(t, `72656766 01000000 01000000`)
	if !bytes.Equal(b[:12], want) {
		t.Errorf("starts % x, want % x", b[:12], want)
	}
	if got := fromFiletime(binary.LittleEndian.Uint64(b[12:])); !got.Equal(h.Modified) {
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

// TestCells has what other programs rely on and Read does not look at: Windows
// loads a hive only when these are right.
func TestCells(t *testing.T) {
	le := binary.LittleEndian
	h := random(rand.New(rand.NewPCG(3, 3)), 40)
	b := mustAppend(t, h)
	r := &reader{cells: map[uint32]uint32{}, bins: b[baseBlockSize:]}
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
		if !fromFiletime(le.Uint64(nk[4:])).Equal(h.Modified) {
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

// checkBins checks what hive readers rely on: bins in steps of 4096 bytes,
// filled with cells to the last byte, aligned to 8.
func checkBins(t *testing.T, b []byte) {
	t.Helper()
	r := &reader{cells: map[uint32]uint32{}, bins: b[baseBlockSize:]}
	if err := r.findCells(); err != nil {
		t.Error(err)
	}
	for at := range r.cells {
		if at%8 != 0 {
			t.Errorf("cell at 0x%x is not aligned", at)
		}
	}
}
