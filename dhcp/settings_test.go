package dhcp

import (
	"bytes"
	"encoding/json"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"castpoint/boot"

	"github.com/google/go-cmp/cmp"
)

// settingsPlan has everything but 32-bit firmware, and scripts by MAC.
type settingsPlan struct{}

func (settingsPlan) Plan(c boot.Client) boot.Plan {
	if c.Arch == boot.ArchEFIIA32 {
		return boot.Plan{Reason: "No first stage for UEFI IA32 (6)."}
	}
	p := goldenPlan(c)
	if c.IPXE {
		p.File = "http://10.77.0.1:8080/script/" + c.MACHyphen() + ".ipxe"
	}
	return p
}

func written(t *testing.T, product string) string {
	t.Helper()
	var b bytes.Buffer
	if err := WriteSettings(&b, product, ExternalSettings(settingsPlan{}, netip.MustParseAddr("10.77.0.1"))); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func TestSettingsGolden(t *testing.T) {
	for _, product := range []string{ProductKea, ProductDnsmasq, ProductWindows} {
		t.Run(product, func(t *testing.T) {
			got := written(t, product)
			path := filepath.Join("testdata", "settings", product+".golden")
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

// A script's URL holds the device's MAC; another DHCP server cannot put it
// there, iPXE can.
func TestSettingsLeaveTheMACToIPXE(t *testing.T) {
	for _, s := range ExternalSettings(settingsPlan{}, netip.MustParseAddr("10.77.0.1")) {
		if s.IPXE && s.Missing == "" && s.File != "http://10.77.0.1:8080/script/${mac:hexhyp}.ipxe" {
			t.Errorf("%s: file %q", s.Name, s.File)
		}
	}
}

func TestKeaSettingsAreJSON(t *testing.T) {
	_, body, found := strings.Cut(written(t, ProductKea), "{")
	if !found {
		t.Fatal("no object")
	}
	var v map[string]any
	if err := json.Unmarshal([]byte("{"+body), &v); err != nil {
		t.Error(err)
	}
}

func TestDnsmasqAcceptsItsSettings(t *testing.T) {
	dnsmasq, err := exec.LookPath("dnsmasq")
	if err != nil {
		t.Fatal("install dnsmasq-base: ", err)
	}
	path := filepath.Join(t.TempDir(), "dnsmasq.conf")
	if err := os.WriteFile(path, []byte("dhcp-range=10.77.0.50,10.77.0.60\n"+written(t, ProductDnsmasq)), 0o644); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command(dnsmasq, "--test", "--conf-file="+path).CombinedOutput(); err != nil {
		t.Errorf("dnsmasq --test: %v\n%s", err, out)
	}
}

func TestUnknownProduct(t *testing.T) {
	if err := WriteSettings(&bytes.Buffer{}, "bind", nil); err == nil || !strings.Contains(err.Error(), "bind") {
		t.Errorf("error %v", err)
	}
}
