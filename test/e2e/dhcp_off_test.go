package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"
	"github.com/insomniacslk/dhcp/dhcpv6"
	"github.com/insomniacslk/dhcp/iana"

	"castpoint/internal/lab"
	"castpoint/test/point"
)

// solicit6 asks for an address and a boot file as UEFI firmware of that
// architecture does, and returns the first answer, nil when none comes.
func solicit6(t *testing.T, h *lab.Host, arch iana.Arch, class string) *dhcpv6.Message {
	t.Helper()
	m := &dhcpv6.Message{MessageType: dhcpv6.MessageTypeSolicit, TransactionID: dhcpv6.TransactionID{7, byte(arch), 1}}
	m.AddOption(dhcpv6.OptClientID(&dhcpv6.DUIDLL{HWType: iana.HWTypeEthernet, LinkLayerAddr: h.MAC}))
	m.AddOption(&dhcpv6.OptIANA{IaId: [4]byte{1, 2, 3, 4}})
	m.AddOption(dhcpv6.OptElapsedTime(0))
	m.AddOption(dhcpv6.OptRequestedOption(dhcpv6.OptionBootfileURL, dhcpv6.OptionBootfileParam))
	m.AddOption(dhcpv6.OptClientArchType(arch))
	m.AddOption(&dhcpv6.OptVendorClass{EnterpriseNumber: 343, Data: [][]byte{[]byte(class)}})
	var answer *dhcpv6.Message
	err := h.Do(func() error {
		config := net.ListenConfig{Control: func(_, _ string, raw syscall.RawConn) error {
			return raw.Control(func(fd uintptr) { _ = syscall.BindToDevice(int(fd), "eth0") })
		}}
		c, err := config.ListenPacket(context.Background(), "udp6", "[::]:546")
		if err != nil {
			return err
		}
		defer c.Close()
		if _, err := c.WriteTo(m.ToBytes(), net.UDPAddrFromAddrPort(netip.MustParseAddrPort("[ff02::1:2%eth0]:547"))); err != nil {
			return err
		}
		if err := c.SetReadDeadline(time.Now().Add(5 * time.Second)); err != nil {
			return err
		}
		buf := make([]byte, 2048)
		n, _, err := c.ReadFrom(buf)
		if err != nil {
			return err
		}
		answer, err = dhcpv6.MessageFromBytes(buf[:n])
		return err
	})
	if err != nil {
		t.Errorf("SOLICIT for %s: %v", arch, err)
	}
	return answer
}

// peer is a program of PATH, or one that test/install-tools unpacked.
func peer(t *testing.T, name string) string {
	t.Helper()
	for _, path := range []string{name, filepath.Join("..", "..", "bin", "peers", "bin", name)} {
		if found, err := exec.LookPath(path); err == nil {
			found, err = filepath.Abs(found)
			if err == nil {
				return found
			}
		}
	}
	t.Fatalf("no %s: run test/install-tools", name)
	return ""
}

// startForeign runs a DHCP server with the settings that castpoint wrote for it.
func startForeign(t *testing.T, p *point.Point, h *lab.Host, product, text string, v6 bool) {
	t.Helper()
	n := p.Network
	if product == "dnsmasq" {
		file := filepath.Join(n.Dir, "castpoint.conf")
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		args := []string{"--interface=eth0", "--no-ping", "--conf-file=" + file}
		if v6 {
			args = append(args, "--enable-ra", "--dhcp-range=fd77::2000,fd77::2fff,64,1h")
		} else {
			args = append(args, "--dhcp-range=10.77.0.200,10.77.0.240,1h")
		}
		dnsmasq(t, n, h, args...)
		return
	}
	family, program := "4", "kea-dhcp4"
	more := `{"subnet4": [{"id": 1, "subnet": "10.77.0.0/24", "pools": [{"pool": "10.77.0.200 - 10.77.0.240"}]}]`
	if v6 {
		family, program = "6", "kea-dhcp6"
		more = `{"subnet6": [{"id": 1, "interface": "eth0", "subnet": "fd77::/64", "pools": [{"pool": "fd77::2000 - fd77::2fff"}]}], "data-directory": "` + n.Dir + `"`
	}
	more += `, "interfaces-config": {"interfaces": ["eth0"]}, "lease-database": {"type": "memfile", "persist": false},
		"loggers": [{"name": "kea-dhcp` + family + `", "severity": "INFO", "output_options": [{"output": "stdout"}]}]}`
	_, object, _ := strings.Cut(text, "{\n")
	var whole map[string]map[string]json.RawMessage
	var added map[string]json.RawMessage
	if err := json.Unmarshal([]byte("{"+object), &whole); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal([]byte(more), &added); err != nil {
		t.Fatal(err)
	}
	maps.Copy(whole["Dhcp"+family], added)
	b, err := json.Marshal(whole)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(n.Dir, program+".conf")
	if err := os.WriteFile(file, b, 0o644); err != nil {
		t.Fatal(err)
	}
	proc, err := h.Start(lab.Command{Args: []string{peer(t, program), "-c", file}, Env: []string{
		"KEA_PIDFILE_DIR=" + n.Dir, "KEA_LOCKFILE_DIR=" + n.Dir}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("%s said:\n%s", program, proc.Output.Tail(30))
		}
	})
	if _, err := proc.Output.WaitFor(t.Context(), "DHCP"+family+"_STARTED", 20*time.Second); err != nil {
		t.Fatal(err)
	}
}

