package e2e

import (
	"testing"
	"time"

	"castpoint/internal/lab"
	"castpoint/test/point"
)

// UEFI firmware boots by HTTP (architecture 16) with castpoint's addresses and
// beside another server.
func TestUEFIBootsByHTTP(t *testing.T) {
	for _, proxy := range []bool{false, true} {
		name := "castpoint's own DHCP"
		if proxy {
			name = "beside another DHCP server"
		}
		t.Run(name, func(t *testing.T) {
			p := newPoint(t, lab.Config{Clients: 1})
			if proxy {
				startDnsmasq(t, p.Network, p.Network.Clients[0])
				serve(t, p)
			} else {
				serve(t, p, "--dhcp", "server", "--pool", point.Pool)
			}
			start := time.Now()
			vm := uefi(t, p.Network, "HTTPv4")
			for _, said := range []string{`UEFI x64 HTTP \(16\)`, `http://10\.77\.0\.1:8080/snponly\.efi`} {
				if _, err := p.Server.Output.WaitFor(t.Context(), said, patience); err != nil {
					t.Fatal(err)
				}
			}
			if _, err := vm.Output.WaitFor(t.Context(), `iPXE \d`, patience); err != nil {
				t.Fatal(err)
			}
			t.Logf("iPXE after %.1f s", time.Since(start).Seconds())
		})
	}
}
