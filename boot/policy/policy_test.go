package policy

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"castpoint/boot"
	"castpoint/boot/source"
	"castpoint/test/bootable"
)

func testLoaders(t *testing.T, names ...string) *source.Loaders {
	t.Helper()
	l, err := source.NewLoaders(bootable.LoaderDir(t, names...))
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func testPolicy(t *testing.T, cfg Config, names ...string) *Planner {
	t.Helper()
	if cfg.Loaders == nil {
		cfg.Loaders = testLoaders(t, names...)
	}
	p, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestPlan(t *testing.T) {
	all := []string{
		"undionly.kpxe", "snponly.efi", "ipxe.efi", "arm64/snponly.efi", "ipxe-i386.efi",
	}
	with := func(c boot.Client, f func(*boot.Client)) boot.Client { f(&c); return c }
	tests := []struct {
		name    string
		client  boot.Client
		loaders []string
		want    boot.Plan // Reason holds a part of the sentence
	}{
		{"BIOS", bootable.Client(boot.ArchBIOS), all,
			boot.Plan{Serve: true, File: "undionly.kpxe", Reason: "BIOS x86 (0) firmware boots by TFTP"}},
		{"BIOS without option 93", with(bootable.Client(0), func(c *boot.Client) { c.HasArch = false }), all,
			boot.Plan{Serve: true, File: "undionly.kpxe", Reason: "BIOS x86 (0)"}},
		{"architecture from the vendor class", with(bootable.Client(0), func(c *boot.Client) {
			c.HasArch, c.VendorClass = false, "PXEClient:Arch:00007:UNDI:003016"
		}), all, boot.Plan{Serve: true, File: "snponly.efi", Reason: "UEFI x64 (7)"}},
		{"no option 97", with(bootable.Client(boot.ArchEFIX64), func(c *boot.Client) { c.UUID = "" }), all,
			boot.Plan{Serve: true, File: "snponly.efi", Reason: "UEFI x64 (7)"}},
		{"UEFI x64 as 9", bootable.Client(boot.ArchEFIBC), all,
			boot.Plan{Serve: true, File: "snponly.efi", Reason: "(9)"}},
		{"UEFI x64, only ipxe.efi there", bootable.Client(boot.ArchEFIX64), []string{"ipxe.efi"},
			boot.Plan{Serve: true, File: "ipxe.efi", Reason: "ipxe.efi"}},
		{"UEFI IA32", bootable.Client(boot.ArchEFIIA32), all,
			boot.Plan{Serve: true, File: "ipxe-i386.efi", Reason: "UEFI IA32 (6)"}},
		{"UEFI ARM64 in a sub-folder", bootable.Client(boot.ArchEFIARM64), all,
			boot.Plan{Serve: true, File: "arm64/snponly.efi", Reason: "UEFI ARM64 (11)"}},
		{"UEFI ARM64 by suffix", bootable.Client(boot.ArchEFIARM64), []string{"snponly.efi", "ipxe-arm64.efi"},
			boot.Plan{Serve: true, File: "ipxe-arm64.efi", Reason: "UEFI ARM64 (11)"}},
		{"HTTP boot x64", with(bootable.Client(boot.ArchEFIX64HTTP), func(c *boot.Client) { c.PXE, c.HTTPBoot = false, true }), all,
			boot.Plan{Serve: true, File: "http://192.0.2.10:8080/snponly.efi", HTTPClient: true, Reason: "boots by HTTP"}},
		{"HTTP boot ARM64", with(bootable.Client(boot.ArchEFIARM64HTTP), func(c *boot.Client) { c.PXE, c.HTTPBoot = false, true }), all,
			boot.Plan{Serve: true, File: "http://192.0.2.10:8080/arm64/snponly.efi", HTTPClient: true, Reason: "boots by HTTP"}},
		{"HTTP boot with a PXE architecture", with(bootable.Client(boot.ArchEFIX64), func(c *boot.Client) { c.PXE, c.HTTPBoot = false, true }), all,
			boot.Plan{Serve: true, File: "http://192.0.2.10:8080/snponly.efi", HTTPClient: true, Reason: "boots by HTTP"}},
		{"HTTP boot over IPv6", with(bootable.Client(boot.ArchEFIX64HTTP), func(c *boot.Client) {
			c.PXE, c.HTTPBoot, c.Server = false, true, netip.MustParseAddr("2001:db8::1")
		}), all, boot.Plan{Serve: true, File: "http://[2001:db8::1]:8080/snponly.efi", HTTPClient: true, Reason: "HTTP"}},
		{"iPXE on BIOS", with(bootable.Client(boot.ArchBIOS), func(c *boot.Client) { c.IPXE = true }), all,
			boot.Plan{Serve: true, File: "http://192.0.2.10:8080/ipxe/bios/52-54-00-ab-cd-ef", Reason: "iPXE is running"}},
		{"iPXE with both identities", with(bootable.Client(boot.ArchEFIX64), func(c *boot.Client) { c.IPXE, c.UUID = true, bootable.UUID }), all,
			boot.Plan{Serve: true, File: "http://192.0.2.10:8080/ipxe/efi-x64/52-54-00-ab-cd-ef/" + bootable.UUID, Reason: "iPXE"}},
		{"iPXE without a MAC", with(bootable.Client(boot.ArchEFIX64), func(c *boot.Client) { c.IPXE, c.UUID, c.MAC = true, bootable.UUID, nil }), all,
			boot.Plan{Serve: true, File: "http://192.0.2.10:8080/ipxe/efi-x64/" + bootable.UUID, Reason: "iPXE"}},
		{"iPXE that also claims HTTP boot", with(bootable.Client(boot.ArchEFIX64HTTP), func(c *boot.Client) { c.IPXE, c.HTTPBoot = true, true }), all,
			boot.Plan{Serve: true, File: "http://192.0.2.10:8080/ipxe/efi-x64/52-54-00-ab-cd-ef", Reason: "iPXE"}},
		{"iPXE of an unknown architecture", with(bootable.Client(99), func(c *boot.Client) { c.IPXE = true }), nil,
			boot.Plan{Serve: true, File: "http://192.0.2.10:8080/ipxe/52-54-00-ab-cd-ef", Reason: "iPXE"}},
		{"iPXE without any identity", with(bootable.Client(boot.ArchEFIX64), func(c *boot.Client) { c.IPXE, c.MAC = true, nil }), all,
			boot.Plan{Reason: "neither a hardware address nor a UUID"}},
		{"unknown architecture", bootable.Client(99), all,
			boot.Plan{Reason: "Castpoint has no first stage for architecture (99)"}},
		{"no loader", bootable.Client(boot.ArchEFIX64), []string{"undionly.kpxe"},
			boot.Plan{Reason: "snponly.efi or ipxe.efi not found in "}},
		{"not a boot request", boot.Client{MAC: bootable.MAC, Server: bootable.Server}, all,
			boot.Plan{Reason: "not a network boot request"}},
		{"interface without an address", with(bootable.Client(boot.ArchEFIX64), func(c *boot.Client) { c.Server = netip.Addr{} }), all,
			boot.Plan{Reason: `Interface "eth0" has no address`}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := testPolicy(t, Config{}, tt.loaders...).Plan(tt.client)
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
	p := testPolicy(t, Config{}, "undionly.kpxe", "snponly.efi", "arm64/snponly.efi")
	for arch := range boot.Arch(64) {
		for bits := range 8 {
			c := bootable.Client(arch)
			c.IPXE, c.HTTPBoot, c.PXE, c.HasArch = true, bits&1 != 0, bits&2 != 0, bits&4 != 0
			plan := p.Plan(c)
			if !plan.Serve || !strings.Contains(plan.File, "/ipxe/") || plan.HTTPClient {
				t.Fatalf("%+v: plan %+v, want the script", c, plan)
			}
		}
	}
}

func TestPlanSaysWhatIsMissing(t *testing.T) {
	dir := bootable.LoaderDir(t)
	l, err := source.NewLoaders(dir)
	if err != nil {
		t.Fatal(err)
	}
	plan := testPolicy(t, Config{Loaders: l}).Plan(bootable.Client(boot.ArchBIOS))
	for _, want := range []string{"undionly.kpxe", dir, "install the ipxe package or set --loaders DIR"} {
		if plan.Serve || !strings.Contains(plan.Reason, want) {
			t.Errorf("plan %+v does not name %q", plan, want)
		}
	}
}

func TestPlanOverrides(t *testing.T) {
	p := testPolicy(t, Config{
		HTTPPort: 8888,
		Firmware: map[boot.Arch]boot.Firmware{
			boot.ArchEFIX64:      {Machine: boot.MachineEFIX64, Loaders: []string{"snponly-shimx64.efi"}},
			boot.ArchRaspberryPi: {Machine: boot.MachineARM64, Loaders: []string{"rpi.bin"}},
			boot.ArchEFIIA32:     {},
		},
		Device: func(c boot.Client) (boot.Plan, bool) {
			return boot.Plan{Reason: "Denied."}, c.UUID == bootable.UUID
		},
	}, "snponly-shimx64.efi", "snponly.efi", "rpi.bin")
	if plan := p.Plan(bootable.Client(boot.ArchEFIX64)); plan.File != "snponly-shimx64.efi" {
		t.Errorf("shim: %+v", plan)
	}
	if plan := p.Plan(bootable.Client(boot.ArchRaspberryPi)); plan.File != "rpi.bin" {
		t.Errorf("added architecture: %+v", plan)
	}
	if plan := p.Plan(bootable.Client(boot.ArchEFIIA32)); plan.Serve {
		t.Errorf("architecture switched off: %+v", plan)
	}
	c := bootable.Client(boot.ArchEFIX64)
	c.UUID = bootable.UUID
	if plan := p.Plan(c); plan.Serve || plan.Reason != "Denied." {
		t.Errorf("device rule: %+v", plan)
	}
}

func TestNewPlannerRefuses(t *testing.T) {
	l := testLoaders(t)
	for name, cfg := range map[string]Config{
		"no loaders":  {},
		"port":        {Loaders: l, HTTPPort: 70000},
		"loader path": {Loaders: l, Firmware: map[boot.Arch]boot.Firmware{7: {Loaders: []string{"../x.efi"}}}},
	} {
		if _, err := New(cfg); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}
