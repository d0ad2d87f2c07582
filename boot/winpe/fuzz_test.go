package winpe

import (
	"bytes"
	"testing"

	"castpoint/boot/bcd"
)

// FuzzOpen: a WIM that is said to be Windows PE is reported on, and everything in it
// that is a boot file is read, in bounded memory.
func FuzzOpen(f *testing.F) {
	few := map[string][]byte{
		"Windows/Boot/EFI/bootmgfw.efi":     program(peX64, "bootmgfw.efi"),
		"Windows/Boot/PXE/bootmgr.exe":      []byte("bootmgr.exe"),
		"Windows/Boot/Fonts/wgl4_boot.ttf":  []byte("font"),
		"Windows/System32/boot/winload.efi": program(peARM64, "winload.efi"),
	}
	f.Add(makeWIM(f, few, "--compress=none"))
	f.Add(makeWIM(f, few))
	f.Fuzz(func(t *testing.T, b []byte) {
		img, err := Open(bytes.NewReader(b), int64(len(b)), 0, Options{})
		if err != nil {
			return
		}
		img.Report()
		for _, fw := range []bcd.Firmware{bcd.UEFI, bcd.BIOS} {
			img.LoaderPath(fw)
		}
		for _, found := range img.Files() {
			data, err := img.Read(found)
			if err == nil && int64(len(data)) != found.Size {
				t.Fatalf("%s has %d bytes, and said %d", found.Name, len(data), found.Size)
			}
		}
	})
}
