package e2e

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"hash/crc32"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"castpoint/internal/lab"
	"castpoint/test/image"
	"castpoint/test/point"
)

// bootManagerScript is what the stand-in for the UEFI boot manager does: it runs
// what finds its server, asks for the names that a signed one asks for, in its
// order, and prints the hashes of what comes. (GRUB runs a built-in script line by
// line, without loops.)
func bootManagerScript(before, from string, names []string) string {
	var b strings.Builder
	b.WriteString("echo stand-in: running\n" + before)
	for _, name := range names {
		fmt.Fprintf(&b, "echo asking for %s\nhashsum --hash sha256 (%s)%s\n", name, from, name)
	}
	b.WriteString("echo stand-in: done\nsleep 1000\n")
	return b.String()
}

// bootManagerModules are those of GRUB that the script needs.
var bootManagerModules = []string{"efinet", "echo", "net", "tftp", "http", "hashsum", "gcry_sha256", "sleep"}

// vmMAC is the address of the first machine of a lab, as names have it.
const vmMAC = "52-54-00-77-00-01"

// UEFI firmware loads a stand-in for Microsoft's boot manager out of the boot image,
// by PXE and by HTTP boot, and that asks for what a signed one asks for, in its
// order, by its names, and gets it.
func TestChainWindows(t *testing.T) {
	const own = "/winpe/efi-x64/" + vmMAC + "/"
	common := map[string]string{
		"/EFI/Microsoft/Boot/WinSiPolicy.p7b":     "Windows/Boot/EFI/winsipolicy.p7b",
		"/EFI/Microsoft/Boot/Fonts/wgl4_boot.ttf": "Windows/Boot/Fonts/wgl4_boot.ttf",
		own + "bootmgfw.efi":                      "Windows/Boot/EFI/bootmgfw.efi",
		"/boot.stl":                               "Windows/Boot/EFI/boot.stl",
		"/Boot/boot.sdi":                          "Windows/Boot/DVD/EFI/boot.sdi",
	}
	for _, c := range []struct {
		name          string
		machine       lab.Machine
		before, from  string
		names, absent []string // in the order of the boot manager; those that are not there
	}{
		{
			name:   "by PXE",
			before: "net_get_dhcp_option bcd efinet0 252 string\necho stand-in: BCD $bcd\n",
			from:   "tftp,10.77.0.1",
			names: []string{
				own + "BCD", "/EFI/Microsoft/Boot/Policies/SbcpFlightToken.p7b", "/EFI/Microsoft/Boot/WinSiPolicy.p7b",
				"/en-US" + own + "bootmgfw.efi.MUI", own + "bootmgfw.efi", "/boot.stl",
				"/EFI/Microsoft/Boot/Fonts/wgl4_boot.ttf", "/Boot/boot.sdi", own + "boot.wim",
			},
			absent: []string{"/EFI/Microsoft/Boot/Policies/SbcpFlightToken.p7b", "/en-US" + own + "bootmgfw.efi.MUI"},
		},
		{
			name: "by iPXE in the card", machine: lab.Machine{IPXE: true},
			before: "net_get_dhcp_option bcd efinet0 252 string\necho stand-in: BCD $bcd\n",
			from:   "tftp,10.77.0.1",
			names:  []string{own + "BCD", own + "bootmgfw.efi", "/Boot/boot.sdi", own + "boot.wim"},
		},
		{
			// GRUB does not take over the address that HTTP boot got, and for a file
			// that is absent it waits for half a minute: TestWindowsBootFiles asks for
			// those.
			name: "by HTTP boot", machine: lab.Machine{HTTP: true},
			before: "net_bootp efinet0\n",
			from:   "http,10.77.0.1",
			names: []string{
				"/EFI/Microsoft/Boot/BCD", "/EFI/Microsoft/Boot/WinSiPolicy.p7b", "/boot.stl", "/EFI/Microsoft/Boot/Fonts/wgl4_boot.ttf", "/Boot/boot.sdi", own + "boot.wim",
			},
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := newPoint(t, lab.Config{Clients: 1, Offload: true})
			program := filepath.Join(t.TempDir(), "image")
			grubImage(t, program, "x86_64-efi", bootManagerScript(c.before, c.from, c.names), bootManagerModules...)
			efi, err := os.ReadFile(program)
			if err != nil {
				t.Fatal(err)
			}
			source, files := makeWinPEWith(t, p.Network.Dir, efi)
			if _, err := p.Add(t.Context(), "boot-image", source, "--name", "pe"); err != nil {
				t.Fatal(err)
			}
			// Debian's GRUB knows no other port than 80.
			serve(t, p, "--dhcp", "server", "--pool", point.Pool, "--chain", "windows", "--http", ":80")
			c.machine.Name, c.machine.Firmware = "m", lab.UEFI
			vm := bootVM(t, p, c.machine)
			must(t, vm, `stand-in: running`)
			if !c.machine.HTTP {
				must(t, vm, `stand-in: BCD \\winpe\\efi-x64\\`+vmMAC+`\\BCD`)
			}
			must(t, vm, `stand-in: done`)
			said := vm.Output.String()
			want := map[string]string{}
			for _, name := range c.names {
				want[name] = "[0-9a-f]{64}" // made for the machine
				if file, ok := common[name]; ok {
					sum := sha256.Sum256(files[file])
					want[name] = hex.EncodeToString(sum[:])
				}
			}
			for _, name := range c.absent {
				want[name] = "error: "
			}
			for name, pattern := range want {
				if !regexp.MustCompile(`asking for ` + name + `\s+` + pattern).MatchString(said) {
					t.Errorf("%s: want %s:\n%s", name, pattern, vm.Output.Tail(40))
				}
			}
		})
	}
}

