package boot

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"castpoint/content"
)

// fakeLibrary keeps its objects as files of a test's folder.
type fakeLibrary struct {
	dir  string
	list []*content.Content
	err  error
}

func (l *fakeLibrary) List() ([]*content.Content, error) { return l.list, l.err }

func (l *fakeLibrary) OpenObject(d content.Digest) (*os.File, error) {
	return os.Open(filepath.Join(l.dir, d.String()))
}

// add stores a content whose objects hold data, by role.
func (l *fakeLibrary) add(t testing.TB, c content.Content, data map[content.Role]string) *content.Content {
	t.Helper()
	if l.dir == "" {
		l.dir = t.TempDir()
	}
	if c.Kind == "" {
		c.Kind = content.KindBootImage
	}
	for _, role := range []content.Role{content.RoleKernel, content.RoleInitrd, content.RoleImage} {
		text, ok := data[role]
		if !ok {
			continue
		}
		d := content.Digest(sha256.Sum256([]byte(text)))
		if err := os.WriteFile(filepath.Join(l.dir, d.String()), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		c.Files = append(c.Files, content.File{Role: role, Name: string(role) + "-6.1.bin", Size: int64(len(text)), Digest: d})
	}
	l.list = append(l.list, &c)
	return &c
}

var linuxFiles = map[content.Role]string{content.RoleKernel: "the kernel", content.RoleInitrd: "the initramfs"}

func testFiles(t *testing.T, cfg FilesConfig, loaders ...string) *Files {
	t.Helper()
	cfg.Loaders = testLoaders(t, loaders...)
	f, err := NewFiles(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func readFile(t *testing.T, f *Files, name string, c Client) (string, *File) {
	t.Helper()
	file, err := f.Open(context.Background(), name, c)
	if err != nil {
		t.Fatalf("open %q: %v", name, err)
	}
	t.Cleanup(func() {
		if err := file.Close(); err != nil {
			t.Error(err)
		}
	})
	data, err := io.ReadAll(io.NewSectionReader(file, 0, file.Size))
	if err != nil {
		t.Fatal(err)
	}
	if int64(len(data)) != file.Size {
		t.Fatalf("%q: %d bytes, Size says %d", name, len(data), file.Size)
	}
	return string(data), file
}

func TestOpen(t *testing.T) {
	lib := &fakeLibrary{}
	linux := lib.add(t, content.Content{ID: "b1", Name: "Linux", Arch: "amd64", Created: time.Unix(1e9, 0)}, linuxFiles)
	windows := lib.add(t, content.Content{ID: "os1", Kind: content.KindOSImage, Name: "Windows"}, map[content.Role]string{content.RoleImage: "secret"})
	f := testFiles(t, FilesConfig{Library: lib}, "undionly.kpxe", "EFI/Boot.EFI", "boot/b1/font.ttf", "boot/bcd")

	for name, want := range map[string]string{
		"undionly.kpxe":          "undionly.kpxe",
		"/UNDIONLY.KPXE":         "undionly.kpxe",
		"undionly.kpxe\xff":      "undionly.kpxe",
		`\efi\boot.efi`:          "EFI/Boot.EFI",
		"//efi//boot.efi/":       "EFI/Boot.EFI",
		"boot/b1/vmlinuz":        "the kernel",
		`\BOOT\B1\VMLINUZ`:       "the kernel",
		"boot/b1/initrd":         "the initramfs",
		"boot/b1/initrd-6.1.bin": "the initramfs",
		"boot/b1/font.ttf":       "boot/b1/font.ttf",
		`\Boot\BCD`:              "boot/bcd",
		"object/" + linux.Files[0].Digest.String():                   "the kernel",
		"/OBJECT/" + strings.ToUpper(linux.Files[1].Digest.String()): "the initramfs",
	} {
		if got, _ := readFile(t, f, name, Client{}); got != want {
			t.Errorf("%q: got %q, want %q", name, got, want)
		}
	}
	for name, want := range map[string]error{
		"":                                  ErrNotFound,
		"/":                                 ErrNotFound,
		"efi":                               ErrNotFound,
		"no.efi":                            ErrNotFound,
		"boot/b1/none":                      ErrNotFound,
		"boot/b1/boot.wim":                  ErrNotFound,
		"boot/b2/vmlinuz":                   ErrNotFound,
		"boot/os1/boot.wim":                 ErrNotFound, // an OS image is not a boot file
		"boot/os1/image-6.1.bin":            ErrNotFound,
		"ipxe/nonsense":                     ErrNotFound,
		"object/abc":                        ErrNotFound,
		"object/" + strings.Repeat("0", 64): ErrNotFound,
		"object/" + windows.Files[0].Digest.String(): ErrForbidden, // exists, but needs a token
		"../undionly.kpxe":                           ErrForbidden,
		`boot\..\..\etc\passwd`:                      ErrForbidden,
		"boot/b1/../../undionly.kpxe":                ErrForbidden,
		"undionly.kpxe\r\nX: y":                      ErrForbidden,
		strings.Repeat("long/", 1000):                ErrForbidden,
		"ipxe/../ipxe/" + testUUID:                   ErrForbidden,
		"ipxe/52-54-00-ab-cd-ef/../..":               ErrForbidden,
	} {
		if _, err := f.Open(context.Background(), name, Client{}); !errors.Is(err, want) {
			t.Errorf("%q: error %v, want %v", name, err, want)
		}
	}

	_, kernel := readFile(t, f, "boot/b1/vmlinuz", Client{})
	if want := `"` + linux.Files[0].Digest.String() + `"`; kernel.ETag != want || kernel.Made || kernel.OS() == nil || !kernel.ModTime.Equal(time.Unix(1e9, 0)) {
		t.Errorf("kernel: %+v, want ETag %s", kernel, want)
	}
	_, loader := readFile(t, f, "undionly.kpxe", Client{})
	if loader.OS() == nil || len(loader.ETag) < 3 || loader.ETag[0] != '"' {
		t.Errorf("loader: %+v", loader)
	}
	_, script := readFile(t, f, "ipxe/bios/52-54-00-ab-cd-ef", Client{})
	if script.OS() != nil || !script.Made || len(script.ETag) != 66 {
		t.Errorf("script: %+v", script)
	}
}

func TestOpenDamagedObject(t *testing.T) {
	lib := &fakeLibrary{}
	c := lib.add(t, content.Content{ID: "b1", Arch: "amd64"}, linuxFiles)
	if err := os.Truncate(filepath.Join(lib.dir, c.Files[0].Digest.String()), 3); err != nil {
		t.Fatal(err)
	}
	f := testFiles(t, FilesConfig{Library: lib})
	_, err := f.Open(context.Background(), "boot/b1/vmlinuz", Client{})
	if err == nil || errors.Is(err, ErrNotFound) || !strings.Contains(err.Error(), "has 3 bytes, want 10: run castpoint content validate b1") {
		t.Errorf("error %v", err)
	}
}

func TestOpenReportsLibrary(t *testing.T) {
	lib := &fakeLibrary{err: errors.New("disk on fire")}
	f := testFiles(t, FilesConfig{Library: lib})
	if _, err := f.Open(context.Background(), "boot/b1/vmlinuz", Client{}); err == nil || !strings.Contains(err.Error(), "disk on fire") {
		t.Errorf("error %v", err)
	}
	text, _ := readFile(t, f, "ipxe/bios/52-54-00-ab-cd-ef", Client{})
	if !strings.Contains(text, "disk on fire") {
		t.Errorf("the screen does not say why:\n%s", text)
	}
}

func TestDeviceScript(t *testing.T) {
	lib := &fakeLibrary{}
	lib.add(t, content.Content{ID: "b1a2", Name: "Linux boot", Version: "1.0", Arch: "amd64"}, linuxFiles)
	calls := 0
	f := testFiles(t, FilesConfig{
		Library:    lib,
		KernelArgs: []string{"console=tty0", "console=ttyS0,115200"},
		Ticket: func(_ context.Context, c Client) (Ticket, error) {
			calls++
			return Ticket{
				Server: "https://192.0.2.10:8443",
				Pin:    "sha256:0011",
				Token:  fmt.Sprintf("T%d-%s", calls, c.UUID),
			}, nil
		},
	})
	base := Client{Server: testServer}
	got, file := readFile(t, f, "ipxe/efi-x64/52-54-00-AB-CD-EF/"+testUUID, base)
	want := "kernel /boot/b1a2/vmlinuz initrd=initrd castpoint.server=https://192.0.2.10:8443 castpoint.pin=sha256:0011" +
		" castpoint.token=T1-" + testUUID + " castpoint.mac=52:54:00:ab:cd:ef BOOTIF=01-52-54-00-ab-cd-ef" +
		" castpoint.uuid=" + testUUID + " console=tty0 console=ttyS0,115200 || goto failed\n"
	if !strings.HasPrefix(got, "#!ipxe\n") || !strings.Contains(got, want) {
		t.Errorf("script:\n%s\nwant the line\n%s", got, want)
	}
	for _, line := range []string{
		"initrd --name initrd /boot/b1a2/initrd || goto failed\n",
		"echo castpoint: network boot\n",
		"echo server: 192.0.2.10\n",
		"echo this device: 52-54-00-ab-cd-ef/" + testUUID + " UEFI x64\n",
		"echo boot image: Linux boot 1.0\n",
		"chain --replace --autofree /ipxe/efi-x64/52-54-00-ab-cd-ef/" + testUUID + " || goto fresh\n",
	} {
		if !strings.Contains(got, line) {
			t.Errorf("script lacks %q:\n%s", line, got)
		}
	}
	if file.Client.MAC.String() != testMAC.String() || file.Client.UUID != testUUID || file.Client.Arch != ArchEFIX64 {
		t.Errorf("client %+v", file.Client)
	}
	again, file2 := readFile(t, f, "ipxe/efi-x64/52-54-00-ab-cd-ef/"+testUUID, base)
	if calls != 2 || again == got || file.ETag == file2.ETag {
		t.Errorf("%d tickets for two scripts, same text %v", calls, again == got)
	}

	// Known by UUID only: iPXE fills in the card it booted from.
	got, _ = readFile(t, f, "ipxe/bios/"+testUUID, base)
	if !strings.Contains(got, " castpoint.mac=${netX/mac} BOOTIF=01-${netX/mac:hexhyp} castpoint.uuid="+testUUID) {
		t.Errorf("script by UUID:\n%s", got)
	}
}

func TestDeviceScriptWithoutMachine(t *testing.T) {
	f := testFiles(t, FilesConfig{})
	got, _ := readFile(t, f, "ipxe/52-54-00-ab-cd-ef", Client{})
	if !strings.Contains(got, "chain --replace --autofree /ipxe/${platform}-${buildarch}/52-54-00-ab-cd-ef ||\n") {
		t.Errorf("script:\n%s", got)
	}
	// The caller may know the architecture from DHCP.
	got, _ = readFile(t, f, "ipxe/52-54-00-ab-cd-ef", Client{HasArch: true, Arch: ArchEFIX64})
	if !strings.Contains(got, "nothing to boot") || !strings.Contains(got, "/ipxe/efi-x64/52-54-00-ab-cd-ef") {
		t.Errorf("script:\n%s", got)
	}
}

func TestAutoexec(t *testing.T) {
	f := testFiles(t, FilesConfig{HTTPPort: 8888})
	for name, want := range map[string]string{
		"autoexec.ipxe":        "http://192.0.2.10:8888/ipxe/${platform}-${buildarch}/${netX/mac:hexhyp}/${uuid} ||",
		`\arm64\AutoExec.ipxe`: "http://192.0.2.10:8888/ipxe/",
	} {
		if got, _ := readFile(t, f, name, Client{Server: testServer}); !strings.Contains(got, want) {
			t.Errorf("%s:\n%s", name, got)
		}
	}
	got, _ := readFile(t, f, "autoexec.ipxe", Client{})
	if !strings.Contains(got, "http://${next-server}:8888/ipxe/") {
		t.Errorf("without a server address:\n%s", got)
	}
	got, _ = readFile(t, f, "autoexec.ipxe", Client{Server: netip.MustParseAddr("::ffff:192.0.2.10")})
	if !strings.Contains(got, "http://192.0.2.10:8888/ipxe/") {
		t.Errorf("with a mapped address:\n%s", got)
	}
}

func TestPickImage(t *testing.T) {
	at := func(n int64) time.Time { return time.Unix(1e9+n, 0) }
	image := func(id, arch string, n int64) *content.Content {
		return &content.Content{ID: id, Name: "name-" + id, Kind: content.KindBootImage, Arch: arch, Created: at(n)}
	}
	osImage := image("os", "amd64", 99)
	osImage.Kind = content.KindOSImage
	list := []*content.Content{
		image("old64", "amd64", 1), image("new64", "amd64", 2), image("new386", "386", 9), image("arm", "arm64", 5),
		image("unknown", "", 50), osImage,
	}
	tests := []struct {
		name    string
		list    []*content.Content
		choice  string
		machine Machine
		want    string // id, or part of the reason
	}{
		{"newest that fits", list, "", MachineEFIX64, "new64"},
		{"BIOS takes 64 bits first", list, "", MachineBIOS, "new64"},
		{"BIOS takes 32 bits when there is nothing else", list[2:3], "", MachineBIOS, "new386"},
		{"arm64", list, "", MachineARM64, "arm"},
		{"32-bit UEFI", list, "", MachineEFIIA32, "new386"},
		{"an unrecorded architecture is better than nothing", list[4:5], "", MachineARM64, "unknown"},
		{"configured id", list, "old64", MachineEFIX64, "old64"},
		{"configured name", list, "name-old64", MachineEFIX64, "old64"},
		{"configured and unfit", list, "arm", MachineEFIX64, "The configured boot image arm is for arm64, and this machine is UEFI x64."},
		{"configured and gone", list, "gone", MachineEFIX64, "The configured boot image gone is not in the library."},
		{"empty library", nil, "", MachineEFIX64, "There is no boot image in the library."},
		{"only an OS image", list[5:], "", MachineEFIX64, "There is no boot image in the library."},
		{"none fits", list[3:4], "", MachineEFIX64, "No boot image in the library is for amd64 (UEFI x64)."},
		{"unknown machine", list, "", MachineUnknown, "The processor family of this machine is not known."},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			f := testFiles(t, FilesConfig{Library: &fakeLibrary{list: tt.list}, BootImage: tt.choice})
			c, why := f.pickImage(tt.machine, "")
			if c != nil && c.ID != tt.want || c == nil && why.Why != tt.want {
				t.Errorf("got %+v %+v, want %q", c, why, tt.want)
			}
			if c == nil && why.Next == "" {
				t.Error("no next step")
			}
		})
	}
}

func TestNothingToBoot(t *testing.T) {
	lib := &fakeLibrary{}
	const script = "ipxe/efi-x64/52-54-00-ab-cd-ef"
	f := testFiles(t, FilesConfig{Library: lib})
	got, _ := readFile(t, f, script, Client{})
	for _, want := range []string{
		"echo castpoint: nothing to boot for this machine\n",
		"echo There is no boot image in the library.\n",
		"echo On the server run: castpoint content add boot-image ...\n",
		"sleep 30\nchain --replace --autofree /" + script + " ||\n",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("script lacks %q:\n%s", want, got)
		}
	}
	f = testFiles(t, FilesConfig{Library: lib, Idle: Idle{Exit: true, Wait: 5 * time.Second, ExitCode: 1}})
	if got, _ := readFile(t, f, script, Client{}); !strings.Contains(got, "sleep 5\nexit 1\n") || strings.Contains(got, "chain") {
		t.Errorf("script that leaves:\n%s", got)
	}
	lib.add(t, content.Content{ID: "b1", Arch: "amd64"}, linuxFiles)
	f = testFiles(t, FilesConfig{Library: lib, Ticket: func(context.Context, Client) (Ticket, error) {
		return Ticket{}, errors.New("device is not approved; run: castpoint device approve 7 || poweroff ${x}\nreboot")
	}})
	got, _ = readFile(t, f, script, Client{})
	if !strings.Contains(got, "device is not approved") {
		t.Errorf("the screen does not say why:\n%s", got)
	}
	for line := range strings.Lines(got) {
		if strings.HasPrefix(line, "reboot") || strings.Contains(line, "|| poweroff") || strings.Contains(line, "${x}") {
			t.Errorf("error text became a command: %q", line)
		}
	}
}

