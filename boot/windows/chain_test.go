package windows_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http/httptest"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"castpoint/boot"
	"castpoint/boot/bcd"
	"castpoint/boot/bootfile"
	"castpoint/boot/httpboot"
	"castpoint/boot/policy"
	"castpoint/boot/source"
	"castpoint/boot/windows"
	"castpoint/content"
	"castpoint/test/bootable"
)

var testRemote = netip.MustParseAddr("192.0.2.77")

func testLoaders(t testing.TB, names ...string) *source.Loaders {
	t.Helper()
	l, err := source.NewLoaders(bootable.LoaderDir(t, names...))
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// lab is a library with one WinPE, and what serves it.
type lab struct {
	*windows.Chain
	files   *bootfile.Space
	policy  *policy.Planner
	library *bootable.Library
	loaders string
	wim     string

	mu      sync.Mutex
	tickets []boot.Client
	refuse  error
}

func newLab(t testing.TB, cfg windows.Config, wim string, loaders ...string) *lab {
	t.Helper()
	l := &lab{library: &bootable.Library{}, wim: wim, loaders: bootable.LoaderDir(t, loaders...)}
	l.library.Add(t, content.Content{ID: "pe", Name: "WinPE", Arch: "amd64", Index: 1, Created: time.Unix(1e9, 0)}, map[content.Role]string{content.RoleImage: wim})
	var err error
	if cfg.Loaders, err = source.NewLoaders(l.loaders); err != nil {
		t.Fatal(err)
	}
	cfg.Library = l.library
	cfg.Agent = func(arch string) (io.ReaderAt, int64, error) {
		if arch != "amd64" {
			return nil, 0, fmt.Errorf("no agent for %s", arch)
		}
		return strings.NewReader("the agent"), 9, nil
	}
	cfg.Ticket = func(_ context.Context, c boot.Client) (boot.Ticket, error) {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.tickets = append(l.tickets, c)
		return boot.Ticket{Server: "https://192.0.2.10:8443", Pin: "sha256:00", Token: fmt.Sprintf("token%03d", len(l.tickets))}, l.refuse
	}
	if l.Chain, err = windows.New(cfg); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if _, uses := l.Images(); uses != 0 {
			t.Errorf("boot images are still in use %d times", uses)
		}
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	})
	if l.files, err = bootfile.New(bootfile.Config{Loaders: cfg.Loaders, Library: l.library, Windows: l.Chain, Settings: cfg.Settings}); err != nil {
		t.Fatal(err)
	}
	if l.policy, err = policy.New(policy.Config{Loaders: cfg.Loaders, Windows: l.Chain, Settings: cfg.Settings, Library: l.library}); err != nil {
		t.Fatal(err)
	}
	return l
}

// read reads a file as the machine at an address.
func (l *lab) read(t *testing.T, name string, remote netip.Addr) (string, string) {
	t.Helper()
	f, err := l.files.Open(t.Context(), name, boot.Client{Remote: remote, Server: bootable.Server})
	if err != nil {
		t.Fatalf("open %s: %v", name, err)
	}
	defer f.Close()
	data, err := io.ReadAll(io.NewSectionReader(f, 0, f.Size))
	if err != nil {
		t.Fatal(err)
	}
	return string(data), f.ETag
}

func (l *lab) missing(t *testing.T, name string, remote netip.Addr) {
	t.Helper()
	if f, err := l.files.Open(t.Context(), name, boot.Client{Remote: remote}); !errors.Is(err, boot.ErrNotFound) {
		if err == nil {
			_ = f.Close()
		}
		t.Errorf("open %s: %v, want not found", name, err)
	}
}

