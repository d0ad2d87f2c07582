package value

import (
	"bytes"
	"encoding/hex"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"castpoint/boot/bcd/element"
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

// zeros is n zero bytes in hexadecimal.
func zeros(n int) string { return strings.Repeat("00", n) }

func mustGUID(t testing.TB, s string) GUID {
	t.Helper()
	g, err := ParseGUID(s)
	if err != nil {
		t.Fatal(err)
	}
	return g
}

// TestDeviceGolden has the bytes that bcdedit and setup media write, for
// devices made up here; see docs/bcd.md for where the layouts come from.
func TestDeviceGolden(t *testing.T) {
	gpt := Device{Kind: DevicePartition, Partition: Partition{
		ID:   mustGUID(t, "{00112233-4455-6677-8899-aabbccddeeff}"),
		Disk: mustGUID(t, "{01020304-0506-0708-090a-0b0c0d0e0f10}"),
	}}
	mbr := Device{Kind: DevicePartition, Partition: Partition{MBR: true, Offset: 0x100000, Signature: 0x4a62b018}}
	file := Device{Kind: DeviceFile, Path: `\d.vhd`, Parent: &mbr}
	vhd := Device{Kind: DeviceVHD, Parent: &file}

	const bootBytes = "05000000 00000000 48000000 00000000"
	const gptBytes = `06000000 00000000 48000000 00000000
		33221100 5544 7766 8899 aabbccddeeff 00000000 00000000 04030201 0605 0807 090a 0b0c0d0e0f10`
	const mbrBytes = `06000000 00000000 48000000 00000000
		0000100000000000 0000000000000000 00000000 01000000 18b0624a`
	// 20 + 12 + 72 + 14 bytes
	fileBytes := `00000000 00000000 76000000 00000000 05000000
		01000000 62000000 05000000` + mbrBytes + zeros(28) + "5c0064002e007600680064000000"
	vhdBytes := "00000000 00000000 9e000000 00000000 06000000" + zeros(20) + fileBytes

	for _, tt := range []struct {
		name   string
		device Device
		size   int
		want   string
		text   string
	}{
		{"boot", BootDevice(), 88, zeros(16) + bootBytes + zeros(56), "boot"},
		{
			"RAM disk", RamdiskDevice(`\Boot\boot.wim`, RamdiskOptions()), 170,
			`e03455ae 24a9 6c46 b836758539a3ee3a
			00000000 01000000 9a000000 00000000 03000000` + zeros(20) + `
			01000000 72000000 05000000` + bootBytes + zeros(56) + `
			5c0042006f006f0074005c0062006f006f0074002e00770069006d000000`,
			`ramdisk=[boot]\Boot\boot.wim,{ramdiskoptions}`,
		},
		{
			"GPT partition", gpt, 88, zeros(16) + gptBytes + zeros(16),
			"partition={gpt disk {01020304-0506-0708-090a-0b0c0d0e0f10}, partition {00112233-4455-6677-8899-aabbccddeeff}}",
		},
		{
			"MBR partition", mbr, 88, zeros(16) + mbrBytes + zeros(28),
			"partition={mbr disk 4a62b018, offset 1048576}",
		},
		{
			"file", file, 134, zeros(16) + fileBytes,
			`file=[partition={mbr disk 4a62b018, offset 1048576}]\d.vhd`,
		},
		{
			"VHD", vhd, 174, zeros(16) + vhdBytes,
			`vhd=[partition={mbr disk 4a62b018, offset 1048576}]\d.vhd`,
		},
		{
			"file in a VHD that an element names",
			Device{Kind: DeviceLocate, Element: element.Path, Parent: &vhd}, 204,
			zeros(16) + `08000000 00000000 bc000000 00000000 00000000 02000012 1e000000 0000` + vhdBytes,
			`vhd=[partition={mbr disk 4a62b018, offset 1048576}]\d.vhd,locate=custom:12000002`,
		},
		{
			"wherever a file is", Device{Kind: DeviceLocate, Path: `\x`}, 88,
			zeros(16) + `08000000 00000000 48000000 00000000 01000000 00000000 00000000 5c0078000000` + zeros(38),
			`locate=\x`,
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, got, err := tt.device.Encode()
			if err != nil {
				t.Fatal(err)
			}
			want := unhex(t, tt.want)
			if !bytes.Equal(got, want) {
				t.Errorf("encoded\n%swant\n%s", hex.Dump(got), hex.Dump(want))
			}
			if len(got) != tt.size {
				t.Errorf("%d bytes, want %d", len(got), tt.size)
			}
			back, note, err := decodeDevice(want)
			if err != nil || note != "" {
				t.Fatalf("decode: %v, note %q", err, note)
			}
			if d := cmp.Diff(tt.device, back); d != "" {
				t.Errorf("decoded differs:\n%s", d)
			}
			if s := back.String(); s != tt.text {
				t.Errorf("text %q\nwant %q", s, tt.text)
			}
		})
	}
}

