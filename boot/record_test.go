package boot

import (
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"castpoint/content"
)

// TestRecords: what a machine's record makes of its plan and of its script.
func TestRecords(t *testing.T) {
	dir := loaderDir(t, append([]string{"undionly.kpxe", "snponly.efi", "own.efi", "snponly-shimx64.efi"}, signed...)...)
	var record Record
	look := func(Client) Record { return record }
	chain := ChainAuto
	settings, err := NewResolver(ResolverConfig{Device: func(Client) Change {
		if chain == ChainAuto {
			return Change{}
		}
		c, err := ParseChange([]string{"chain=" + string(chain)})
		if err != nil {
			t.Fatal(err)
		}
		return c
	}})
	if err != nil {
		t.Fatal(err)
	}
	loaders, err := NewLoaders(dir)
	if err != nil {
		t.Fatal(err)
	}
	p, err := NewPlanner(PlannerConfig{Loaders: loaders, Settings: settings, Record: look})
	if err != nil {
		t.Fatal(err)
	}
	f, err := NewFiles(FilesConfig{Loaders: loaders, Settings: settings, Record: look})
	if err != nil {
		t.Fatal(err)
	}
	mac, _ := net.ParseMAC("52:54:00:12:34:56")
	c := Client{MAC: mac, Arch: ArchEFIX64, HasArch: true, PXE: true, Server: netip.MustParseAddr("192.0.2.1")}
	for _, tt := range []struct {
		name   string
		record Record
		chain  Chain
		serve  bool
		reason string
		script []string
		never  string // in the script
	}{
		{"silent", Record{Silent: "it is ignored"}, ChainAuto, false, "It is ignored", []string{"it is ignored"}, "approve"},
		{"denied", Record{Silent: "device x is denied", Denied: true}, ChainAuto, false, "is denied", []string{"This machine was denied", "exit 1"}, "goto again"},
		{"waiting", Record{Waiting: true, Name: "pc-17"}, ChainAuto, true, "waits for approval", []string{"waiting for approval", "name: pc-17", "device approve 52-54-00-12-34-56", "52-54-00-12-34-56", "chain --replace"}, "exit"},
		{"waiting, iPXE allowed", Record{Waiting: true}, ChainIPXE, true, "waits for approval", nil, "name:"},
		{"waiting, and the chain is signed", Record{Waiting: true}, ChainWindows, false, "cannot show that", nil, ""},
		{"waiting, GRUB", Record{Waiting: true}, ChainGRUB, true, "it gets shim", nil, ""},
		{"waiting, iPXE's shim", Record{Waiting: true}, ChainIPXEShim, true, "snponly-shimx64.efi", nil, ""},
		{"loader", Record{Loader: "own.efi"}, ChainAuto, true, "own.efi", nil, "approval"},
		{"loader missing", Record{Loader: "gone.efi"}, ChainAuto, false, "gone.efi not found", nil, ""},
	} {
		record, chain = tt.record, tt.chain
		plan := p.Plan(c)
		if plan.Serve != tt.serve || !strings.Contains(plan.Reason, tt.reason) {
			t.Errorf("%s: %+v", tt.name, plan)
		}
		if general := p.General().Plan(c); tt.chain == ChainAuto && !general.Serve {
			t.Errorf("%s: the record counts in general: %+v", tt.name, general)
		}
		file, err := f.Open(t.Context(), "ipxe/efi-x64/52-54-00-12-34-56", Client{Server: c.Server})
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
	l, err := NewLoaders(loaderDir(t, signed...))
	if err != nil {
		t.Fatal(err)
	}
	library := &fakeLibrary{}
	library.add(t, content.Content{ID: "linux", Name: "Linux", Arch: "amd64"}, linuxFiles)
	record := Record{Waiting: true}
	f, err := NewFiles(FilesConfig{
		Loaders: l, Library: library, Settings: testResolver(t, Settings{Chain: ChainGRUB}),
		Record: func(Client) Record { return record }, Idle: Idle{Exit: true, Wait: time.Second},
	})
	if err != nil {
		t.Fatal(err)
	}
	const name = "grub/efi-x64/52-54-00-ab-cd-ef/grub.cfg"
	script, _ := readFile(t, f, name, Client{Server: testServer})
	for _, want := range []string{"castpoint: waiting for approval", "castpoint device approve 52-54-00-ab-cd-ef", "sleep 5\n"} {
		if !strings.Contains(script, want) || strings.Contains(script, "exit") {
			t.Errorf("want %q and no exit:\n%s", want, script)
		}
	}
	record = Record{}
	if script, _ := readFile(t, f, name, Client{Server: testServer}); !strings.Contains(script, "linux $from/boot/linux/vmlinuz") {
		t.Errorf("approved:\n%s", script)
	}
}

func TestSharedUUID(t *testing.T) {
	for uuid := range sharedUUIDs {
		if !SharedUUID(strings.ToUpper(uuid)) || validUUID(uuid) || !uuidText.MatchString(uuid) {
			t.Errorf("%s", uuid)
		}
	}
	if SharedUUID("4c4c4544-0042-3510-8052-b3c04f4b4e32") {
		t.Error("a Dell's UUID counts as shared")
	}
}
