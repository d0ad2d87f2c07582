package e2e

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"castpoint/internal/lab"
	"castpoint/test/point"
)

// diskSays is what a machine says that has come up from its own disk.
const diskSays = "This is the disk."

// bootSector is a disk that says diskSays: the BIOS loads it to 0000:7C00.
func bootSector(t *testing.T) string {
	t.Helper()
	code := []byte{
		0xfb,       // sti                   ; the serial console needs interrupts
		0x31, 0xc0, // xor ax, ax
		0x8e, 0xd8, // mov ds, ax
		0xbe, 0x1a, 0x7c, // mov si, 0x7c1a   ; the text
		0xfc,       // cld
		0xac,       // again: lodsb
		0x84, 0xc0, // test al, al
		0x74, 0x09, // jz done
		0xb4, 0x0e, // mov ah, 0x0e          ; teletype output
		0xbb, 0x07, 0x00, // mov bx, 7
		0xcd, 0x10, // int 0x10
		0xeb, 0xf2, // jmp again
		0xf4,       // done: hlt
		0xeb, 0xfd, // jmp done
	}
	sector := make([]byte, 1<<20)
	copy(sector, code)
	copy(sector[len(code):], diskSays+"\r\n")
	sector[510], sector[511] = 0x55, 0xaa
	path := filepath.Join(t.TempDir(), "disk")
	if err := os.WriteFile(path, sector, 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

// efiDisk is a disk with an EFI program that says diskSays: a folder that QEMU
// shows as a FAT disk.
func efiDisk(t *testing.T) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "disk")
	if err := os.MkdirAll(filepath.Join(dir, "EFI", "BOOT"), 0o755); err != nil {
		t.Fatal(err)
	}
	grubImage(t, filepath.Join(dir, "EFI", "BOOT", "BOOTX64.EFI"), "x86_64-efi", "echo \""+diskSays+"\"\nsleep 1000\n", "echo", "sleep")
	return "fat:rw:" + dir
}

// grubImage makes a GRUB that runs a script at once.
func grubImage(t *testing.T, out, format, script string, modules ...string) {
	t.Helper()
	config := out + ".cfg"
	if err := os.WriteFile(config, []byte(script), 0o644); err != nil {
		t.Fatal(err)
	}
	defer os.Remove(config)
	args := append([]string{"-O", format, "-o", out, "-p", "/none", "-c", config}, modules...)
	if said, err := exec.CommandContext(t.Context(), "grub-mkimage", args...).CombinedOutput(); err != nil {
		t.Fatalf("grub-mkimage: %v: %s", err, said)
	}
}

// A machine that boots from the network first and has nothing to do there comes
// up from its disk without delay.
func TestLocalBoot(t *testing.T) {
	takesMinutes(t)
	own := []string{"--dhcp", "server", "--pool", point.Pool, "--chain", "local"}
	for _, c := range []struct {
		name     string
		firmware lab.Firmware
		disk     func(*testing.T) string
		dnsmasq  bool     // hands out the addresses
		boot     []string // its arguments for what to boot
		args     []string
		asked    string // in castpoint's log
		says     string // on the screen, before the disk
	}{
		{name: "UEFI", firmware: lab.UEFI, disk: efiDisk, args: own},
		{name: "UEFI beside another DHCP server", firmware: lab.UEFI, disk: efiDisk, dnsmasq: true, args: []string{"--chain", "local"}},
		{name: "UEFI without a boot image", firmware: lab.UEFI, disk: efiDisk, args: []string{"--dhcp", "server", "--pool", point.Pool, "--idle", "disk"}},
		{name: "BIOS with iPXE in the card", firmware: lab.BIOS, disk: bootSector, args: own},
		{
			// iPXE would get a script from castpoint. What another server names it
			// runs as any PXE ROM does.
			name: "BIOS by the program for it", firmware: lab.BIOS, disk: bootSector, dnsmasq: true,
			boot: []string{"--dhcp-boot=local.0,," + server}, args: []string{"--dhcp", "off", "--log-level", "debug"},
			asked: `local\.0`, says: `castpoint: nothing to do here, going on to the disk`,
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := newPoint(t, lab.Config{Clients: 1})
			if c.dnsmasq {
				startDnsmasq(t, p.Network, p.Network.Clients[0], c.boot...)
			}
			serve(t, p, c.args...)
			start := time.Now()
			vm := bootVM(t, p, lab.Machine{Name: "m", Firmware: c.firmware, Disk: c.disk(t)})
			if c.asked == "" {
				c.asked = `dhcp request answered`
			}
			if _, err := p.Server.Output.WaitFor(t.Context(), c.asked, patience); err != nil {
				t.Fatal(err)
			}
			asked := time.Since(start)
			must(t, vm, `(?s)`+c.says+`.*`+diskSays)
			t.Logf("asked after %.1f s, up from the disk %.1f s later", asked.Seconds(), (time.Since(start) - asked).Seconds())
		})
	}
}