func TestRamdiskDeviceSize(t *testing.T) {
	// The length formulas that bcdedit's stores obey: 126 + 2n and 86 + 2n for a
	// path of n characters.
	for n := 1; n <= 254; n++ {
		_, b, err := RamdiskDevice(`\`+strings.Repeat("x", n-1), RamdiskOptions()).Encode()
		if err != nil {
			t.Fatal(err)
		}
		size, path := int(b[24])|int(b[25])<<8, int(b[60])|int(b[61])<<8
		if size != 126+2*n || path != 86+2*n || len(b) != 16+size {
			t.Fatalf("path of %d characters: element %d, size %d, path %d", n, len(b), size, path)
		}
	}
}

func TestDeviceDamaged(t *testing.T) {
	_, good, err := RamdiskDevice(`\Boot\boot.wim`, RamdiskOptions()).Encode()
	if err != nil {
		t.Fatal(err)
	}
	edit := func(at int, with ...byte) []byte {
		b := bytes.Clone(good)
		copy(b[at:], with)
		return b
	}
	for _, tt := range []struct {
		name string
		b    []byte
		want string
	}{
		{"empty", nil, "device of 0 bytes"},
		{"size beyond the end", edit(24, 0xff), "says 255 bytes, 154 are there"},
		{"size of nothing", edit(24, 3), "says 3 bytes"},
		{"a floppy disk", edit(32, 1), "local device of type 1 (floppy disk)"},
		{"a serial line", edit(16, 3), "device of type 3 (serial line)"},
		{"unknown type", edit(16, 99), "device of type 99"},
		{"path of another version", edit(56, 2), "file path of version 2"},
		{"path beyond the end", edit(60, 0xff), "file path says 255 bytes, 114 are there"},
		{"path too short", edit(60, 2), "file path says 2 bytes"},
		{"parent beyond the path", edit(76, 0xff), "descriptor says 255 bytes, 102 are there"},
		{"odd path", good[:len(good)-1], "says 154 bytes, 153 are there"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, _, err := decodeDevice(tt.b)
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error %v, want %q in it", err, tt.want)
			}
		})
	}
	if _, note, err := decodeDevice(edit(40, 7)); err != nil || !strings.Contains(note, "should be zero") {
		t.Errorf("junk in unused bytes: %v, note %q", err, note)
	}
	if _, note, err := decodeDevice(append(bytes.Clone(good), 1, 2)); err != nil || note != "2 bytes after the device" {
		t.Errorf("junk behind: %v, note %q", err, note)
	}
	for n := range good {
		if _, _, err := decodeDevice(good[:n]); err == nil {
			t.Errorf("the first %d bytes of %d pass as a device", n, len(good))
		}
	}
}

// TestDeviceNesting: a device inside a device without end must not be followed,
// nor written.
func TestDeviceNesting(t *testing.T) {
	d := BootDevice()
	for range maxDeviceDepth - 1 {
		parent := d
		d = Device{Kind: DeviceFile, Path: `\f`, Parent: &parent}
	}
	_, b, err := d.Encode()
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := decodeDevice(b); err != nil {
		t.Fatal(err)
	}
	deeper := Device{Kind: DeviceFile, Path: `\f`, Parent: &d}
	if _, _, err := deeper.Encode(); err == nil {
		t.Error("a device too deep was written")
	}
	// The same by hand: wrap the bytes once more.
	inner := b[16:]
	wrapped := make([]byte, 16, 16+20+12+len(inner)+6)
	wrapped = append(wrapped, 0, 0, 0, 0, 0, 0, 0, 0, byte(20+12+len(inner)+6), byte((20+12+len(inner)+6)>>8), 0, 0, 0, 0, 0, 0, 5, 0, 0, 0)
	wrapped = append(wrapped, 1, 0, 0, 0, byte(12+len(inner)+6), byte((12+len(inner)+6)>>8), 0, 0, 5, 0, 0, 0)
	wrapped = append(append(wrapped, inner...), '\\', 0, 'f', 0, 0, 0)
	if _, _, err := decodeDevice(wrapped); err == nil || !strings.Contains(err.Error(), "deep") {
		t.Errorf("a device too deep was read: %v", err)
	}
	self := Device{Kind: DeviceFile, Path: `\f`}
	self.Parent = &self
	if _, _, err := self.Encode(); err == nil {
		t.Error("a device that is its own parent was written")
	}
}

func FuzzDevice(f *testing.F) {
	for _, d := range []Device{
		BootDevice(), RamdiskDevice(`\Boot\boot.wim`, RamdiskOptions()),
		{Kind: DevicePartition}, {Kind: DevicePartition, Partition: Partition{MBR: true, Offset: 1 << 20}},
		{Kind: DeviceLocate, Element: element.SystemRoot}, {Kind: DeviceLocate, Path: `\a`, Parent: &Device{Kind: DeviceBoot}},
	} {
		_, b, err := d.Encode()
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		d, _, err := decodeDevice(b)
		if err != nil {
			return
		}
		_ = d.String()
		_, again, err := d.Encode()
		if err != nil {
			return // an empty path, for example: read, but not written
		}
		back, note, err := decodeDevice(again)
		if err != nil || note != "" {
			t.Fatalf("what was written cannot be read: %v %q\n%s", err, note, hex.Dump(again))
		}
		if d := cmp.Diff(d, back); d != "" {
			t.Errorf("writing changed the device:\n%s", d)
		}
	})
}
