package e2e

import (
	"os"
	"path/filepath"
	"testing"

	"castpoint/internal/lab"
	"castpoint/test/point"
)

// A machine that is to be asked boots from the network when somebody presses the
// key, and comes up from its disk when nobody does.
func TestAskForKey(t *testing.T) {
	for _, c := range []struct {
		name     string // without commas, which would end the name of QEMU's disk
		firmware lab.Firmware
		disk     func(*testing.T) string
		args     []string
		asks     string   // on its screen
		keys     []string // then; none leaves it alone
		says     string
	}{
		// The menu of the firmware itself, before it loads anything.
		{"menu left alone", lab.UEFI, efiDisk, []string{"--machine", "all ask=yes chain=windows", "--menu-wait", "3s"}, `Press F8`, nil, diskSays},
		{"menu opened", lab.UEFI, efiDisk, []string{"--machine", "all ask=yes chain=windows"}, `Press F8`, []string{"f8", "down", "ret"}, `stand-in: running`},
		// TestChainWindowsBIOS presses F12.
		{"iPXE", lab.BIOS, bootSector, []string{"--machine", "all ask=yes chain=ipxe"}, `Press F12 for network boot`, []string{"spc"}, diskSays},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := newPoint(t, lab.Config{})
			program := filepath.Join(t.TempDir(), "image")
			grubImage(t, program, "x86_64-efi", "echo stand-in: running\nsleep 1000\n", "echo", "sleep")
			efi, err := os.ReadFile(program)
			if err != nil {
				t.Fatal(err)
			}
			source, _ := makeWinPEWith(t, p.Network.Dir, efi)
			if _, err := p.Add(t.Context(), "boot-image", source, "--name", "pe"); err != nil {
				t.Fatal(err)
			}
			// iPXE asks before it loads anything.
			wimboot := filepath.Join(p.Network.Dir, "wimboot")
			if err := os.WriteFile(wimboot, efi, 0o644); err != nil {
				t.Fatal(err)
			}
			hash, err := sha256File(wimboot)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := p.Run(t.Context(), "assets", "import", wimboot, "--trust", hash, "--data", p.Data); err != nil {
				t.Fatal(err)
			}
			serve(t, p, append([]string{"--dhcp", "server", "--pool", point.Pool}, c.args...)...)
			vm := bootVM(t, p, lab.Machine{Name: "m", Firmware: c.firmware, Disk: c.disk(t)})
			must(t, vm, c.asks)
			if err := vm.Press(c.keys...); err != nil {
				t.Fatal(err)
			}
			must(t, vm, c.says)
		})
	}
}
