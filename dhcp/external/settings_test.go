package external

import (
	"bytes"
	"encoding/json"
	"flag"
	"maps"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"castpoint/boot"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "write the golden settings")

// settingsPlan has everything but 32-bit firmware, and scripts by MAC.
type settingsPlan struct{}

func (settingsPlan) Plan(c boot.Client) boot.Plan {
	if c.Arch == boot.ArchEFIIA32 {
		return boot.Plan{Reason: "No first stage for UEFI IA32 (6)."}
	}
	p := boot.Plan{Serve: true, NextServer: c.Server, Reason: "known machine"}
	switch {
	case c.IPXE:
		p.File = "http://10.77.0.1:8080/script/" + c.MACHyphen() + ".ipxe"
	case c.HTTPBoot:
		p.File, p.HTTPClient = "http://10.77.0.1:8080/x64/bootmgfw.efi", true
	case c.Arch == boot.ArchEFIARM64:
		p.File, p.BCDPath = "arm64/bootmgfw.efi", `\Boot\525400000001.bcd`
	case c.Arch == boot.ArchRaspberryPi:
		p.File = "rpi/RPI_EFI.fd"
	case c.Arch == boot.ArchBIOS:
		p.File = "bios/pxeboot.n12"
	default:
		p.File, p.BCDPath = "x64/bootmgfw.efi", `\Boot\525400000001.bcd`
	}
	return p
}

// settingsServers are castpoint's addresses for either family, by the ending of
// the golden file.
func settingsServers() map[string]netip.Addr {
	return map[string]netip.Addr{"": netip.MustParseAddr("10.77.0.1"), "6": netip.MustParseAddr("fd77::1")}
}

func written(t *testing.T, product string, server netip.Addr) string {
	t.Helper()
	var b bytes.Buffer
	if err := Write(&b, product, Settings(settingsPlan{}, server)); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func TestSettingsGolden(t *testing.T) {
	for _, product := range []string{ProductKea, ProductDnsmasq, ProductWindows} {
		for family, server := range settingsServers() {
			t.Run(product+family, func(t *testing.T) {
				got := written(t, product, server)
				path := filepath.Join("testdata", "settings", product+family+".golden")
				if *update {
					if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
						t.Fatal(err)
					}
				}
				want, err := os.ReadFile(path)
				if err != nil {
					t.Fatalf("%v; run go test -update", err)
				}
				if diff := cmp.Diff(string(want), got); diff != "" {
					t.Errorf("settings differ (-want +got):\n%s", diff)
				}
			})
		}
	}
}

// A script's URL holds the device's MAC; another DHCP server cannot put it
// there, iPXE can.
func TestSettingsLeaveTheMACToIPXE(t *testing.T) {
	for _, s := range Settings(settingsPlan{}, netip.MustParseAddr("10.77.0.1")) {
		if s.IPXE && s.Missing == "" && s.File != "http://10.77.0.1:8080/script/${mac:hexhyp}.ipxe" {
			t.Errorf("%s: file %q", s.Name, s.File)
		}
	}
}

// tool finds a program of PATH, or one that test/install-tools unpacked.
func tool(t *testing.T, name string) string {
	t.Helper()
	for _, path := range []string{name, filepath.Join("..", "..", "bin", "peers", "bin", name)} {
		if found, err := exec.LookPath(path); err == nil {
			return found
		}
	}
	t.Fatalf("no %s: run test/install-tools", name)
	return ""
}

// The programs themselves read their settings.
func TestKeaAcceptsItsSettings(t *testing.T) {
	for family, rest := range map[string]string{
		"":  `"subnet4": [{"id": 1, "subnet": "10.77.0.0/24", "pools": [{"pool": "10.77.0.50 - 10.77.0.60"}]}]`,
		"6": `"subnet6": [{"id": 1, "subnet": "fd77::/64", "pools": [{"pool": "fd77::50 - fd77::60"}]}]`,
	} {
		program := "kea-dhcp4"
		if family == "6" {
			program = "kea-dhcp6"
		}
		_, object, found := strings.Cut(written(t, ProductKea, settingsServers()[family]), "{\n")
		if !found {
			t.Fatal("no object")
		}
		var whole map[string]map[string]json.RawMessage
		if err := json.Unmarshal([]byte("{"+object), &whole); err != nil {
			t.Fatal(err)
		}
		var more map[string]json.RawMessage
		if err := json.Unmarshal([]byte("{"+rest+`, "lease-database": {"type": "memfile", "persist": false}}`), &more); err != nil {
			t.Fatal(err)
		}
		for _, inner := range whole {
			maps.Copy(inner, more)
		}
		text, err := json.Marshal(whole)
		if err != nil {
			t.Fatal(err)
		}
		dir := t.TempDir()
		path := filepath.Join(dir, "kea.conf")
		if err := os.WriteFile(path, text, 0o644); err != nil {
			t.Fatal(err)
		}
		c := exec.Command(tool(t, program), "-t", path)
		c.Env = append(os.Environ(), "KEA_PIDFILE_DIR="+dir, "KEA_LOCKFILE_DIR="+dir, "KEA_LOGGER_DESTINATION=stdout")
		out, err := c.CombinedOutput()
		if err != nil || strings.Contains(string(out), "ERROR") {
			t.Errorf("%s -t: %v\n%s", program, err, out)
		}
	}
}

func TestDnsmasqAcceptsItsSettings(t *testing.T) {
	for family, pool := range map[string]string{"": "10.77.0.50,10.77.0.60", "6": "fd77::50,fd77::60,64"} {
		path := filepath.Join(t.TempDir(), "dnsmasq.conf")
		if err := os.WriteFile(path, []byte("dhcp-range="+pool+"\n"+written(t, ProductDnsmasq, settingsServers()[family])), 0o644); err != nil {
			t.Fatal(err)
		}
		if out, err := exec.Command(tool(t, "dnsmasq"), "--test", "--conf-file="+path).CombinedOutput(); err != nil {
			t.Errorf("dnsmasq --test: %v\n%s", err, out)
		}
	}
}

// A wrong loader name in the other server's settings is what people report most
// [ventoy/PXE#17, #59].
func TestSettingsAreWhole(t *testing.T) {
	server := netip.MustParseAddr("10.77.0.1")
	for _, s := range Settings(settingsPlan{}, server) {
		if s.Missing == "" && (s.File == "" || s.NextServer != server) {
			t.Errorf("%+v", s)
		}
	}
}

func TestUnknownProduct(t *testing.T) {
	if err := Write(&bytes.Buffer{}, "bind", nil); err == nil || !strings.Contains(err.Error(), "bind") {
		t.Errorf("error %v", err)
	}
}
