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

	"castpoint/test/lab"
	"castpoint/test/point"
)

// realWinPE is a WIM with a boot manager that Microsoft signed, and a boot.sdi.
var realWinPE = flag.String("winpe", "", "a WinPE boot.wim to boot with Secure Boot off and on")

// realWimboot is iPXE's wimboot, which no Debian package has.
var realWimboot = flag.String("wimboot", "", "iPXE's wimboot, to boot the image by it too")

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
	for _, path := range []string{`wimboot\.bcd`, `boot\.sdi`, `boot\.wim`} {
		if _, err := p.Server.Output.WaitFor(t.Context(), path, 5*time.Minute); err != nil {
			t.Fatalf("%v; the console:\n%s", err, vm.Output.Tail(20))
		}
	}
	if *shots != "" {
		time.Sleep(40 * time.Second) // for a person who looks at the picture
		if err := vm.Screenshot(filepath.Join(*shots, "wimboot.png")); err != nil {
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
					if _, err := p.Server.Output.WaitFor(t.Context(), `transfer finished.*"path": "[^"]*`+path+`"`, 5*time.Minute); err != nil {
						t.Fatalf("%v; the console:\n%s", err, vm.Output.Tail(20))
					}
				}
				if *shots != "" {
					time.Sleep(20 * time.Second) // for a person who looks at the picture
					if err := vm.Screenshot(filepath.Join(*shots, fmt.Sprintf("%s-%s.png", firmware, c.name))); err != nil {
						t.Error(err)
					}
				}
				t.Logf("the WIM is there after %.0f s", time.Since(start).Seconds())
			})
		}
	}
}
