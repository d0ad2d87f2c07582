package boot

import (
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"testing"

	"castpoint/content"
)

func TestGRUBFile(t *testing.T) {
	for name, want := range map[string]struct {
		mac, uuid, file string
		arch            Arch
		machine         bool
	}{
		"grub/efi-x64/52-54-00-ab-cd-ef/shimx64.efi":                          {"52:54:00:ab:cd:ef", "", "shimx64.efi", ArchEFIX64, true},
		"grub/efi-x86_64/52:54:00:ab:cd:ef/" + testUUID + "/grub.cfg":         {"52:54:00:ab:cd:ef", testUUID, "grub.cfg", ArchEFIX64, true},
		"GRUB/efi-arm64/" + testUUID + "/grub.cfg":                            {"", testUUID, "grub.cfg", ArchEFIARM64, true},
		"grub/efi-x64/shimx64.efi":                                            {"", "", "shimx64.efi", ArchEFIX64, true},
		"grub/efi-x64/fonts/unicode.pf2":                                      {"", "", "fonts/unicode.pf2", ArchEFIX64, true},
		"grub/grub.cfg":                                                       {"", "", "grub.cfg", 0, false},
		"grub/x86_64-efi/command.lst":                                         {"", "", "x86_64-efi/command.lst", 0, false},
		"boot/efi-x64/grub.cfg":                                               {"", "", "efi-x64/grub.cfg", 0, false},
		"grub/efi-x64/52-54-00-ab-cd-ef/52-54-00-ab-cd-ee/" + testUUID + "/x": {"52:54:00:ab:cd:ee", "", testUUID + "/x", ArchEFIX64, true},
	} {
		c, file, machine := grubFile(Client{}, name)
		if c.MAC.String() != want.mac || c.UUID != want.uuid || file != want.file || c.Arch != want.arch || machine != want.machine {
			t.Errorf("%s: %s %q %q %v %v", name, c.MAC, c.UUID, file, c.Arch, machine)
		}
	}
}

func grubLab(t *testing.T, settings *Resolver, loaders ...string) (*Policy, *Files) {
	t.Helper()
	l, err := NewLoaders(loaderDir(t, loaders...))
	if err != nil {
		t.Fatal(err)
	}
	library := &fakeLibrary{}
	library.add(t, content.Content{ID: "linux", Name: "Linux", Arch: "amd64"}, map[content.Role]string{content.RoleKernel: "k", content.RoleInitrd: "i"})
	p, err := NewPlanner(PlannerConfig{Loaders: l, Settings: settings})
	if err != nil {
		t.Fatal(err)
	}
	f, err := NewFiles(FilesConfig{Loaders: l, Library: library, Settings: settings, KernelArgs: []string{"console=ttyS0"}})
	if err != nil {
		t.Fatal(err)
	}
	return p, f
}

var signed = []string{"shimx64.efi.signed", "grubnetx64.efi.signed", "mmx64.efi.signed"}

func TestGRUBPlan(t *testing.T) {
	grub := testResolver(t, Settings{Chain: ChainGRUB})
	http := pxeClient(ArchEFIX64HTTP)
	http.HTTPBoot, http.PXE = true, false
	folder := "grub/efi-x64/52-54-00-ab-cd-ef/" + testUUID
	for _, c := range []struct {
		name     string
		settings *Resolver
		loaders  []string
		client   Client
		file     string
		reason   string
		ask      bool
	}{
		{"asked for", grub, append([]string{"snponly.efi"}, signed...), pxeClient(ArchEFIX64), folder + "/shimx64.efi", "shim, which starts GRUB", false},
		{"nothing else is there", nil, signed, pxeClient(ArchEFIX64), folder + "/shimx64.efi", "shim", false},
		{"iPXE is there", nil, append([]string{"snponly.efi"}, signed...), pxeClient(ArchEFIX64), "snponly.efi", "first stage", false},
		{"shim is missing", grub, signed[1:], pxeClient(ArchEFIX64), "", "shimx64.efi.signed or shimx64.efi, which is not in", false},
		{"GRUB is missing", grub, signed[:1], pxeClient(ArchEFIX64), "", "grubnetx64.efi.signed or", false},
		{"BIOS", grub, signed, pxeClient(ArchBIOS), "", "no shim for BIOS", false},
		{"GRUB without HTTP", grub, signed, http, "", "cannot read by HTTP", false},
		{"asks", testResolver(t, Settings{Chain: ChainGRUB, Ask: true}), signed, pxeClient(ArchEFIX64), folder + "/shimx64.efi", "shim", true},
	} {
		p, _ := grubLab(t, c.settings, c.loaders...)
		plan := p.Plan(c.client)
		if plan.File != c.file || !strings.Contains(plan.Reason, c.reason) || plan.Serve != (c.file != "") || plan.Ask != c.ask {
			t.Errorf("%s: %+v", c.name, plan)
		}
	}
	p, _ := grubLab(t, grub, signed...)
	path, _ := p.loaders.Find(signed[1])
	if err := os.WriteFile(path, []byte("GET %s HTTP/1.1\r\nHost:"), 0o600); err != nil {
		t.Fatal(err)
	}
	if plan := p.Plan(http); plan.File != "http://192.0.2.10:8080/"+folder+"/shimx64.efi" || !plan.HTTPClient {
		t.Errorf("GRUB with HTTP: %+v", plan)
	}
	p.settings = testResolver(t, Settings{Chain: ChainGRUB, Ask: true})
	if plan := p.Plan(http); plan.File != "http://192.0.2.10:8080/nothing-to-do.efi" || !strings.Contains(plan.Reason, "no menu") {
		t.Errorf("GRUB with HTTP that is to ask: %+v", plan)
	}
}

