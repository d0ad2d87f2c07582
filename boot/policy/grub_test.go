package policy

import (
	"os"
	"strings"
	"testing"

	"castpoint/boot"
	"castpoint/test/bootable"
)

func TestGRUBPlan(t *testing.T) {
	grub := bootable.Settings(t, boot.Settings{Chain: boot.ChainGRUB})
	http := bootable.ClientWithUUID(boot.ArchEFIX64HTTP)
	http.HTTPBoot, http.PXE = true, false
	folder := "grub/efi-x64/52-54-00-ab-cd-ef/" + bootable.UUID
	for _, c := range []struct {
		name     string
		settings *boot.Resolver
		loaders  []string
		client   boot.Client
		file     string
		reason   string
		ask      bool
	}{
		{"asked for", grub, append([]string{"snponly.efi"}, bootable.Signed...), bootable.ClientWithUUID(boot.ArchEFIX64), folder + "/shimx64.efi", "shim, which starts GRUB", false},
		{"nothing else is there", nil, bootable.Signed, bootable.ClientWithUUID(boot.ArchEFIX64), folder + "/shimx64.efi", "shim", false},
		{"iPXE is there", nil, append([]string{"snponly.efi"}, bootable.Signed...), bootable.ClientWithUUID(boot.ArchEFIX64), "snponly.efi", "first stage", false},
		{"shim is missing", grub, bootable.Signed[1:], bootable.ClientWithUUID(boot.ArchEFIX64), "", "shimx64.efi.signed or shimx64.efi, which is not in", false},
		{"GRUB is missing", grub, bootable.Signed[:1], bootable.ClientWithUUID(boot.ArchEFIX64), "", "grubnetx64.efi.signed or", false},
		{"BIOS", grub, bootable.Signed, bootable.ClientWithUUID(boot.ArchBIOS), "", "no shim for BIOS", false},
		{"GRUB without HTTP", grub, bootable.Signed, http, "", "cannot read by HTTP", false},
		{"asks", bootable.Settings(t, boot.Settings{Chain: boot.ChainGRUB, Ask: true}), bootable.Signed, bootable.ClientWithUUID(boot.ArchEFIX64), folder + "/shimx64.efi", "shim", true},
	} {
		p := testPolicy(t, Config{Settings: c.settings}, c.loaders...)
		plan := p.Plan(c.client)
		if plan.File != c.file || !strings.Contains(plan.Reason, c.reason) || plan.Serve != (c.file != "") || plan.Ask != c.ask {
			t.Errorf("%s: %+v", c.name, plan)
		}
	}
	p := testPolicy(t, Config{Settings: grub}, bootable.Signed...)
	path, _ := p.loaders.Find(bootable.Signed[1])
	if err := os.WriteFile(path, []byte("GET %s HTTP/1.1\r\nHost:"), 0o600); err != nil {
		t.Fatal(err)
	}
	if plan := p.Plan(http); plan.File != "http://192.0.2.10:8080/"+folder+"/shimx64.efi" || !plan.HTTPClient {
		t.Errorf("GRUB with HTTP: %+v", plan)
	}
	p.settings = bootable.Settings(t, boot.Settings{Chain: boot.ChainGRUB, Ask: true})
	if plan := p.Plan(http); plan.File != "http://192.0.2.10:8080/nothing-to-do.efi" || !strings.Contains(plan.Reason, "no menu") {
		t.Errorf("GRUB with HTTP that is to ask: %+v", plan)
	}
}

// Where iPXE's shim is, it is the first stage of UEFI machines whose chain it is,
// and nothing is for BIOS.
func TestIPXEShimPlan(t *testing.T) {
	p := testPolicy(t, Config{Settings: bootable.Settings(t, boot.Settings{Chain: boot.ChainIPXEShim})}, "x86_64-sb/snponly-shim.efi")
	if plan := p.Plan(bootable.ClientWithUUID(boot.ArchEFIX64)); plan.File != "x86_64-sb/snponly-shim.efi" {
		t.Errorf("%+v", plan)
	}
	if plan := p.Plan(bootable.ClientWithUUID(boot.ArchBIOS)); plan.Serve {
		t.Errorf("%+v", plan)
	}
}
