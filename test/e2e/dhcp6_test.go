package e2e

import (
	"strings"
	"testing"
	"time"

	"castpoint/internal/lab"
	"castpoint/test/point"
)

// UEFI firmware boots over IPv6, by PXE and by HTTP, with castpoint's addresses
// and with another server's.
func TestUEFIBootsOverIPv6(t *testing.T) {
	const tftpLog, httpLog = `transfer finished.*snponly\.efi`, `boot file by http.*fd77.*snponly\.efi`
	for _, c := range []struct {
		name, way  string
		own, share bool // castpoint gives addresses; the other server is on its host
		log        string
	}{
		{"PXE, castpoint's addresses", "PXEv6", true, false, tftpLog},
		{"PXE, beside another server", "PXEv6", false, false, tftpLog},
		{"PXE, beside another server on the same host", "PXEv6", false, true, tftpLog},
		{"HTTP, castpoint's addresses", "HTTPv6", true, false, httpLog},
		{"HTTP, beside another server", "HTTPv6", false, false, httpLog},
		{"HTTP, off, another server with castpoint's settings", "HTTPv6", false, false, httpLog},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := newPoint(t, lab.Config{Clients: 2})
			n := p.Network
			withIPv6(t, n.Server, "fd77::1/64")
			args := []string{"--dhcp6", "--log-level", "debug"}
			off := strings.Contains(c.name, "off,")
			if off {
				args = []string{"--dhcp", "off", "--log-level", "debug"}
			}
			switch {
			case off: // below: the server that runs says the settings
			case c.own:
				// The IPv4 pool is of another network: nobody boots over IPv4 here.
				args = append(args, "--dhcp", "server", "--pool", "10.99.0.100-10.99.0.120/24", "--pool6", "fd77::1000-fd77::1fff")
			case c.share:
				args = append(args, "--share")
				dnsmasq(t, n, n.Server, "--interface=eth0", "--enable-ra", "--dhcp-range=fd77::2000,fd77::2fff,64,1h")
			default:
				withIPv6(t, n.Clients[0], "fd77::2/64")
				dnsmasq(t, n, n.Clients[0], "--interface=eth0", "--enable-ra", "--dhcp-range=fd77::2000,fd77::2fff,64,1h")
			}
			if c.way == "HTTPv6" {
				// The firmware tries HTTP over IPv4 first. An answer that leads
				// nowhere ends that sooner than silence.
				dnsmasq(t, n, n.Clients[1], "--interface=eth0", "--dhcp-range=10.77.0.200,10.77.0.240,1h",
					"--dhcp-boot=http://10.77.0.12:9/none.efi", "--dhcp-option-force=60,HTTPClient")
			}
			serve(t, p, args...)
			if off {
				text, err := p.Run(t.Context(), "dhcp", "settings", "dnsmasq", "--address", "fd77::1", "--data", p.Data)
				if err != nil {
					t.Fatal(err)
				}
				withIPv6(t, n.Clients[0], "fd77::2/64")
				startForeign(t, p, n.Clients[0], "dnsmasq", text, true)
			}
			start := time.Now()
			vm := uefi(t, n, c.way)
			_, err := p.Server.Output.WaitFor(t.Context(), c.log, patience/2)
			if err != nil {
				// EDK2 waits some seconds for its neighbours and for port 4011, and
				// then goes on to its next way to boot: too short for a machine that
				// is emulated on a busy host, so it is switched on once more.
				t.Logf("once more: %v", err)
				vm.Kill()
				vm = uefi(t, n, c.way)
				_, err = p.Server.Output.WaitFor(t.Context(), c.log, patience)
			}
			if err != nil {
				t.Fatal(err)
			}
			// The loader came whole: it runs.
			if _, err := vm.Output.WaitFor(t.Context(), `iPXE \d`, patience); err != nil {
				t.Fatal(err)
			}
			t.Logf("iPXE after %.1f s", time.Since(start).Seconds())
			if off {
				return
			}
			said := `dhcp request answered.*` + uefiMAC + `.*"uuid": "` + uefiUUID + `".*"asked": "SOLICIT".*"answer": "(ADVERTISE|REPLY)"`
			if _, err := p.Server.Output.WaitFor(t.Context(), said, time.Second); err != nil {
				t.Error(err)
			}
		})
	}
}

// Another DHCPv6 server on the segment is said once, with its address, though
// clients name servers by DUID only.
func TestOtherDHCPv6ServerIsNoticed(t *testing.T) {
	p := newPoint(t, lab.Config{Clients: 1})
	withIPv6(t, p.Network.Server, "fd77::1/64")
	withIPv6(t, p.Network.Clients[0], "fd77::2/64")
	other := strings.TrimSpace(sh(t, p.Network.Clients[0], "ip -6 -o addr show dev eth0 scope link | sed 's/.*inet6 //; s,/.*,,'"))
	dnsmasq(t, p.Network, p.Network.Clients[0], "--interface=eth0", "--dhcp-range=fd77::2000,fd77::2fff,64,1h")
	for mode, args := range map[string][]string{
		`INFO.*dhcpv6 server seen.*"server": "`:                            {"--dhcp6"},
		`WARN.*another DHCPv6 server gives addresses on this.*"server": "`: {"--dhcp6", "--dhcp", "server", "--pool", point.Pool, "--pool6", "fd77::1000-fd77::1fff"},
	} {
		serve(t, p, args...)
		if _, err := p.Server.Output.WaitFor(t.Context(), mode+other+`"`, 10*time.Second); err != nil {
			t.Error(err)
		}
		status, err := p.Run(t.Context(), "status", "--data", p.Data, "--json")
		if err != nil || !strings.Contains(status, other) || !strings.Contains(status, "DHCPv6 server") {
			t.Errorf("status %v does not have %s:\n%s", err, other, status)
		}
		if n := strings.Count(p.Server.Output.String(), other); n != 1 {
			t.Errorf("said %d times", n)
		}
		if code, err := p.Server.Stop(); err != nil || code != 0 {
			t.Errorf("ended with %d, %v", code, err)
		}
	}
}