func TestGRUBFiles(t *testing.T) {
	_, f := grubLab(t, testResolver(t, Settings{}, Rule{MAC: net.HardwareAddr{2, 0, 0, 0, 0, 1}, Set: mustChange(t, "chain=local")}), signed...)
	read := func(name string) string {
		t.Helper()
		file, err := f.Open(t.Context(), name, Client{Server: testServer})
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		defer file.Close()
		b, err := io.ReadAll(io.NewSectionReader(file, 0, file.Size))
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	for name, parts := range map[string][]string{
		"grub/efi-x64/52-54-00-ab-cd-ef/" + testUUID + "/shimx64.efi": {"shimx64.efi.signed"},
		"grub/efi-x64/shimx64.efi":                                    {"shimx64.efi.signed"},
		"grub/efi-x64/52-54-00-ab-cd-ef/GRUBX64.EFI":                  {"grubnetx64.efi.signed"},
		"grub/grub.cfg":                      {"set own=/grub/$grub_platform-$grub_cpu/$mac\n", "source $own/grub.cfg"},
		"grub/grub.cfg-01-52-54-00-ab-cd-ef": {"source"},
		"grub/efi-x86_64/52:54:00:ab:cd:ef/grub.cfg": {
			"if linux $from/boot/linux/vmlinuz castpoint.mac=52:54:00:ab:cd:ef", "console=ttyS0", "initrd $from/boot/linux/initrd",
			"(http,192.0.2.10:8080)", "sleep 30",
		},
		"grub/efi-arm64/52:54:00:ab:cd:ef/grub.cfg": {"nothing to boot", "No boot image in the library is for arm64"},
		"grub/efi-x64/02-00-00-00-00-01/grub.cfg":   {"going on to the disk", "exit 1"},
	} {
		text := read(name)
		for _, part := range parts {
			if !strings.Contains(text, part) {
				t.Errorf("%s lacks %q:\n%s", name, part, text)
			}
		}
		if strings.Contains(text, "initrd=") {
			t.Errorf("%s has iPXE's word for the initramfs:\n%s", name, text)
		}
	}
	for _, name := range []string{"grub/efi-x64/fbx64.efi", "grub/x86_64-efi/fs.lst", "grub/grub.cfg-C0A8", "grub", "grub/efi-x64/grub.cfg", "grub/efi-x64/52-54-00-ab-cd-ef/x"} {
		if file, err := f.Open(t.Context(), name, Client{}); !errors.Is(err, ErrNotFound) {
			t.Errorf("%s: %v, %v", name, file, err)
		}
	}
	for name, want := range map[string]bool{
		"grub/x86_64-efi/fs.lst": true, "grub/efi-x64/a/revocations_sku.efi": true, "grub/efi-x64/grub.cfg": true,
		"grub/efi-x64/grubx64.efi": false, "boot/fs.lst": false,
	} {
		if Ordinary(name) != want {
			t.Errorf("%s: ordinary %v", name, !want)
		}
	}
}

func TestLocal(t *testing.T) {
	l, err := NewLoaders(loaderDir(t, "snponly.efi", "undionly.kpxe"))
	if err != nil {
		t.Fatal(err)
	}
	http := pxeClient(ArchEFIX64HTTP)
	http.HTTPBoot, http.PXE = true, false
	for name, cfg := range map[string]PlannerConfig{
		"its chain is local": {Settings: testResolver(t, Settings{Chain: ChainLocal})},
		"no boot image":      {Library: &fakeLibrary{}, Idle: Idle{Exit: true}},
	} {
		cfg.Loaders = l
		p, err := NewPlanner(cfg)
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range []struct {
			client       Client
			serve, local bool
			file         string
		}{
			{pxeClient(ArchBIOS), true, false, "local.0"},
			{pxeClient(ArchEFIX64), true, true, ""},
			{http, true, false, "http://192.0.2.10:8080/nothing-to-do.efi"},
		} {
			if plan := p.Plan(c.client); plan.Serve != c.serve || plan.Local != c.local || plan.File != c.file || !strings.Contains(strings.ToLower(plan.Reason), name) {
				t.Errorf("%s, %s: %+v", name, c.client, plan)
			}
		}
	}
	b := localProgram()
	if len(b) > 512 || b[len(b)-1] != 0 || !strings.HasSuffix(string(b), localMessage) {
		t.Errorf("% x", b)
	}
	// The text begins where the program looks for it: behind the return.
	if next := 8; string(b[next+int(b[11]):]) != localMessage {
		t.Errorf("the text is not at %d", next+int(b[11]))
	}
}
