package e2e

import (
	"net/netip"
	"testing"
	"time"

	"castpoint/dhcp"
	"castpoint/dhcp/dhcp6"
	"castpoint/test/lab"
)

// UEFI firmware boots over IPv6, by PXE and by HTTP, with castpoint's addresses
// and with another server's.
func TestUEFIBootsOverIPv6(t *testing.T) {
	for _, c := range []struct {
		name, way     string
		server, share bool
		fetched       string
	}{
		{"PXE, castpoint's addresses", "PXEv6", true, false, `TFTP snponly.efi from \[fd77`},
		{"PXE, beside another server", "PXEv6", false, false, `TFTP snponly.efi from \[fd77`},
		{"PXE, beside another server on the same host", "PXEv6", false, true, `TFTP snponly.efi from \[fd77`},
		{"HTTP, castpoint's addresses", "HTTPv6", true, false, `HTTP GET /snponly.efi from \[fd77`},
		{"HTTP, beside another server", "HTTPv6", false, false, `HTTP GET /snponly.efi from \[fd77`},
	} {
		t.Run(c.name, func(t *testing.T) {
			n, err := lab.New(t.Context(), lab.Config{Clients: 1})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() {
				if err := n.Close(); err != nil {
					t.Error(err)
				}
			})
			withIPv6(t, n.Server, "fd77::1/64")
			s := station{Mode: dhcp.ModeProxy, Interfaces: []string{"eth0"}, IPv6: true}
			switch {
			case c.server:
				s.Mode = dhcp.ModeServer
				// Of another network: nobody boots over IPv4 here.
				s.Pools = []dhcp.Pool{{Network: netip.MustParsePrefix("10.99.0.0/24"), From: netip.MustParseAddr("10.99.0.100"), To: netip.MustParseAddr("10.99.0.120")}}
				s.Pools6 = []dhcp6.Pool{{From: netip.MustParseAddr("fd77::1000"), To: netip.MustParseAddr("fd77::1fff")}}
			case c.share:
				s.Share = true
				dnsmasq(t, n, n.Server, "--interface=eth0", "--enable-ra", "--dhcp-range=fd77::2000,fd77::2fff,64,1h")
			default:
				withIPv6(t, n.Clients[0], "fd77::2/64")
				dnsmasq(t, n, n.Clients[0], "--interface=eth0", "--enable-ra", "--dhcp-range=fd77::2000,fd77::2fff,64,1h")
			}
			p := startStation(t, n.Server, s)
			start := time.Now()
			vm := uefi(t, n, c.way)
			if _, err := p.Output.WaitFor(t.Context(), c.fetched, patience); err != nil {
				t.Fatal(err)
			}
			// The loader came whole: it runs.
			if _, err := vm.Output.WaitFor(t.Context(), `iPXE \d`, patience); err != nil {
				t.Fatal(err)
			}
			t.Logf("iPXE after %.1f s", time.Since(start).Seconds())
			if _, err := p.Output.WaitFor(t.Context(), "client="+stationMAC+` .*uuid=`+stationUUID, time.Second); err != nil {
				t.Error(err)
			}
		})
	}
}