// bootFile is the name in the header, which a Windows boot manager reads alone,
// else, for what does not fit there, the one in option 67.
func bootFile(p *dhcpv4.DHCPv4) string {
	if p.BootFileName != "" {
		return p.BootFileName
	}
	return p.BootFileNameOption()
}

// With dhcp off the network's own server says what castpoint would say, by the
// lines that castpoint dhcp settings prints.
func TestOtherServersWithCastpointsSettings(t *testing.T) {
	for _, product := range []string{"dnsmasq", "kea"} {
		for _, server := range []string{"10.77.0.1", "fd77::1"} {
			t.Run(fmt.Sprint(product, " ", server), func(t *testing.T) {
				p := newPoint(t, lab.Config{Clients: 2})
				v6 := strings.Contains(server, ":")
				if v6 {
					withIPv6(t, p.Network.Server, "fd77::1/64")
					withIPv6(t, p.Network.Clients[0], "fd77::2/64")
					withIPv6(t, p.Network.Clients[1], "fd77::3/64")
				}
				serve(t, p, "--dhcp", "off")
				text, err := p.Run(t.Context(), "dhcp", "settings", product, "--address", server, "--data", p.Data)
				if err != nil {
					t.Fatal(err)
				}
				startForeign(t, p, p.Network.Clients[0], product, text, v6)
				if v6 {
					for arch, want := range map[iana.Arch]string{7: "tftp://[fd77::1]/snponly.efi", 16: "http://[fd77::1]:8080/snponly.efi"} {
						class := map[iana.Arch]string{7: "PXEClient:Arch:00007:UNDI:003016", 16: "HTTPClient:Arch:00016:UNDI:003001"}[arch]
						m := solicit6(t, p.Network.Clients[1], arch, class)
						if m == nil {
							continue
						}
						classes := fmt.Sprintf("%q", m.Options.VendorClasses())
						if m.Options.BootFileURL() != want || strings.Contains(classes, "HTTPClient") != (arch == 16) {
							t.Errorf("architecture %d: URL %q, classes %s", arch, m.Options.BootFileURL(), classes)
						}
					}
					sh(t, p.Network.Clients[1], "curl -sSf -o /dev/null 'tftp://[fd77::1]/snponly.efi'")
					return
				}
				a := newAsker(t, p.Network.Clients[1])
				offer := a.first(t, a.message(t, dhcpv4.MessageTypeDiscover, true), 5*time.Second, nil)
				if offer == nil || bootFile(offer) != "snponly.efi" || offer.ServerIPAddr.String() != server {
					t.Errorf("to PXE: %v", offer)
				}
				http := a.as(1).message(t, dhcpv4.MessageTypeDiscover, true)
				http.UpdateOption(dhcpv4.OptClientArch(16))
				http.UpdateOption(dhcpv4.OptClassIdentifier("HTTPClient:Arch:00016:UNDI:003001"))
				if offer := a.first(t, http, 5*time.Second, nil); offer == nil || offer.ClassIdentifier() != "HTTPClient" ||
					bootFile(offer) != "http://10.77.0.1:8080/snponly.efi" {
					t.Errorf("to HTTP boot: %v", offer)
				}
				ipxe := a.as(2).message(t, dhcpv4.MessageTypeDiscover, true)
				ipxe.UpdateOption(dhcpv4.OptGeneric(dhcpv4.OptionUserClassInformation, []byte("iPXE")))
				if offer := a.first(t, ipxe, 5*time.Second, nil); offer == nil || !strings.Contains(bootFile(offer), "${mac:hexhyp}") {
					t.Errorf("to iPXE: %v", offer)
				}
			})
		}
	}
}
