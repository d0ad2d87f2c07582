package machine

import (
	"slices"
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
