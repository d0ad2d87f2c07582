package boot

import (
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

var (
	testMAC    = net.HardwareAddr{0x52, 0x54, 0x00, 0xab, 0xcd, 0xef}
	testServer = netip.MustParseAddr("192.0.2.10")
)

const testUUID = "4c4c4544-0034-4410-8052-b4c04f4d3132"

// loaderDir makes a loader folder with these files; a file's content is its
// own name.
func loaderDir(t testing.TB, names ...string) string {
	t.Helper()
	dir := t.TempDir()
	for _, n := range names {
		p := filepath.Join(dir, filepath.FromSlash(n))
		if err := os.MkdirAll(filepath.Dir(p), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(p, []byte(n), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func testLoaders(t *testing.T, names ...string) *Loaders {
	t.Helper()
	l, err := NewLoaders(loaderDir(t, names...))
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func testPolicy(t *testing.T, cfg PlannerConfig, names ...string) *Policy {
	t.Helper()
	if cfg.Loaders == nil {
		cfg.Loaders = testLoaders(t, names...)
	}
	p, err := NewPlanner(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// firmware is a PXE client of that architecture.
func firmware(a Arch) Client {
	return Client{MAC: testMAC, PXE: true, Arch: a, HasArch: true, Server: testServer, Interface: "eth0"}
}

func TestPlan(t *testing.T) {
	all := []string{
		"undionly.kpxe", "snponly.efi", "ipxe.efi", "arm64/snponly.efi", "ipxe-i386.efi",
	}
	with := func(c Client, f func(*Client)) Client { f(&c); return c }
	tests := []struct {
		name    string
		client  Client
		loaders []string
		want    Plan // Reason holds a part of the sentence
	}{
		{"BIOS", firmware(ArchBIOS), all,
			Plan{Serve: true, File: "undionly.kpxe", Reason: "BIOS x86 (0) firmware boots by TFTP"}},
		{"BIOS without option 93", with(firmware(0), func(c *Client) { c.HasArch = false }), all,
			Plan{Serve: true, File: "undionly.kpxe", Reason: "BIOS x86 (0)"}},
		{"architecture from the vendor class", with(firmware(0), func(c *Client) {
			c.HasArch, c.VendorClass = false, "PXEClient:Arch:00007:UNDI:003016"
		}), all, Plan{Serve: true, File: "snponly.efi", Reason: "UEFI x64 (7)"}},
		{"no option 97", with(firmware(ArchEFIX64), func(c *Client) { c.UUID = "" }), all,
			Plan{Serve: true, File: "snponly.efi", Reason: "UEFI x64 (7)"}},
		{"UEFI x64 as 9", firmware(ArchEFIBC), all,
			Plan{Serve: true, File: "snponly.efi", Reason: "(9)"}},
		{"UEFI x64, only ipxe.efi there", firmware(ArchEFIX64), []string{"ipxe.efi"},
			Plan{Serve: true, File: "ipxe.efi", Reason: "ipxe.efi"}},
		{"UEFI IA32", firmware(ArchEFIIA32), all,
			Plan{Serve: true, File: "ipxe-i386.efi", Reason: "UEFI IA32 (6)"}},
		{"UEFI ARM64 in a sub-folder", firmware(ArchEFIARM64), all,
			Plan{Serve: true, File: "arm64/snponly.efi", Reason: "UEFI ARM64 (11)"}},
		{"UEFI ARM64 by suffix", firmware(ArchEFIARM64), []string{"snponly.efi", "ipxe-arm64.efi"},
			Plan{Serve: true, File: "ipxe-arm64.efi", Reason: "UEFI ARM64 (11)"}},
		{"HTTP boot x64", with(firmware(ArchEFIX64HTTP), func(c *Client) { c.PXE, c.HTTPBoot = false, true }), all,
			Plan{Serve: true, File: "http://192.0.2.10:8080/snponly.efi", HTTPClient: true, Reason: "boots by HTTP"}},
		{"HTTP boot ARM64", with(firmware(ArchEFIARM64HTTP), func(c *Client) { c.PXE, c.HTTPBoot = false, true }), all,
			Plan{Serve: true, File: "http://192.0.2.10:8080/arm64/snponly.efi", HTTPClient: true, Reason: "boots by HTTP"}},
		{"HTTP boot with a PXE architecture", with(firmware(ArchEFIX64), func(c *Client) { c.PXE, c.HTTPBoot = false, true }), all,
			Plan{Serve: true, File: "http://192.0.2.10:8080/snponly.efi", HTTPClient: true, Reason: "boots by HTTP"}},
		{"HTTP boot over IPv6", with(firmware(ArchEFIX64HTTP), func(c *Client) {
			c.PXE, c.HTTPBoot, c.Server = false, true, netip.MustParseAddr("2001:db8::1")
		}), all, Plan{Serve: true, File: "http://[2001:db8::1]:8080/snponly.efi", HTTPClient: true, Reason: "HTTP"}},
		{"iPXE on BIOS", with(firmware(ArchBIOS), func(c *Client) { c.IPXE = true }), all,
			Plan{Serve: true, File: "http://192.0.2.10:8080/ipxe/bios/52-54-00-ab-cd-ef", Reason: "iPXE is running"}},
		{"iPXE with both identities", with(firmware(ArchEFIX64), func(c *Client) { c.IPXE, c.UUID = true, testUUID }), all,
			Plan{Serve: true, File: "http://192.0.2.10:8080/ipxe/efi-x64/52-54-00-ab-cd-ef/" + testUUID, Reason: "iPXE"}},
		{"iPXE without a MAC", with(firmware(ArchEFIX64), func(c *Client) { c.IPXE, c.UUID, c.MAC = true, testUUID, nil }), all,
			Plan{Serve: true, File: "http://192.0.2.10:8080/ipxe/efi-x64/" + testUUID, Reason: "iPXE"}},
		{"iPXE that also claims HTTP boot", with(firmware(ArchEFIX64HTTP), func(c *Client) { c.IPXE, c.HTTPBoot = true, true }), all,
			Plan{Serve: true, File: "http://192.0.2.10:8080/ipxe/efi-x64/52-54-00-ab-cd-ef", Reason: "iPXE"}},
		{"iPXE of an unknown architecture", with(firmware(99), func(c *Client) { c.IPXE = true }), nil,
			Plan{Serve: true, File: "http://192.0.2.10:8080/ipxe/52-54-00-ab-cd-ef", Reason: "iPXE"}},
		{"iPXE without any identity", with(firmware(ArchEFIX64), func(c *Client) { c.IPXE, c.MAC = true, nil }), all,
			Plan{Reason: "neither a hardware address nor a UUID"}},
		{"unknown architecture", firmware(99), all,
			Plan{Reason: "Castpoint has no first stage for architecture (99)"}},
		{"no loader", firmware(ArchEFIX64), []string{"undionly.kpxe"},
			Plan{Reason: "snponly.efi or ipxe.efi not found in "}},
		{"not a boot request", Client{MAC: testMAC, Server: testServer}, all,
			Plan{Reason: "not a network boot request"}},
		{"interface without an address", with(firmware(ArchEFIX64), func(c *Client) { c.Server = netip.Addr{} }), all,
			Plan{Reason: `Interface "eth0" has no address`}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := testPolicy(t, PlannerConfig{}, tt.loaders...).Plan(tt.client)
			if !strings.Contains(got.Reason, tt.want.Reason) {
				t.Errorf("reason = %q, want it to contain %q", got.Reason, tt.want.Reason)
			}
			if !strings.HasSuffix(got.Reason, ".") {
				t.Errorf("reason %q is not a sentence", got.Reason)
			}
			if got.Serve && tt.want.Serve {
				tt.want.NextServer = tt.client.Server
			}
			got.Reason, tt.want.Reason = "", ""
			if d := cmp.Diff(tt.want, got, cmp.Comparer(func(a, b netip.Addr) bool { return a == b })); d != "" {
				t.Errorf("plan (-want +got):\n%s", d)
			}
		})
	}
}

// No client that says it is iPXE may ever be given a first stage, whatever
// else it says: it would load itself for ever.
func TestPlanNeverLoops(t *testing.T) {
	p := testPolicy(t, PlannerConfig{}, "undionly.kpxe", "snponly.efi", "arm64/snponly.efi")
	for arch := range Arch(64) {
		for bits := range 8 {
			c := firmware(arch)
			c.IPXE, c.HTTPBoot, c.PXE, c.HasArch = true, bits&1 != 0, bits&2 != 0, bits&4 != 0
			plan := p.Plan(c)
			if !plan.Serve || !strings.Contains(plan.File, "/ipxe/") || plan.HTTPClient {
				t.Fatalf("%+v: plan %+v, want the script", c, plan)
			}
		}
	}
}

func TestPlanFindsLoaderInstalledLater(t *testing.T) {
	dir := loaderDir(t)
	l, err := NewLoaders(dir)
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	l.now = func() time.Time { return now }
	p := testPolicy(t, PlannerConfig{Loaders: l})
	plan := p.Plan(firmware(ArchBIOS))
	for _, want := range []string{"undionly.kpxe", dir, "install the ipxe package or set --loaders DIR"} {
		if !strings.Contains(plan.Reason, want) {
			t.Errorf("reason %q does not name %q", plan.Reason, want)
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "undionly.kpxe"), []byte("x"), 0o644); err != nil {
		t.Fatal(err)
	}
	now = now.Add(loaderRescan)
	if plan := p.Plan(firmware(ArchBIOS)); plan.File != "undionly.kpxe" {
		t.Errorf("after installing: %+v", plan)
	}
	if err := os.Remove(filepath.Join(dir, "undionly.kpxe")); err != nil {
		t.Fatal(err)
	}
	if plan := p.Plan(firmware(ArchBIOS)); plan.Serve {
		t.Errorf("after removing: %+v", plan)
	}
}

func TestPlanOverrides(t *testing.T) {
	p := testPolicy(t, PlannerConfig{
		HTTPPort: 8888,
		Firmware: map[Arch]Firmware{
			ArchEFIX64:      {Machine: MachineEFIX64, Loaders: []string{"snponly-shimx64.efi"}},
			ArchRaspberryPi: {Machine: MachineARM64, Loaders: []string{"rpi.bin"}},
			ArchEFIIA32:     {},
		},
		Device: func(c Client) (Plan, bool) {
			return Plan{Reason: "Denied."}, c.UUID == testUUID
		},
	}, "snponly-shimx64.efi", "snponly.efi", "rpi.bin")
	if plan := p.Plan(firmware(ArchEFIX64)); plan.File != "snponly-shimx64.efi" {
		t.Errorf("shim: %+v", plan)
	}
	if plan := p.Plan(firmware(ArchRaspberryPi)); plan.File != "rpi.bin" {
		t.Errorf("added architecture: %+v", plan)
	}
	if plan := p.Plan(firmware(ArchEFIIA32)); plan.Serve {
		t.Errorf("architecture switched off: %+v", plan)
	}
	c := firmware(ArchEFIX64)
	c.UUID = testUUID
	if plan := p.Plan(c); plan.Serve || plan.Reason != "Denied." {
		t.Errorf("device rule: %+v", plan)
	}
}

func TestNewPlannerRefuses(t *testing.T) {
	l := testLoaders(t)
	for name, cfg := range map[string]PlannerConfig{
		"no loaders":  {},
		"port":        {Loaders: l, HTTPPort: 70000},
		"loader path": {Loaders: l, Firmware: map[Arch]Firmware{7: {Loaders: []string{"../x.efi"}}}},
	} {
		if _, err := NewPlanner(cfg); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

func TestLoaders(t *testing.T) {
	a := loaderDir(t, "SNPonly.EFI", "arm64/snponly.efi", "EFI/Microsoft/Boot/Fonts/wgl4_boot.ttf", "1/2/3/4/5/6/7/far.efi")
	b := loaderDir(t, "snponly.efi", "only-b.efi")
	if err := os.Symlink(filepath.Join(b, "only-b.efi"), filepath.Join(a, "link.efi")); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(a, filepath.Join(a, "loop")); err != nil {
		t.Fatal(err)
	}
	l, err := NewLoaders(a, b, filepath.Join(a, "not-there-yet"))
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{
		"snponly.efi":                            filepath.Join(a, "SNPonly.EFI"),
		"ARM64/SnpOnly.efi":                      filepath.Join(a, "arm64/snponly.efi"),
		"only-b.efi":                             filepath.Join(b, "only-b.efi"),
		"efi/MICROSOFT/boot/Fonts/WGL4_boot.ttf": filepath.Join(a, "EFI/Microsoft/Boot/Fonts/wgl4_boot.ttf"),
		"link.efi":                               filepath.Join(a, "link.efi"),
	} {
		if got, ok := l.Find(name); !ok || got != want {
			t.Errorf("%s: got %q %v, want %q", name, got, ok, want)
		}
	}
	for _, name := range []string{"arm64", "", "no.efi", "1/2/3/4/5/6/7/far.efi"} {
		if got, ok := l.Find(name); ok {
			t.Errorf("%q: found %q", name, got)
		}
	}
	if _, err := NewLoaders(filepath.Join(a, "SNPonly.EFI")); err == nil {
		t.Error("a file was accepted as a folder")
	}
}
