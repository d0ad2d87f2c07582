package machine

import (
	"slices"
	"strings"
	"testing"
)

// FuzzBootMenu: labels in the firmware's boot menu are of any maker's making. The
// order that comes out has the same entries.
func FuzzBootMenu(f *testing.F) {
	f.Add("BootCurrent: 0001\nTimeout: 0 seconds\nBootOrder: 0001,0000,0002\nBoot0000* castpoint\tHD(1,GPT,...)\nBoot0001* UEFI PXEv4\tPciRoot(0x0)\nBoot0002  Windows Boot Manager\n", "castpoint")
	f.Add("BootOrder: ,,,\nBoot0000*", "")
	f.Add("BootCurrent: 0001\nBootOrder: 0001\nBoot\xff\xff\xff\xff* x\ty\n", "x")
	f.Fuzz(func(t *testing.T, text, label string) {
		m := parseBootMenu(text)
		for _, n := range m.labelled(label) {
			if !slices.Contains(m.order, n) {
				t.Fatalf("%q is not in the order %q", n, m.order)
			}
		}
		m.behindCurrent(label)
	})
}

// FuzzTexts: what the kernel and the programs of a system print of mounts, firmware and
// failures, in whatever language.
func FuzzTexts(f *testing.F) {
	f.Add("36 35 98:0 / /mnt/a\\040b rw - ext4 /dev/sda1 rw\n37 35 98:0 /part /x rw\n", "52:54:00:00:00:01")
	f.Add("Firmware Boot Manager\r\n-----\r\nidentifier {11111111-2222-3333-4444-555555555555}\r\ndescription PXEv4 (MAC:525400000001)\r\n\r\n", "52:54:00:00:00:01")
	f.Add("1 2\\04 3 4 \\9\\", "")
	f.Fuzz(func(t *testing.T, text, mac string) {
		for device, at := range parseMounts(text) {
			if device == "" || len(at) > len(text) {
				t.Fatalf("%q is mounted at %q", device, at)
			}
		}
		if id, label := networkEntry(text, mac); id != "" && (!strings.Contains(text, id) || !strings.Contains(text, label)) {
			t.Fatalf("entry %q, %q", id, label)
		}
		if s := lastLines(text, 2); strings.Contains(s, "\n") || len(s) > len(text)+2 {
			t.Fatalf("%q", s)
		}
	})
}

// FuzzDrive: what an NVMe drive says of itself. What is ordered of it then is no more
// than a format with the erasing of user data.
func FuzzDrive(f *testing.F) {
	one := make([]byte, identifySize)
	f.Add(one, one, []byte{})
	able := slices.Clone(one)
	able[256] = 0xff
	f.Add(able, one, []byte{1, 0, 0, 0, 2, 0, 0, 0})
	f.Fuzz(func(t *testing.T, controller, namespace, active []byte) {
		whole := func(b []byte) []byte { return append(slices.Clone(b), make([]byte, identifySize)...)[:identifySize] }
		word, err := formatWord(whole(controller), whole(namespace), active)
		if err != nil {
			if word != 0 {
				t.Errorf("%x with %v", word, err)
			}
			return
		}
		if ses := word >> 9 & 7; ses != 1 || word>>14 != 0 {
			t.Errorf("%x orders something else than to erase user data", word)
		}
	})
}