func TestWindowsPlan(t *testing.T) {
	all, noUEFI, noBIOS := bootable.WinPE(t), bootable.WinPE(t, "boot.sdi"), bootable.WinPE(t, "bootmgr.exe")
	ipxe := []string{"undionly.kpxe", "snponly.efi"}
	http := bootable.ClientWithUUID(boot.ArchEFIX64HTTP)
	http.PXE, http.HTTPBoot = false, true
	x64 := bootable.ClientWithUUID(boot.ArchEFIX64)
	for _, c := range []struct {
		name   string
		wim    string
		cfg    windows.Config
		client boot.Client
		want   boot.Plan // of Reason, what must be in it
	}{
		{
			"UEFI x64", all, windows.Config{}, x64,
			boot.Plan{Serve: true, File: "winpe/efi-x64/52-54-00-ab-cd-ef/bootmgfw.efi", BCDPath: `\winpe\efi-x64\52-54-00-ab-cd-ef\BCD`, Reason: "WinPE is a WIM"},
		},
		{
			"CA of 2023", all, windows.Config{Settings: bootable.Settings(t, boot.Settings{CA: 2023})}, x64,
			boot.Plan{Serve: true, File: "winpe/efi-x64/52-54-00-ab-cd-ef/bootmgfw_EX.efi", BCDPath: `\winpe\efi-x64\52-54-00-ab-cd-ef\BCD`, Reason: "bootmgfw_EX.efi"},
		},
		{
			"only 2023 is there", bootable.WinPE(t, "bootmgfw.efi"), windows.Config{}, x64,
			boot.Plan{Serve: true, File: "winpe/efi-x64/52-54-00-ab-cd-ef/bootmgfw_EX.efi", BCDPath: `\winpe\efi-x64\52-54-00-ab-cd-ef\BCD`, Reason: "bootmgfw_EX.efi"},
		},
		{
			"2011 wanted and not there", bootable.WinPE(t, "bootmgfw.efi"), windows.Config{Settings: bootable.Settings(t, boot.Settings{CA: 2011, Chain: boot.ChainWindows})}, x64,
			boot.Plan{Reason: "no boot manager signed under the CA of 2011"},
		},
		{
			"UEFI HTTP boot", all, windows.Config{}, http,
			boot.Plan{Serve: true, File: "http://192.0.2.10:8080/winpe/efi-x64/52-54-00-ab-cd-ef/bootmgfw.efi", BCDPath: `\winpe\efi-x64\52-54-00-ab-cd-ef\BCD`, HTTPClient: true, Reason: "by HTTP"},
		},
		{
			"is to be asked", all, windows.Config{Settings: bootable.Settings(t, boot.Settings{Ask: true})}, x64,
			boot.Plan{Serve: true, File: "winpe/efi-x64/52-54-00-ab-cd-ef/bootmgfw.efi", BCDPath: `\winpe\efi-x64\52-54-00-ab-cd-ef\BCD`, Ask: true, Reason: "is a WIM"},
		},
		{
			"UEFI HTTP boot is to be asked", all, windows.Config{Settings: bootable.Settings(t, boot.Settings{Ask: true})}, http,
			boot.Plan{Serve: true, File: "http://192.0.2.10:8080/snponly.efi", HTTPClient: true, Reason: "has no menu to ask"},
		},
		{
			"UEFI HTTP boot is to be asked, and iPXE is not wanted", all, windows.Config{Settings: bootable.Settings(t, boot.Settings{Ask: true, Chain: boot.ChainWindows})}, http,
			boot.Plan{Serve: true, File: "http://192.0.2.10:8080/nothing-to-do.efi", HTTPClient: true, Reason: "has no menu to ask"},
		},
		{
			"BIOS", all, windows.Config{}, bootable.ClientWithUUID(boot.ArchBIOS),
			boot.Plan{Serve: true, File: "winpe/bios/52-54-00-ab-cd-ef/pxeboot.n12", BCDPath: `\winpe\bios\52-54-00-ab-cd-ef\BCD`, Reason: "pxeboot.n12"},
		},
		{
			"BIOS without a vendor option", all, windows.Config{}, boot.Client{MAC: bootable.MAC, PXE: true, VendorClass: "PXEClient:Arch:00000:UNDI:002001", Server: bootable.Server},
			boot.Plan{Serve: true, File: "winpe/bios/52-54-00-ab-cd-ef/pxeboot.n12", BCDPath: `\winpe\bios\52-54-00-ab-cd-ef\BCD`, Reason: "pxeboot.n12"},
		},
		{
			"files for BIOS are missing", noBIOS, windows.Config{}, bootable.ClientWithUUID(boot.ArchBIOS),
			boot.Plan{Serve: true, File: "undionly.kpxe", Reason: "bootmgr.exe missing"},
		},
		{
			"files for BIOS are missing, and iPXE is not wanted", noBIOS, windows.Config{Settings: bootable.Settings(t, boot.Settings{}, boot.Rule{Archs: []boot.Arch{boot.ArchBIOS}, Set: bootable.Change(t, "chain=windows")})}, bootable.ClientWithUUID(boot.ArchBIOS),
			boot.Plan{Reason: "bootmgr.exe missing"},
		},
		{
			"boot.sdi is missing", noUEFI, windows.Config{}, x64,
			boot.Plan{Serve: true, File: "snponly.efi", Reason: "boot.sdi missing"},
		},
		{
			"iPXE by architecture", all, windows.Config{Settings: bootable.Settings(t, boot.Settings{}, boot.Rule{Archs: []boot.Arch{boot.ArchEFIX64}, Set: bootable.Change(t, "chain=ipxe")})}, x64,
			boot.Plan{Serve: true, File: "snponly.efi", Reason: "first stage snponly.efi."},
		},
		{
			"iPXE for this device", all, windows.Config{Settings: bootable.Settings(t, boot.Settings{}, boot.Rule{UUID: bootable.UUID, Set: bootable.Change(t, "chain=ipxe")})}, x64,
			boot.Plan{Serve: true, File: "snponly.efi", Reason: "first stage snponly.efi."},
		},
		{
			"no boot image for ARM64", all, windows.Config{}, bootable.ClientWithUUID(boot.ArchEFIARM64),
			boot.Plan{Reason: "No boot image in the library is for arm64"},
		},
		{
			"iPXE is running already", all, windows.Config{}, boot.Client{MAC: bootable.MAC, IPXE: true, Arch: boot.ArchEFIX64, HasArch: true, Server: bootable.Server},
			boot.Plan{Serve: true, File: "http://192.0.2.10:8080/ipxe/efi-x64/52-54-00-ab-cd-ef", Reason: "iPXE is running"},
		},
		{
			"no WIM at all", "MSWIM? no", windows.Config{}, x64,
			boot.Plan{Serve: true, File: "snponly.efi", Reason: "not a WIM"},
		},
	} {
		l := newLab(t, c.cfg, c.wim, ipxe...)
		got := l.policy.Plan(c.client)
		if !strings.Contains(got.Reason, c.want.Reason) {
			t.Errorf("%s: reason %q lacks %q", c.name, got.Reason, c.want.Reason)
		}
		got.Reason, c.want.Reason = "", ""
		if c.want.Serve {
			c.want.NextServer = bootable.Server
		}
		if c.want.BCDPath != "" {
			c.want.Image = "pe"
		}
		if got != c.want {
			t.Errorf("%s: %+v\nwant %+v", c.name, got, c.want)
		}
	}
}

