package e2e

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"castpoint/test/lab"
	"castpoint/test/point"
)

// bootManagerScript is what the stand-in for the boot manager does: it asks for
// the names that a signed one asks for, in its order, and prints the hashes of what
// comes. The path of the boot configuration is in DHCP option 252. (GRUB runs a
// built-in script line by line, without loops.)
func bootManagerScript(card, from string, names []string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "echo stand-in: running\nnet_get_dhcp_option bcd %s 252 string\necho stand-in: BCD $bcd\n", card)
	for _, name := range names {
		fmt.Fprintf(&b, "echo asking for %s\nhashsum --hash sha256 (%s)%s\n", name, from, name)
	}
	b.WriteString("echo stand-in: done\nsleep 1000\n")
	return b.String()
}

// bootManagerModules are those of GRUB that the script needs.
var bootManagerModules = []string{"echo", "net", "tftp", "http", "hashsum", "gcry_sha256", "sleep"}

// Firmware loads a stand-in for Microsoft's boot manager out of the boot image,
// by PXE and by HTTP boot, and that asks for what a signed one asks for, in its
// order, by its names, and gets it.
func TestChainWindows(t *testing.T) {
	for _, c := range []struct {
		name, card, folder, loader, format, from string
		machine                                  lab.Machine
	}{
		{"UEFI by PXE", "efinet0", "efi-x64", "bootmgfw.efi", "x86_64-efi", "tftp,10.77.0.1", lab.Machine{Firmware: lab.UEFI}},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := newPoint(t, lab.Config{Clients: 1, Offload: true})
			folder := c.folder + "/52-54-00-77-00-01"
			dir := t.TempDir()
			image := filepath.Join(dir, "image")
			modules := append([]string{"efinet"}, bootManagerModules...)
			own := "/winpe/" + folder + "/"
			absent := []string{"/EFI/Microsoft/Boot/Policies/SbcpFlightToken.p7b", "/en-US" + own + c.loader + ".MUI"}
			names := []string{
				own + "BCD", absent[0], "/EFI/Microsoft/Boot/WinSiPolicy.p7b", absent[1], own + c.loader, "/boot.stl",
				"/EFI/Microsoft/Boot/Fonts/wgl4_boot.ttf", "/Boot/boot.sdi", own + "boot.wim",
			}
			grubImage(t, image, c.format, bootManagerScript(c.card, c.from, names), modules...)
			program, err := os.ReadFile(image)
			if err != nil {
				t.Fatal(err)
			}
			source, files := makeWinPEWith(t, p.Network.Dir, program)
			if _, err := p.Add(t.Context(), "boot-image", source, "--name", "pe"); err != nil {
				t.Fatal(err)
			}
			serve(t, p, "--dhcp", "server", "--pool", point.Pool, "--chain", "windows")
			c.machine.Name = "m"
			vm := bootVM(t, p, c.machine)
			must(t, vm, `stand-in: running`)
			must(t, vm, `stand-in: BCD \\winpe\\`+strings.ReplaceAll(folder, "/", `\\`)+`\\BCD`)
			must(t, vm, `stand-in: done`)
			said := vm.Output.String()
			for name, want := range map[string]string{
				"/EFI/Microsoft/Boot/WinSiPolicy.p7b":     "Windows/Boot/EFI/winsipolicy.p7b",
				"/winpe/" + folder + "/" + c.loader:       "Windows/Boot/EFI/bootmgfw.efi",
				"/boot.stl":                               "Windows/Boot/EFI/boot.stl",
				"/EFI/Microsoft/Boot/Fonts/wgl4_boot.ttf": "Windows/Boot/Fonts/wgl4_boot.ttf",
				"/Boot/boot.sdi":                          "Windows/Boot/DVD/EFI/boot.sdi",
			} {
				sum := sha256.Sum256(files[want])
				if !regexp.MustCompile(`asking for ` + name + `\s+` + hex.EncodeToString(sum[:])).MatchString(said) {
					t.Errorf("the machine did not get %s:\n%s", name, vm.Output.Tail(30))
				}
			}
			for _, name := range absent {
				if !regexp.MustCompile(`asking for ` + name + `\s+error: file`).MatchString(said) {
					t.Errorf("%s is not absent:\n%s", name, vm.Output.Tail(30))
				}
			}
			for _, name := range []string{"BCD", "boot.wim"} {
				must(t, vm, `asking for `+own+name+`\s+[0-9a-f]{64}`)
			}
		})
	}
}
