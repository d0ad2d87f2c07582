package element

import (
	"strings"
	"testing"
)

// TestNames: names of bcdedit are in one word and unique in an object, and every
// name stands for an element of a format that exists.
func TestNames(t *testing.T) {
	for _, app := range []Application{0, appBootManager, appLoader, appResume, appMemoryTester} {
		for class := uint32(1); class <= 4; class++ {
			for format := uint32(0); format < 16; format++ {
				for n := range uint32(0x400) {
					id := ID(class<<28 | format<<24 | n)
					name := Name(app, id)
					if name == "" {
						continue
					}
					if strings.ToLower(name) != name || strings.ContainsAny(name, " _") {
						t.Errorf("%s is called %q", id, name)
					}
					if format < 1 || format > 7 {
						t.Errorf("%s, called %q, has no format", id, name)
					}
				}
			}
		}
	}
	for id, want := range map[ID]string{
		TFTPBlockSize: "ramdisktftpblocksize", SDIPath: "ramdisksdipath", WinPE: "winpe",
		OSDevice: "osdevice", TestSigning: "testsigning", EMS: "ems", BootEMS: "bootems",
	} {
		if got := Name(appLoader, id); got != want {
			t.Errorf("%s is called %q, want %q", id, got, want)
		}
	}
}