// BIOS firmware loads a stand-in for pxeboot.n12, which asks by the PXE API for the
// boot manager and the boot configuration. QEMU's card has iPXE for its PXE ROM, and
// is asked for a key.
func TestChainWindowsBIOS(t *testing.T) {
	p := newPoint(t, lab.Config{Clients: 1})
	program := filepath.Join(p.Network.Dir, "pxeboot.n12")
	if out, err := exec.CommandContext(t.Context(), "nasm", "-f", "bin", "-o", program, "testdata/pxeboot.asm").CombinedOutput(); err != nil {
		t.Fatalf("nasm: %v: %s", err, out)
	}
	source, files := makeWinPE(t, p.Network.Dir)
	if _, err := p.Add(t.Context(), "boot-image", source, "--name", "pe", "--loaders", program); err != nil {
		t.Fatal(err)
	}
	serve(t, p, "--dhcp", "server", "--pool", point.Pool, "--machine", "bios chain=windows ask=yes")
	vm := bootVM(t, p, lab.Machine{Name: "m", Firmware: lab.BIOS, Disk: bootSector(t)})
	must(t, vm, `Press F12`)
	if err := vm.Press("f12"); err != nil {
		t.Fatal(err)
	}
	const own = "winpe/bios/" + vmMAC
	must(t, vm, `stand-in: started as `+own+`/pxeboot\.n12`)
	sum := fmt.Sprintf("%08x", crc32.ChecksumIEEE(files["Windows/Boot/PXE/bootmgr.exe"]))
	must(t, vm, `asking for `+own+`/bootmgr\.exe `+sum)
	got := must(t, vm, `asking for \\`+strings.ReplaceAll(own, "/", `\\`)+`\\BCD ([0-9a-f]{8})`)
	must(t, vm, `stand-in: done`)

	store := filepath.Join(p.Network.Dir, "store")
	b := fetch(t, p.Network.Clients[0], store, "curl", "-sS", "--fail", "-o", store, "http://"+server+":8080/"+own+"/BCD")
	if sum := fmt.Sprintf("%08x", crc32.ChecksumIEEE(b)); sum != got[1] {
		t.Errorf("the machine got a boot configuration with CRC-32 %s, not %s", got[1], sum)
	}
	if words, err := p.Run(t.Context(), "bcd", "show", store); err != nil || !strings.Contains(words, "winload.exe") {
		t.Errorf("%v:\n%s", err, words)
	}
}

// iPXE gives wimboot, for which there is a stand-in, the machine's boot
// configuration, boot.sdi and WIM, with the agent in it.
func TestChainWimboot(t *testing.T) {
	p := newPoint(t, lab.Config{Clients: 1, Offload: true})
	program, wimboot := filepath.Join(p.Network.Dir, "wimboot.efi"), filepath.Join(p.Network.Dir, "wimboot")
	if out, err := exec.CommandContext(t.Context(), "x86_64-w64-mingw32-gcc", "-O1", "-ffreestanding", "-nostdlib",
		"-fno-stack-protector", "-mno-stack-arg-probe", "-Wl,--subsystem,10", "-e", "efi_main", "-o", program, "testdata/wimboot.c").CombinedOutput(); err != nil {
		t.Fatalf("build the stand-in for wimboot: %v: %s", err, out)
	}
	if err := os.Rename(program, wimboot); err != nil {
		t.Fatal(err)
	}
	hash, err := sha256File(wimboot)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := p.Run(t.Context(), "assets", "import", wimboot, "--data", p.Data); point.Code(err) != 5 {
		t.Errorf("a program that nobody knows was imported: %v", err)
	}
	if _, err := p.Run(t.Context(), "assets", "import", wimboot, "--trust", hash, "--data", p.Data); err != nil {
		t.Fatal(err)
	}
	source, files := makeWinPE(t, p.Network.Dir)
	if _, err := p.Add(t.Context(), "boot-image", source, "--name", "pe"); err != nil {
		t.Fatal(err)
	}
	serve(t, p, "--dhcp", "server", "--pool", point.Pool, "--chain", "ipxe")
	vm := bootVM(t, p, lab.Machine{Name: "m", Firmware: lab.UEFI})
	must(t, vm, `stand-in: done`)
	said := vm.Output.String()

	h, out := p.Network.Clients[0], filepath.Join(p.Network.Dir, "got.wim")
	own := "http://" + server + ":8080/winpe/efi-x64/" + vmMAC + "/"
	wim := fetch(t, h, out, "curl", "-sS", "--fail", "-o", out, own+"boot.wim")
	if err := image.Verify(t.Context(), out); err != nil {
		t.Error(err)
	}
	wimlib(t, "extract", out, "1", "/castpoint/castagent.exe", "/castpoint/boot.conf", "--to-stdout")
	store := filepath.Join(p.Network.Dir, "store")
	for name, want := range map[string][]byte{
		"boot.wim": wim, "boot.sdi": files["Windows/Boot/DVD/EFI/boot.sdi"],
		"BCD": fetch(t, h, store, "curl", "-sS", "--fail", "-o", store, own+"wimboot.bcd"),
	} {
		if line := fmt.Sprintf("stand-in: %s %d %08x\n", name, len(want), crc32.ChecksumIEEE(want)); !strings.Contains(said, line) {
			t.Errorf("no %q:\n%s", line, vm.Output.Tail(40))
		}
	}
}

func sha256File(path string) (string, error) {
	b, err := os.ReadFile(path)
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:]), err
}
