package bootfile

import (
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"castpoint/boot"
	"castpoint/boot/policy"
	"castpoint/boot/source"
	"castpoint/content"
	"castpoint/test/bootable"
)

// TestRecords: what a machine's record makes of its plan and of its script.
func TestRecords(t *testing.T) {
	dir := bootable.LoaderDir(t, append([]string{"undionly.kpxe", "snponly.efi", "own.efi", "snponly-shimx64.efi"}, bootable.Signed...)...)
	var record boot.Record
	look := func(boot.Client) boot.Record { return record }
	chain := boot.ChainAuto
	settings, err := boot.NewResolver(boot.ResolverConfig{Device: func(boot.Client) boot.Change {
		if chain == boot.ChainAuto {
			return boot.Change{}
		}
		c, err := boot.ParseChange([]string{"chain=" + string(chain)})
		if err != nil {
			t.Fatal(err)
		}
		return c
	}})
	if err != nil {
		t.Fatal(err)
	}
	loaders, err := source.NewLoaders(dir)
	if err != nil {
		t.Fatal(err)
	}
	p, err := policy.New(policy.Config{Loaders: loaders, Settings: settings, Record: look})
	if err != nil {
		t.Fatal(err)
	}
	f, err := New(Config{Loaders: loaders, Settings: settings, Record: look})
	if err != nil {
		t.Fatal(err)
	}
	mac, _ := net.ParseMAC("52:54:00:12:34:56")
	c := boot.Client{MAC: mac, Arch: boot.ArchEFIX64, HasArch: true, PXE: true, Server: netip.MustParseAddr("192.0.2.1")}
	for _, tt := range []struct {
		name   string
		record boot.Record
		chain  boot.Chain
		serve  bool
		reason string
		script []string
		never  string // in the script
	}{
		{"silent", boot.Record{Silent: "it is ignored"}, boot.ChainAuto, false, "It is ignored", []string{"it is ignored"}, "approve"},
		{"denied", boot.Record{Silent: "device x is denied", Denied: true}, boot.ChainAuto, false, "is denied", []string{"This machine was denied", "exit 1"}, "goto again"},
		{"waiting", boot.Record{Waiting: true, Name: "pc-17"}, boot.ChainAuto, true, "waits for approval", []string{"waiting for approval", "name: pc-17", "device approve 52-54-00-12-34-56", "52-54-00-12-34-56", "chain --replace"}, "exit"},
		{"waiting, iPXE allowed", boot.Record{Waiting: true}, boot.ChainIPXE, true, "waits for approval", nil, "name:"},
		{"waiting, and the chain is signed", boot.Record{Waiting: true}, boot.ChainWindows, false, "cannot show that", nil, ""},
		{"waiting, GRUB", boot.Record{Waiting: true}, boot.ChainGRUB, true, "it gets shim", nil, ""},
		{"waiting, iPXE's shim", boot.Record{Waiting: true}, boot.ChainIPXEShim, true, "snponly-shimx64.efi", nil, ""},
		{"loader", boot.Record{Loader: "own.efi"}, boot.ChainAuto, true, "own.efi", nil, "approval"},
		{"loader missing", boot.Record{Loader: "gone.efi"}, boot.ChainAuto, false, "gone.efi not found", nil, ""},
	} {
		record, chain = tt.record, tt.chain
		plan := p.Plan(c)
		if plan.Serve != tt.serve || !strings.Contains(plan.Reason, tt.reason) {
			t.Errorf("%s: %+v", tt.name, plan)
		}
		if general := p.General().Plan(c); tt.chain == boot.ChainAuto && !general.Serve {
			t.Errorf("%s: the record counts in general: %+v", tt.name, general)
		}
		file, err := f.Open(t.Context(), "ipxe/efi-x64/52-54-00-12-34-56", boot.Client{Server: c.Server})
		if err != nil {
			t.Fatal(err)
		}
		text := make([]byte, file.Size)
		if _, err := file.ReadAt(text, 0); err != nil {
			t.Fatal(err)
		}
		for _, want := range tt.script {
			if !strings.Contains(string(text), want) {
				t.Errorf("%s: no %q in\n%s", tt.name, want, text)
			}
		}
		if tt.never != "" && strings.Contains(string(text), tt.never) {
			t.Errorf("%s: %q in\n%s", tt.name, tt.never, text)
		}
	}
}

// A machine on the way over GRUB is told that it waits, and asks again until it is
// approved; then it boots.
func TestWaitingInGRUB(t *testing.T) {
	l, err := source.NewLoaders(bootable.LoaderDir(t, bootable.Signed...))
	if err != nil {
		t.Fatal(err)
	}
	library := &bootable.Library{}
	library.Add(t, content.Content{ID: "linux", Name: "Linux", Arch: "amd64"}, bootable.Linux)
	record := boot.Record{Waiting: true}
	f, err := New(Config{
		Loaders: l, Library: library, Settings: bootable.Settings(t, boot.Settings{Chain: boot.ChainGRUB}),
		Record: func(boot.Client) boot.Record { return record }, Idle: boot.Idle{Exit: true, Wait: time.Second},
	})
	if err != nil {
		t.Fatal(err)
	}
	const name = "grub/efi-x64/52-54-00-ab-cd-ef/grub.cfg"
	script, _ := readFile(t, f, name, boot.Client{Server: bootable.Server})
	for _, want := range []string{"castpoint: waiting for approval", "castpoint device approve 52-54-00-ab-cd-ef", "sleep 5\n"} {
		if !strings.Contains(script, want) || strings.Contains(script, "exit") {
			t.Errorf("want %q and no exit:\n%s", want, script)
		}
	}
	record = boot.Record{}
	if script, _ := readFile(t, f, name, boot.Client{Server: bootable.Server}); !strings.Contains(script, "linux $from/boot/linux/vmlinuz") {
		t.Errorf("approved:\n%s", script)
	}
}