func TestWIMNeedsWimboot(t *testing.T) {
	lib := &fakeLibrary{}
	lib.add(t, content.Content{ID: "pe", Name: "WinPE", Arch: "amd64"}, map[content.Role]string{content.RoleImage: "MSWIM"})
	f := testFiles(t, FilesConfig{Library: lib})
	got, _ := readFile(t, f, "ipxe/efi-x64/52-54-00-ab-cd-ef", Client{})
	if !strings.Contains(got, "Put wimboot into a loader folder.") {
		t.Errorf("without wimboot:\n%s", got)
	}
	f = testFiles(t, FilesConfig{Library: lib}, "wimboot")
	got, _ = readFile(t, f, "ipxe/efi-x64/52-54-00-ab-cd-ef", Client{})
	if !strings.Contains(got, "kernel /wimboot  || goto failed\n") ||
		!strings.Contains(got, "initrd --name boot.wim /boot/pe/boot.wim boot.wim || goto failed\n") {
		t.Errorf("with wimboot:\n%s", got)
	}
}

// Whatever a name or a ticket holds, the script must have the lines the
// template has and no command of theirs.
func TestScriptInjection(t *testing.T) {
	lib := &fakeLibrary{}
	lib.add(t, content.Content{ID: "b1", Name: "x\nshell\n${cmd} || poweroff ; # <b>", Arch: "amd64"}, linuxFiles)
	f := testFiles(t, FilesConfig{Library: lib, Title: "a\nshell"})
	got, _ := readFile(t, f, "ipxe/efi-x64/52-54-00-ab-cd-ef", Client{})
	if strings.Contains(got, "\nshell") || strings.Contains(got, "${cmd}") || strings.Contains(got, "|| poweroff") {
		t.Errorf("script:\n%s", got)
	}
	for _, bad := range []Ticket{
		{Server: "http://192.0.2.1:8443"},
		{Server: "https://192.0.2.1 || shell"},
		{Server: "https://192.0.2.1:8443", Token: "a b"},
		{Server: "https://192.0.2.1:8443", Token: "${x}"},
		{Server: "https://192.0.2.1:8443", Pin: "x\nshell"},
		{Server: "https://192.0.2.1:8443", Token: strings.Repeat("a", 600)},
	} {
		f := testFiles(t, FilesConfig{Library: lib, Ticket: func(context.Context, Client) (Ticket, error) { return bad, nil }})
		got, _ := readFile(t, f, "ipxe/efi-x64/52-54-00-ab-cd-ef", Client{})
		if !strings.Contains(got, "gave this machine no ticket") || strings.Contains(got, "\nshell") || strings.Contains(got, "\nkernel") {
			t.Errorf("ticket %+v:\n%s", bad, got)
		}
	}
	lib.list[0].ID = "b1 || shell"
	got, _ = readFile(t, testFiles(t, FilesConfig{Library: lib}), "ipxe/efi-x64/52-54-00-ab-cd-ef", Client{})
	if strings.Contains(got, "|| shell") {
		t.Errorf("hostile id:\n%s", got)
	}
}

