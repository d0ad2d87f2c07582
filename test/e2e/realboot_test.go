//go:build realboot

// This test needs a file that cannot be part of the repository, so it is built
// and run only by hand (docs/winpe.md).

package e2e

import (
	"flag"
	"fmt"
	"testing"
	"time"

	"castpoint/test/lab"
	"castpoint/test/point"
)

// realWinPE is a WIM with a boot manager that Microsoft signed, and a boot.sdi.
var realWinPE = flag.String("winpe", "", "a WinPE boot.wim to boot with Secure Boot off and on")

// A boot manager that Microsoft signed reads its boot configuration by option
// 252, fetches boot.sdi and the machine's WIM and goes on into it, with Secure
// Boot off and on, with castpoint's addresses and beside another server.
func TestRealBootManager(t *testing.T) {
	if *realWinPE == "" {
		t.Fatal("no boot.wim of Microsoft's given: -winpe FILE")
	}
	for _, firmware := range []lab.Firmware{lab.UEFI, lab.UEFISecure} {
		for _, proxy := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, proxy %v", firmware, proxy), func(t *testing.T) {
				p := newPoint(t, lab.Config{Clients: 1, Offload: true})
				if _, err := p.Add(t.Context(), "boot-image", *realWinPE, "--name", "pe"); err != nil {
					t.Fatal(err)
				}
				args := []string{"--dhcp", "server", "--pool", point.Pool}
				if proxy {
					startDnsmasq(t, p.Network, p.Network.Clients[0])
					args = nil
				}
				serve(t, p, args...)
				vm, err := p.Network.Boot(t.Context(), lab.Machine{Name: "m", Firmware: firmware, Memory: 1024, Display: true})
				if err != nil {
					t.Fatal(err)
				}
				start := time.Now()
				for _, path := range []string{`/BCD`, `Boot/boot\.sdi`, `/boot\.wim`} {
					if _, err := p.Server.Output.WaitFor(t.Context(), `transfer finished.*"path": "[^"]*`+path+`"`, 5*time.Minute); err != nil {
						t.Fatalf("%v; the console:\n%s", err, vm.Output.Tail(20))
					}
				}
				t.Logf("the WIM is there after %.0f s", time.Since(start).Seconds())
			})
		}
	}
}