// A Linux boot image goes its way as ever.
func TestWindowsPlanLinux(t *testing.T) {
	l := newLab(t, windows.Config{Settings: bootable.Settings(t, boot.Settings{Chain: boot.ChainWindows})}, "x", "snponly.efi")
	l.library.Contents = nil
	l.library.Add(t, content.Content{ID: "linux", Arch: "amd64"}, bootable.Linux)
	if p := l.policy.Plan(bootable.ClientWithUUID(boot.ArchEFIX64)); p.File != "snponly.efi" || p.BCDPath != "" {
		t.Errorf("%+v", p)
	}
}

// The order of requests of a signed boot manager, see docs/winpe.md.
func TestWindowsBoot(t *testing.T) {
	l := newLab(t, windows.Config{}, bootable.WinPE(t))
	plan := l.policy.Plan(bootable.ClientWithUUID(boot.ArchEFIX64))
	const dir = `\winpe\efi-x64\52-54-00-ab-cd-ef\`
	if got, _ := l.read(t, plan.File, testRemote); got != "bootmgfw.efi" {
		t.Errorf("%s is %q", plan.File, got)
	}
	store, _ := l.read(t, plan.BCDPath, testRemote)
	parsed, err := bcd.Parse([]byte(store))
	if err != nil {
		t.Fatal(err)
	}
	var words strings.Builder
	if err := parsed.Describe(&words); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		`ramdisk=[boot]` + dir + `boot.wim,{ramdiskoptions}`, `\Windows\System32\Boot\winload.efi`, `\Boot\boot.sdi`, "1456", "16",
	} {
		if !strings.Contains(words.String(), want) {
			t.Errorf("the boot configuration lacks %s:\n%s", want, words.String())
		}
	}
	for name, want := range map[string]string{
		`\BCD`:                    store,
		`\Boot\BCD`:               store,
		`\EFI\Microsoft\Boot\BCD`: store,
		`\en-US\winpe/efi-x64/52-54-00-ab-cd-ef/bootmgfw.efi.MUI`: "bootmgfw.efi.mui",
		`\winpe/efi-x64/52-54-00-ab-cd-ef/bootmgfw.efi`:           "bootmgfw.efi",
		`\boot.stl`:      "boot.stl",
		`\Boot\boot.sdi`: "boot.sdi",
		dir + `boot.sdi`: "boot.sdi",
		`\EFI\Microsoft\Boot\Fonts\wgl4_boot.ttf`: "wgl4_boot.ttf",
		`bootmgfw.efi`: "bootmgfw.efi",
	} {
		if got, _ := l.read(t, name, testRemote); got != want {
			t.Errorf("%s: %.40q, want %.40q", name, got, want)
		}
	}
	l.missing(t, `\EFI\Microsoft\Boot\SkuSiPolicy.p7b`, testRemote)
	l.missing(t, `\EFI\Microsoft\Recovery\BCD`, testRemote)
	l.missing(t, dir+`winload.efi`, testRemote)
	l.missing(t, `\winpe\efi-x64\nobody\boot.wim`, testRemote)
	l.missing(t, `\winpe\cray\52-54-00-ab-cd-ef\boot.wim`, testRemote)

	// Size probe and transfer are of the same bytes, by both names.
	first, tag := l.read(t, dir+`boot.wim`, testRemote)
	again, tagAgain := l.read(t, `\Boot\boot.wim`, testRemote)
	if first != again || tag != tagAgain || len(l.tickets) != 1 {
		t.Errorf("the WIM changed within a boot: %s, %s, %d tickets", tag, tagAgain, len(l.tickets))
	}
	if c := l.tickets[0]; c.MAC.String() != bootable.MAC.String() || c.UUID != bootable.UUID || c.Arch != boot.ArchEFIX64 || c.Server != bootable.Server {
		t.Errorf("ticket for %+v", c)
	}
	for _, want := range []string{"the agent", "castpoint.token=token001", "castpoint.mac=52:54:00:ab:cd:ef", "castpoint.uuid=" + bootable.UUID} {
		if !strings.Contains(first, want) {
			t.Errorf("the WIM lacks %s", want)
		}
	}
	checkWIM(t, first, "token001")

	// The machine starts again: a new ticket, and the same size.
	l.read(t, plan.BCDPath, testRemote)
	next, tagNext := l.read(t, dir+`boot.wim`, testRemote)
	if tagNext == tag || len(next) != len(first) || len(l.tickets) != 2 {
		t.Errorf("the next boot: tag %s after %s, %d bytes after %d, %d tickets", tagNext, tag, len(next), len(first), len(l.tickets))
	}
	checkWIM(t, next, "token002")

	// Another machine at the same time.
	other, _ := l.read(t, `\winpe\bios\52-54-00-00-00-02\boot.wim`, netip.MustParseAddr("192.0.2.78"))
	checkWIM(t, other, "token003")
	if again, _ := l.read(t, dir+`boot.wim`, testRemote); again != next {
		t.Error("another machine changed this one's WIM")
	}
	bios, _ := l.read(t, `\Boot\BCD`, netip.MustParseAddr("192.0.2.78"))
	if !strings.Contains(bios, "w\x00i\x00n\x00l\x00o\x00a\x00d\x00.\x00e\x00x\x00e") {
		t.Error("the boot configuration of a BIOS machine does not name winload.exe")
	}
}

// checkWIM lets wimlib verify a WIM and read the agent's settings out of it.
func checkWIM(t *testing.T, data, token string) {
	t.Helper()
	p := filepath.Join(t.TempDir(), "x.wim")
	if err := os.WriteFile(p, []byte(data), 0o644); err != nil {
		t.Fatal(err)
	}
	if said, err := exec.CommandContext(t.Context(), "wimlib-imagex", "verify", p).CombinedOutput(); err != nil {
		t.Errorf("wimlib-imagex verify: %v: %s", err, said)
	}
	conf, err := exec.CommandContext(t.Context(), "wimlib-imagex", "extract", p, "1", "/castpoint/boot.conf", "--to-stdout").Output()
	if err != nil || !strings.Contains(string(conf), "castpoint.token="+token+"\r\n") {
		t.Errorf("boot.conf: %v: %s", err, conf)
	}
}

// Nobody known gets a boot configuration that works, and the stored WIM.
func TestWindowsUnknownMachine(t *testing.T) {
	l := newLab(t, windows.Config{}, bootable.WinPE(t))
	l.missing(t, `\BCD`, testRemote)
	store, _ := l.read(t, `\Boot\BCD`, testRemote)
	if !strings.Contains(store, "\\\x00B\x00o\x00o\x00t\x00\\\x00b\x00o\x00o\x00t\x00.\x00w\x00i\x00m") {
		t.Error("the boot configuration does not name \\Boot\\boot.wim")
	}
	if got, tag := l.read(t, `\Boot\boot.wim`, testRemote); got != l.wim || tag != `"`+l.library.Contents[0].Files[0].Digest.String()+`"` {
		t.Errorf("%d bytes, want the %d that are stored; tag %s", len(got), len(l.wim), tag)
	}
	if len(l.tickets) != 0 {
		t.Error("a ticket was made")
	}
}

// What the admin puts into a loader folder goes before what is made and what the
// image has.
func TestWindowsOwnFiles(t *testing.T) {
	l := newLab(t, windows.Config{}, bootable.WinPE(t, "boot.sdi"), "Boot/BCD", "x64/bootmgfw.efi", "EFI/Microsoft/Boot/SkuSiPolicy.p7b", "boot.sdi")
	plan := l.policy.Plan(bootable.ClientWithUUID(boot.ArchEFIX64))
	for name, want := range map[string]string{
		plan.BCDPath:                          "Boot/BCD",
		`\Boot\BCD`:                           "Boot/BCD",
		`\Boot\boot.sdi`:                      "boot.sdi",
		`\EFI\Microsoft\Boot\SkuSiPolicy.p7b`: "EFI/Microsoft/Boot/SkuSiPolicy.p7b",
	} {
		if got, _ := l.read(t, name, testRemote); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}

	data, err := func() ([]byte, error) {
		s, err := bcd.Ramdisk(bcd.Options{})
		if err != nil {
			return nil, err
		}
		return s.Bytes()
	}()
	if err != nil {
		t.Fatal(err)
	}
	l = newLab(t, windows.Config{Settings: bootable.Settings(t, boot.Settings{BCD: data})}, bootable.WinPE(t))
	if got, _ := l.read(t, plan.BCDPath, testRemote); got != string(data) {
		t.Error("the boot configuration of the settings is not served as it is")
	}
}

func TestWindowsFontsOf2023(t *testing.T) {
	l := newLab(t, windows.Config{Settings: bootable.Settings(t, boot.Settings{CA: 2023})}, bootable.WinPE(t))
	l.read(t, l.policy.Plan(bootable.ClientWithUUID(boot.ArchEFIX64)).File, testRemote)
	if got, _ := l.read(t, `\EFI\Microsoft\Boot\Fonts\wgl4_boot.ttf`, testRemote); got != "wgl4_boot_EX.ttf" {
		t.Errorf("the font is %s", got)
	}
}

// On the way over iPXE the machine gets the same WIM, and a new one each boot.
func TestWindowsOverIPXE(t *testing.T) {
	l := newLab(t, windows.Config{Settings: bootable.Settings(t, boot.Settings{Chain: boot.ChainIPXE})}, bootable.WinPE(t), "wimboot")
	var wims []string
	for range 2 {
		script, _ := l.read(t, "ipxe/efi-x64/52-54-00-ab-cd-ef/"+bootable.UUID, testRemote)
		const path = "/winpe/efi-x64/52-54-00-ab-cd-ef/boot.wim"
		if !strings.Contains(script, "initrd --name boot.wim "+path+" boot.wim") {
			t.Fatalf("the script does not load the machine's WIM:\n%s", script)
		}
		// wimboot shows the boot manager a disk that has the WIM at \Boot\boot.wim.
		store, err := bcd.Parse([]byte(func() string { s, _ := l.read(t, "winpe/efi-x64/52-54-00-ab-cd-ef/wimboot.bcd", testRemote); return s }()))
		if err != nil {
			t.Fatal(err)
		}
		var words strings.Builder
		if err := store.Describe(&words); err != nil || !strings.Contains(words.String(), `ramdisk=[boot]\Boot\boot.wim,{ramdiskoptions}`) {
			t.Errorf("%v:\n%s", err, words.String())
		}
		if !strings.Contains(script, "/wimboot.bcd BCD") || !strings.Contains(script, "/boot.sdi boot.sdi") {
			t.Errorf("the script lacks what wimboot may need:\n%s", script)
		}
		wim, _ := l.read(t, path, testRemote)
		wims = append(wims, wim)
	}
	checkWIM(t, wims[0], "token001")
	checkWIM(t, wims[1], "token002")
}

// Firmware that is iPXE itself loads Microsoft's first stage when that chain is set,
// or when there is no wimboot.
func TestWindowsByIPXEInTheCard(t *testing.T) {
	all, noBIOS := bootable.WinPE(t), bootable.WinPE(t, "bootmgr.exe")
	const bios, efi = "ipxe/bios/52-54-00-ab-cd-ef/" + bootable.UUID, "ipxe/efi-x64/52-54-00-ab-cd-ef"
	own := func(machine, loader string) []string {
		dir := "winpe/" + machine + "/52-54-00-ab-cd-ef/"
		store := "5c:77:69:6e:70:65:5c" // \winpe\
		return []string{
			"set netX/next-server 192.0.2.10\n", "set netX/filename " + dir + loader + "\n", "set netX/252:hex " + store,
			":5c:42:43:44:00\n", "chain --autofree tftp://192.0.2.10/" + dir + loader + " ||\n",
		}
	}
	for _, c := range []struct {
		name     string
		settings boot.Settings
		wim      string
		loaders  []string
		script   string
		want     []string
		never    string
	}{
		{"BIOS, no wimboot", boot.Settings{}, all, nil, bios, own("bios", "pxeboot.n12"), "prompt"},
		{"UEFI, no wimboot", boot.Settings{}, all, nil, efi, own("efi-x64", "bootmgfw.efi"), "prompt"},
		{"chain set", boot.Settings{Chain: boot.ChainWindows, CA: 2023, Ask: true}, all, []string{"wimboot"}, efi, append(own("efi-x64", "bootmgfw_EX.efi"), "Press F12"), "kernel"},
		{"wimboot is there", boot.Settings{}, all, []string{"wimboot"}, bios, []string{"kernel /wimboot"}, "tftp://"},
		{"chain iPXE", boot.Settings{Chain: boot.ChainIPXE}, all, nil, bios, []string{"iPXE needs the program wimboot"}, "tftp://"},
		{"a file is missing", boot.Settings{Chain: boot.ChainWindows}, noBIOS, []string{"wimboot"}, bios, []string{"nothing to boot", "bootmgr.exe missing"}, "tftp://"},
	} {
		l := newLab(t, windows.Config{Settings: bootable.Settings(t, c.settings)}, c.wim, c.loaders...)
		script, _ := l.read(t, c.script, testRemote)
		for _, want := range c.want {
			if !strings.Contains(script, want) {
				t.Errorf("%s: no %q in\n%s", c.name, want, script)
			}
		}
		if strings.Contains(script, c.never) {
			t.Errorf("%s: %q in\n%s", c.name, c.never, script)
		}
	}
}

// A refused ticket stops the boot with the reason, and the next try may have one.
func TestWindowsTicketRefused(t *testing.T) {
	l := newLab(t, windows.Config{}, bootable.WinPE(t))
	l.refuse = errors.New("this device is denied: castpoint device approve")
	const name = "winpe/efi-x64/52-54-00-ab-cd-ef/boot.wim"
	if _, err := l.files.Open(t.Context(), name, boot.Client{}); !errors.Is(err, boot.ErrForbidden) || !strings.Contains(err.Error(), "device approve") {
		t.Errorf("%v", err)
	}
	l.refuse = nil
	l.read(t, name, testRemote)
}

// Images that were removed or replaced while they are read stay readable, and
// are closed then.
func TestWindowsImageReplaced(t *testing.T) {
	l := newLab(t, windows.Config{}, bootable.WinPE(t))
	const name = "winpe/efi-x64/52-54-00-ab-cd-ef/boot.wim"
	f, err := l.files.Open(t.Context(), name, boot.Client{})
	if err != nil {
		t.Fatal(err)
	}
	l.library.Contents = nil
	l.missing(t, name, testRemote)
	for i := range 2 * windows.MaxIdleImages {
		l.library.Contents = nil
		l.library.Add(t, content.Content{ID: "pe2", Arch: "amd64", Index: 1, Created: time.Unix(2e9, 0)},
			map[content.Role]string{content.RoleImage: bootable.WinPE(t, fmt.Sprint("x", i))})
		l.read(t, name, testRemote)
	}
	if n, _ := l.Images(); n > windows.MaxIdleImages+1 {
		t.Errorf("%d images are open", n)
	}
	if _, err := io.ReadAll(io.NewSectionReader(f, 0, f.Size)); err != nil {
		t.Error(err)
	}
	if err := f.Close(); err != nil {
		t.Error(err)
	}
}

// Two hundred machines at once: each its own ticket, one image open.
func TestWindowsManyMachines(t *testing.T) {
	l := newLab(t, windows.Config{}, bootable.WinPE(t))
	var wg sync.WaitGroup
	for i := range 200 {
		wg.Go(func() {
			dir := fmt.Sprintf("winpe/efi-x64/52-54-00-00-00-%02x/", i)
			for _, name := range []string{"bootmgfw.efi", "BCD", "boot.wim", "boot.wim"} {
				f, err := l.files.Open(t.Context(), dir+name, boot.Client{Remote: netip.AddrFrom4([4]byte{10, 0, 0, byte(i)})})
				if err != nil {
					t.Errorf("%s%s: %v", dir, name, err)
					return
				}
				if err := f.Close(); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	if images, _ := l.Images(); len(l.tickets) != 200 || images != 1 {
		t.Errorf("%d tickets, %d images", len(l.tickets), images)
	}
}

// Over HTTP: HEAD before GET, ranges of one boot's WIM, no cache.
func TestWindowsHTTP(t *testing.T) {
	l := newLab(t, windows.Config{}, bootable.WinPE(t))
	h, err := httpboot.NewHandler(httpboot.HandlerConfig{Files: l.files})
	if err != nil {
		t.Fatal(err)
	}
	get := func(method, path, rng string) *httptest.ResponseRecorder {
		req := httptest.NewRequestWithContext(t.Context(), method, path, nil)
		if rng != "" {
			req.Header.Set("Range", rng)
		}
		rec := httptest.NewRecorder()
		h.ServeHTTP(rec, req)
		return rec
	}
	const dir = "/winpe/efi-x64/52-54-00-ab-cd-ef/"
	if r := get("GET", dir+"bootmgfw.efi", ""); r.Code != 200 || r.Body.String() != "bootmgfw.efi" || r.Header().Get("Content-Type") != "application/efi" {
		t.Errorf("%d: %v %q", r.Code, r.Header(), r.Body)
	}
	head, store := get("HEAD", "/EFI/Microsoft/Boot/BCD", ""), get("GET", "/EFI/Microsoft/Boot/BCD", "")
	if head.Code != 200 || head.Header().Get("Content-Length") != fmt.Sprint(store.Body.Len()) ||
		!bytes.Contains(store.Body.Bytes(), []byte("5\x002\x00-\x005\x004\x00-\x000\x000\x00-\x00a\x00b")) {
		t.Errorf("HEAD %d %v, GET %d bytes", head.Code, head.Header(), store.Body.Len())
	}
	if ct := store.Header().Get("Content-Type"); ct != "application/octet-stream" {
		t.Errorf("the boot configuration is %s", ct)
	}
	all := get("GET", dir+"boot.wim", "")
	if all.Header().Get("Cache-Control") != "no-store" {
		t.Errorf("a WIM with a ticket may be kept: %v", all.Header())
	}
	part := get("GET", dir+"boot.wim", "bytes=100-5000")
	if part.Code != 206 || !bytes.Equal(part.Body.Bytes(), all.Body.Bytes()[100:5001]) || part.Header().Get("ETag") != all.Header().Get("ETag") {
		t.Errorf("range: %d, %d bytes", part.Code, part.Body.Len())
	}
}

func TestNewWindowsRefuses(t *testing.T) {
	loaders := testLoaders(t)
	for name, cfg := range map[string]windows.Config{
		"no library": {Loaders: loaders},
		"folder":     {Loaders: loaders, Library: &bootable.Library{}, Extra: []string{"/no/such/folder"}},
	} {
		if _, err := windows.New(cfg); err == nil {
			t.Errorf("%s was taken", name)
		}
	}
}

// Names come from the network: whatever they are, they are a file, not found, or
// forbidden, and nothing stays open.
func FuzzWindowsName(f *testing.F) {
	for _, name := range []string{
		`\winpe\efi-x64\52-54-00-ab-cd-ef\BCD`, "winpe/bios/52-54-00-ab-cd-ef/boot.wim", `\en-US\winpe/efi-x64/52-54-00-ab-cd-ef/x.MUI`,
		`\EFI\Microsoft\Boot\Fonts\wgl4_boot.ttf`, "winpe/winpe/winpe/winpe/winpe", "boot/x64/wdsmgfw.efi", "fonts/_ex.ttf", "//", "winpe/efi-x64/00-00-00-00-00-00/",
	} {
		f.Add(name)
	}
	l := newLab(f, windows.Config{}, bootable.WinPE(f), "snponly.efi")
	f.Fuzz(func(t *testing.T, name string) {
		file, err := l.files.Open(t.Context(), name, boot.Client{Remote: testRemote, Server: bootable.Server})
		if err != nil {
			if !errors.Is(err, boot.ErrNotFound) && !errors.Is(err, boot.ErrForbidden) {
				t.Errorf("%q: %v", name, err)
			}
			return
		}
		if _, err := io.Copy(io.Discard, io.NewSectionReader(file, 0, file.Size)); err != nil {
			t.Errorf("%q: %v", name, err)
		}
		if err := file.Close(); err != nil {
			t.Error(err)
		}
	})
}
