//go:build realboot

// This test needs a file that cannot be part of the repository, so it is built
// and run only by hand (docs/winpe.md).

package e2e

import (
	"flag"
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"castpoint/internal/lab"
	"castpoint/test/point"
)

// realWinPE is a WIM with a boot manager that Microsoft signed, and a boot.sdi.
var realWinPE = flag.String("winpe", "", "a WinPE boot.wim to boot with Secure Boot off and on")

// realWimboot is iPXE's wimboot, which no Debian package has.
var realWimboot = flag.String("wimboot", "", "iPXE's wimboot, to boot the image by it too")

// arm64Loaders has Debian's shim and GRUB for ARM64: what is in the packages
// shim-signed and grub-efi-arm64-signed of that architecture, in one folder.
var arm64Loaders = flag.String("arm64-loaders", "", "`FOLDER` with shimaa64.efi.signed and grubnetaa64.efi.signed")

// arm64Boot is what castpoint bootenv build --arch arm64 made.
var arm64Boot = flag.String("arm64-bootenv", "", "`FOLDER` with vmlinuz and initrd for ARM64")

// shots is a folder for pictures of screens.
var shots = flag.String("shots", "", "`FOLDER` for pictures of the machines' screens")

// iPXE and wimboot fetch the machine's boot configuration, boot.sdi and WIM by HTTP
// and start the boot manager that is in it.
func TestRealWimboot(t *testing.T) {
	if *realWinPE == "" || *realWimboot == "" {
		t.Fatal("want a boot.wim of Microsoft's and wimboot: -winpe FILE -wimboot FILE")
	}
	p := newPoint(t, lab.Config{Clients: 1, Offload: true})
	if _, err := p.Add(t.Context(), "boot-image", *realWinPE, "--name", "pe"); err != nil {
		t.Fatal(err)
	}
	if _, err := p.Run(t.Context(), "assets", "import", *realWimboot, "--data", p.Data); err != nil {
		t.Fatal(err)
	}
	serve(t, p, "--dhcp", "server", "--pool", point.Pool, "--chain", "ipxe")
	vm, err := p.Network.Boot(t.Context(), lab.Machine{Name: "m", Firmware: lab.UEFI, Memory: 1024, Display: true})
	if err != nil {
		t.Fatal(err)
	}
	for _, says := range []string{`found BCD`, `Using boot\.sdi`, `found WIM file boot\.wim`, `Loaded BOOTX64\.EFI`} {
		if _, err := vm.Output.WaitFor(t.Context(), says, 5*time.Minute); err != nil {
			t.Fatalf("%v; the console:\n%s", err, vm.Output.Tail(20))
		}
	}
	if *shots != "" {
		time.Sleep(40 * time.Second) // for a person who looks at the picture
		if err := vm.Screenshot(filepath.Join(*shots, "wimboot.ppm")); err != nil {
			t.Error(err)
		}
	}
}

// A boot manager that Microsoft signed reads its boot configuration by option
// 252, fetches boot.sdi and the machine's WIM and goes on into it, with Secure
// Boot off and on, with castpoint's addresses and beside another server.
func TestRealBootManager(t *testing.T) {
	if *realWinPE == "" {
		t.Fatal("no boot.wim of Microsoft's given: -winpe FILE")
	}
	for _, firmware := range []lab.Firmware{lab.UEFI, lab.UEFISecure} {
		for _, c := range []struct {
			name        string
			proxy, ipxe bool
		}{{"server", false, false}, {"proxy", true, false}, {"iPXE in the card", false, true}} {
			t.Run(fmt.Sprintf("%s, %s", firmware, c.name), func(t *testing.T) {
				p := newPoint(t, lab.Config{Clients: 1, Offload: true})
				if _, err := p.Add(t.Context(), "boot-image", *realWinPE, "--name", "pe"); err != nil {
					t.Fatal(err)
				}
				args := []string{"--dhcp", "server", "--pool", point.Pool}
				if c.proxy {
					startDnsmasq(t, p.Network, p.Network.Clients[0])
					args = nil
				}
				serve(t, p, args...)
				vm, err := p.Network.Boot(t.Context(), lab.Machine{Name: "m", Firmware: firmware, Memory: 1024, Display: true, IPXE: c.ipxe})
				if err != nil {
					t.Fatal(err)
				}
				start := time.Now()
				for _, path := range []string{`/BCD`, `Boot/boot\.sdi`, `/boot\.wim`} {
					if _, err := p.Server.Output.WaitFor(t.Context(), `transfer finished.*"file": "[^"]*`+path+`"`, 5*time.Minute); err != nil {
						t.Fatalf("%v; the console:\n%s", err, vm.Output.Tail(20))
					}
				}
				if *shots != "" {
					time.Sleep(20 * time.Second) // for a person who looks at the picture
					if err := vm.Screenshot(filepath.Join(*shots, fmt.Sprintf("%s-%s.ppm", firmware, c.name))); err != nil {
						t.Error(err)
					}
				}
				t.Logf("the WIM is there after %.0f s", time.Since(start).Seconds())
			})
		}
	}
}

// ARM64 firmware boots Linux by shim and GRUB, as x64 firmware does. It needs the
// packages qemu-system-arm and qemu-efi-aarch64.
func TestRealARM64(t *testing.T) {
	if *arm64Loaders == "" || *arm64Boot == "" {
		t.Fatal("want loaders and a boot environment: -arm64-loaders FOLDER -arm64-bootenv FOLDER")
	}
	p := newPoint(t, lab.Config{Offload: true})
	if _, err := p.Add(t.Context(), "boot-image", "--kernel", filepath.Join(*arm64Boot, "vmlinuz"),
		"--initrd", filepath.Join(*arm64Boot, "initrd"), "--arch", "arm64", "--name", "linux"); err != nil {
		t.Fatal(err)
	}
	serve(t, p, "--dhcp", "server", "--pool", point.Pool, "--loaders", *arm64Loaders, "--kernel-args", "console=ttyAMA0")
	start := time.Now()
	vm := bootVM(t, p, lab.Machine{Name: "m", Firmware: lab.UEFIARM64, Memory: 1024})
	for _, says := range []string{`NBP filename is grub/efi-arm64/\S+/shimaa64\.efi`, `boot image: linux`, `Loading the initramfs`, `boot environment, kernel \S+ on aarch64`, `starting the agent`} {
		if _, err := vm.Output.WaitFor(t.Context(), says, 8*time.Minute); err != nil {
			t.Fatalf("%v; the console:\n%s", err, vm.Output.Tail(20))
		}
		t.Logf("after %.0f s: %s", time.Since(start).Seconds(), says)
	}
}
