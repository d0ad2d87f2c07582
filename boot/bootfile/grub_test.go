package bootfile

import (
	"errors"
	"io"
	"net"
	"strings"
	"testing"

	"castpoint/boot"
	"castpoint/boot/policy"
	"castpoint/boot/source"
	"castpoint/content"
	"castpoint/test/bootable"
)

func TestGRUBFile(t *testing.T) {
	for name, want := range map[string]struct {
		mac, uuid, file string
		arch            boot.Arch
		machine         bool
	}{
		"grub/efi-x64/52-54-00-ab-cd-ef/shimx64.efi":                               {"52:54:00:ab:cd:ef", "", "shimx64.efi", boot.ArchEFIX64, true},
		"grub/efi-x86_64/52:54:00:ab:cd:ef/" + bootable.UUID + "/grub.cfg":         {"52:54:00:ab:cd:ef", bootable.UUID, "grub.cfg", boot.ArchEFIX64, true},
		"GRUB/efi-arm64/" + bootable.UUID + "/grub.cfg":                            {"", bootable.UUID, "grub.cfg", boot.ArchEFIARM64, true},
		"grub/efi-x64/shimx64.efi":                                                 {"", "", "shimx64.efi", boot.ArchEFIX64, true},
		"grub/efi-x64/fonts/unicode.pf2":                                           {"", "", "fonts/unicode.pf2", boot.ArchEFIX64, true},
		"grub/grub.cfg":                                                            {"", "", "grub.cfg", 0, false},
		"grub/x86_64-efi/command.lst":                                              {"", "", "x86_64-efi/command.lst", 0, false},
		"boot/efi-x64/grub.cfg":                                                    {"", "", "efi-x64/grub.cfg", 0, false},
		"grub/efi-x64/52-54-00-ab-cd-ef/52-54-00-ab-cd-ee/" + bootable.UUID + "/x": {"52:54:00:ab:cd:ee", "", bootable.UUID + "/x", boot.ArchEFIX64, true},
	} {
		c, file, machine := grubFile(boot.Client{}, name)
		if c.MAC.String() != want.mac || c.UUID != want.uuid || file != want.file || c.Arch != want.arch || machine != want.machine {
			t.Errorf("%s: %s %q %q %v %v", name, c.MAC, c.UUID, file, c.Arch, machine)
		}
	}
}

func grubLab(t *testing.T, settings *boot.Resolver, loaders ...string) (*policy.Planner, *Space) {
	t.Helper()
	l, err := source.NewLoaders(bootable.LoaderDir(t, loaders...))
	if err != nil {
		t.Fatal(err)
	}
	library := &bootable.Library{}
	library.Add(t, content.Content{ID: "linux", Name: "Linux", Arch: "amd64"}, map[content.Role]string{content.RoleKernel: "k", content.RoleInitrd: "i"})
	p, err := policy.New(policy.Config{Loaders: l, Settings: settings})
	if err != nil {
		t.Fatal(err)
	}
	f, err := New(Config{Loaders: l, Library: library, Settings: settings, KernelArgs: []string{"console=ttyS0"}})
	if err != nil {
		t.Fatal(err)
	}
	return p, f
}

func TestGRUBFiles(t *testing.T) {
	_, f := grubLab(t, bootable.Settings(t, boot.Settings{}, boot.Rule{MAC: net.HardwareAddr{2, 0, 0, 0, 0, 1}, Set: bootable.Change(t, "chain=local")}), bootable.Signed...)
	read := func(name string) string {
		t.Helper()
		file, err := f.Open(t.Context(), name, boot.Client{Server: bootable.Server})
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
		"grub/efi-x64/52-54-00-ab-cd-ef/" + bootable.UUID + "/shimx64.efi": {"shimx64.efi.signed"},
		"grub/efi-x64/shimx64.efi":                   {"shimx64.efi.signed"},
		"grub/efi-x64/52-54-00-ab-cd-ef/GRUBX64.EFI": {"grubnetx64.efi.signed"},
		"grub/grub.cfg":                              {"set own=/grub/$grub_platform-$grub_cpu/$mac\n", "source $own/grub.cfg"},
		"grub/grub.cfg-01-52-54-00-ab-cd-ef":         {"source"},
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
		if file, err := f.Open(t.Context(), name, boot.Client{}); !errors.Is(err, boot.ErrNotFound) {
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
	l, err := source.NewLoaders(bootable.LoaderDir(t, "snponly.efi", "undionly.kpxe"))
	if err != nil {
		t.Fatal(err)
	}
	http := bootable.ClientWithUUID(boot.ArchEFIX64HTTP)
	http.HTTPBoot, http.PXE = true, false
	for name, cfg := range map[string]policy.Config{
		"its chain is local": {Settings: bootable.Settings(t, boot.Settings{Chain: boot.ChainLocal})},
		"no boot image":      {Library: &bootable.Library{}, Idle: boot.Idle{Exit: true}},
	} {
		cfg.Loaders = l
		p, err := policy.New(cfg)
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range []struct {
			client       boot.Client
			serve, local bool
			file         string
		}{
			{bootable.ClientWithUUID(boot.ArchBIOS), true, false, "local.0"},
			{bootable.ClientWithUUID(boot.ArchEFIX64), true, true, ""},
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