func TestNewFilesRefuses(t *testing.T) {
	l := testLoaders(t)
	for name, cfg := range map[string]FilesConfig{
		"no loaders": {},
		"port":       {Loaders: l, HTTPPort: -1},
		"argument":   {Loaders: l, KernelArgs: []string{"console=tty0 quiet"}},
		"wait":       {Loaders: l, Idle: Idle{Wait: time.Millisecond}},
		"exit code":  {Loaders: l, Idle: Idle{ExitCode: 256}},
	} {
		if _, err := NewFiles(cfg); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

func TestScreenLines(t *testing.T) {
	lines := screenLines(strings.Repeat("word ", 40) + strings.Repeat("x", 100))
	if len(lines) != 4 {
		t.Errorf("%d lines: %q", len(lines), lines)
	}
	for _, l := range lines[:3] {
		if len(l) > 76 {
			t.Errorf("%d columns: %q", len(l), l)
		}
	}
}

// FuzzOpen: no name opens anything but what is in the name space, and every
// script is only made of the template's commands.
func FuzzOpen(f *testing.F) {
	for _, seed := range []string{
		"undionly.kpxe", `\Boot\BCD`, "../../etc/passwd", "ipxe/efi-x64/52-54-00-ab-cd-ef", "ipxe/" + testUUID,
		"boot/b1/vmlinuz", "autoexec.ipxe", "a/autoexec.ipxe", "ipxe/efi-x64/52-54-00-ab-cd-ef;shell", "\xff", "ipxe/bios/\u0130",
	} {
		f.Add(seed)
	}
	dir := f.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "undionly.kpxe"), []byte("loader"), 0o644); err != nil {
		f.Fatal(err)
	}
	loaders, err := NewLoaders(dir)
	if err != nil {
		f.Fatal(err)
	}
	files, err := NewFiles(FilesConfig{Loaders: loaders})
	if err != nil {
		f.Fatal(err)
	}
	commands := map[string]bool{}
	for _, w := range []string{"", "#!ipxe", "#", "echo", "sleep", "chain", "dhcp", "goto", "isset", ":start", ":again", ":retry"} {
		commands[w] = true
	}
	f.Fuzz(func(t *testing.T, name string) {
		file, err := files.Open(context.Background(), name, Client{})
		if err != nil {
			if !errors.Is(err, ErrNotFound) && !errors.Is(err, ErrForbidden) {
				t.Fatalf("%q: %v", name, err)
			}
			return
		}
		data, err := io.ReadAll(io.NewSectionReader(file, 0, file.Size))
		if err != nil {
			t.Fatal(err)
		}
		if err := file.Close(); err != nil {
			t.Fatal(err)
		}
		if !file.Made {
			if string(data) != "loader" {
				t.Fatalf("%q opened %q", name, data)
			}
			return
		}
		for line := range strings.Lines(string(data)) {
			word, _, _ := strings.Cut(strings.TrimRight(line, "\n"), " ")
			if !commands[word] {
				t.Fatalf("%q: script has the line %q", name, line)
			}
		}
	})
}
