package bootfile

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"castpoint/boot"
	"castpoint/boot/source"
	"castpoint/content"
	"castpoint/test/bootable"
)

func testLoaders(t testing.TB, names ...string) *source.Loaders {
	t.Helper()
	l, err := source.NewLoaders(bootable.LoaderDir(t, names...))
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func testFiles(t *testing.T, cfg Config, loaders ...string) *Space {
	t.Helper()
	cfg.Loaders = testLoaders(t, loaders...)
	f, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func readFile(t *testing.T, f *Space, name string, c boot.Client) (string, *source.File) {
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
	lib := &bootable.Library{}
	linux := lib.Add(t, content.Content{ID: "b1", Name: "Linux", Arch: "amd64", Created: time.Unix(1e9, 0)}, bootable.Linux)
	windows := lib.Add(t, content.Content{ID: "os1", Kind: content.KindOSImage, Name: "Windows"}, map[content.Role]string{content.RoleImage: "secret"})
	f := testFiles(t, Config{Library: lib}, "undionly.kpxe", "EFI/Boot.EFI", "boot/b1/font.ttf", "boot/bcd")

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
		if got, _ := readFile(t, f, name, boot.Client{}); got != want {
			t.Errorf("%q: got %q, want %q", name, got, want)
		}
	}
	for name, want := range map[string]error{
		"":                                  boot.ErrNotFound,
		"/":                                 boot.ErrNotFound,
		"efi":                               boot.ErrNotFound,
		"no.efi":                            boot.ErrNotFound,
		"boot/b1/none":                      boot.ErrNotFound,
		"boot/b1/boot.wim":                  boot.ErrNotFound,
		"boot/b2/vmlinuz":                   boot.ErrNotFound,
		"boot/os1/boot.wim":                 boot.ErrNotFound, // an OS image is not a boot file
		"boot/os1/image-6.1.bin":            boot.ErrNotFound,
		"ipxe/nonsense":                     boot.ErrNotFound,
		"object/abc":                        boot.ErrNotFound,
		"object/" + strings.Repeat("0", 64): boot.ErrNotFound,
		"object/" + windows.Files[0].Digest.String(): boot.ErrForbidden, // exists, but needs a token
		"../undionly.kpxe":                           boot.ErrForbidden,
		`boot\..\..\etc\passwd`:                      boot.ErrForbidden,
		"boot/b1/../../undionly.kpxe":                boot.ErrForbidden,
		"undionly.kpxe\r\nX: y":                      boot.ErrForbidden,
		strings.Repeat("long/", 1000):                boot.ErrForbidden,
		"ipxe/../ipxe/" + bootable.UUID:              boot.ErrForbidden,
		"ipxe/52-54-00-ab-cd-ef/../..":               boot.ErrForbidden,
	} {
		if _, err := f.Open(context.Background(), name, boot.Client{}); !errors.Is(err, want) {
			t.Errorf("%q: error %v, want %v", name, err, want)
		}
	}

	_, kernel := readFile(t, f, "boot/b1/vmlinuz", boot.Client{})
	if want := `"` + linux.Files[0].Digest.String() + `"`; kernel.ETag != want || kernel.Made || kernel.OS() == nil || !kernel.ModTime.Equal(time.Unix(1e9, 0)) {
		t.Errorf("kernel: %+v, want ETag %s", kernel, want)
	}
	_, loader := readFile(t, f, "undionly.kpxe", boot.Client{})
	if loader.OS() == nil || len(loader.ETag) < 3 || loader.ETag[0] != '"' {
		t.Errorf("loader: %+v", loader)
	}
	_, script := readFile(t, f, "ipxe/bios/52-54-00-ab-cd-ef", boot.Client{})
	if script.OS() != nil || !script.Made || len(script.ETag) != 66 {
		t.Errorf("script: %+v", script)
	}
}

func TestOpenDamagedObject(t *testing.T) {
	lib := &bootable.Library{}
	c := lib.Add(t, content.Content{ID: "b1", Arch: "amd64"}, bootable.Linux)
	if err := os.Truncate(filepath.Join(lib.Dir, c.Files[0].Digest.String()), 3); err != nil {
		t.Fatal(err)
	}
	f := testFiles(t, Config{Library: lib})
	_, err := f.Open(context.Background(), "boot/b1/vmlinuz", boot.Client{})
	if err == nil || errors.Is(err, boot.ErrNotFound) || !strings.Contains(err.Error(), "has 3 bytes, want 10: run castpoint content validate b1") {
		t.Errorf("error %v", err)
	}
}

func TestOpenReportsLibrary(t *testing.T) {
	lib := &bootable.Library{Err: errors.New("disk on fire")}
	f := testFiles(t, Config{Library: lib})
	if _, err := f.Open(context.Background(), "boot/b1/vmlinuz", boot.Client{}); err == nil || !strings.Contains(err.Error(), "disk on fire") {
		t.Errorf("error %v", err)
	}
	text, _ := readFile(t, f, "ipxe/bios/52-54-00-ab-cd-ef", boot.Client{})
	if !strings.Contains(text, "disk on fire") {
		t.Errorf("the screen does not say why:\n%s", text)
	}
}

func TestDeviceScript(t *testing.T) {
	lib := &bootable.Library{}
	lib.Add(t, content.Content{ID: "b1a2", Name: "Linux boot", Version: "1.0", Arch: "amd64"}, bootable.Linux)
	calls := 0
	f := testFiles(t, Config{
		Library:    lib,
		KernelArgs: []string{"console=tty0", "console=ttyS0,115200"},
		Ticket: func(_ context.Context, c boot.Client) (boot.Ticket, error) {
			calls++
			return boot.Ticket{
				Server: "https://192.0.2.10:8443",
				Pin:    "sha256:0011",
				Token:  fmt.Sprintf("T%d-%s", calls, c.UUID),
			}, nil
		},
	})
	base := boot.Client{Server: bootable.Server}
	got, file := readFile(t, f, "ipxe/efi-x64/52-54-00-AB-CD-EF/"+bootable.UUID, base)
	want := "kernel /boot/b1a2/vmlinuz initrd=initrd castpoint.server=https://192.0.2.10:8443 castpoint.pin=sha256:0011" +
		" castpoint.token=T1-" + bootable.UUID + " castpoint.mac=52:54:00:ab:cd:ef BOOTIF=01-52-54-00-ab-cd-ef" +
		" castpoint.uuid=" + bootable.UUID + " console=tty0 console=ttyS0,115200 || goto failed\n"
	if !strings.HasPrefix(got, "#!ipxe\n") || !strings.Contains(got, want) {
		t.Errorf("script:\n%s\nwant the line\n%s", got, want)
	}
	for _, line := range []string{
		"initrd --name initrd /boot/b1a2/initrd || goto failed\n",
		"echo castpoint: network boot\n",
		"echo server: 192.0.2.10\n",
		"echo this device: 52-54-00-ab-cd-ef/" + bootable.UUID + " UEFI x64\n",
		"echo boot image: Linux boot 1.0\n",
		"chain --replace --autofree /ipxe/efi-x64/52-54-00-ab-cd-ef/" + bootable.UUID + " || goto fresh\n",
	} {
		if !strings.Contains(got, line) {
			t.Errorf("script lacks %q:\n%s", line, got)
		}
	}
	if file.Client.MAC.String() != bootable.MAC.String() || file.Client.UUID != bootable.UUID || file.Client.Arch != boot.ArchEFIX64 {
		t.Errorf("client %+v", file.Client)
	}
	again, file2 := readFile(t, f, "ipxe/efi-x64/52-54-00-ab-cd-ef/"+bootable.UUID, base)
	if calls != 2 || again == got || file.ETag == file2.ETag {
		t.Errorf("%d tickets for two scripts, same text %v", calls, again == got)
	}

	// Known by UUID only: iPXE fills in the card it booted from.
	got, _ = readFile(t, f, "ipxe/bios/"+bootable.UUID, base)
	if !strings.Contains(got, " castpoint.mac=${netX/mac} BOOTIF=01-${netX/mac:hexhyp} castpoint.uuid="+bootable.UUID) {
		t.Errorf("script by UUID:\n%s", got)
	}
}

func TestDeviceScriptWithoutMachine(t *testing.T) {
	f := testFiles(t, Config{})
	got, _ := readFile(t, f, "ipxe/52-54-00-ab-cd-ef", boot.Client{})
	if !strings.Contains(got, "chain --replace --autofree /ipxe/${platform}-${buildarch}/52-54-00-ab-cd-ef ||\n") {
		t.Errorf("script:\n%s", got)
	}
	// The caller may know the architecture from DHCP.
	got, _ = readFile(t, f, "ipxe/52-54-00-ab-cd-ef", boot.Client{HasArch: true, Arch: boot.ArchEFIX64})
	if !strings.Contains(got, "nothing to boot") || !strings.Contains(got, "/ipxe/efi-x64/52-54-00-ab-cd-ef") {
		t.Errorf("script:\n%s", got)
	}
}

func TestAutoexec(t *testing.T) {
	f := testFiles(t, Config{HTTPPort: 8888})
	for name, want := range map[string]string{
		"autoexec.ipxe":        "http://192.0.2.10:8888/ipxe/${platform}-${buildarch}/${netX/mac:hexhyp}/${uuid} ||",
		`\arm64\AutoExec.ipxe`: "http://192.0.2.10:8888/ipxe/",
	} {
		if got, _ := readFile(t, f, name, boot.Client{Server: bootable.Server}); !strings.Contains(got, want) {
			t.Errorf("%s:\n%s", name, got)
		}
	}
	got, _ := readFile(t, f, "autoexec.ipxe", boot.Client{})
	if !strings.Contains(got, "http://${next-server}:8888/ipxe/") {
		t.Errorf("without a server address:\n%s", got)
	}
	got, _ = readFile(t, f, "autoexec.ipxe", boot.Client{Server: netip.MustParseAddr("::ffff:192.0.2.10")})
	if !strings.Contains(got, "http://192.0.2.10:8888/ipxe/") {
		t.Errorf("with a mapped address:\n%s", got)
	}
}

func TestNothingToBoot(t *testing.T) {
	lib := &bootable.Library{}
	const script = "ipxe/efi-x64/52-54-00-ab-cd-ef"
	f := testFiles(t, Config{Library: lib})
	got, _ := readFile(t, f, script, boot.Client{})
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
	f = testFiles(t, Config{Library: lib, Idle: boot.Idle{Exit: true, Wait: 5 * time.Second, ExitCode: 1}})
	if got, _ := readFile(t, f, script, boot.Client{}); !strings.Contains(got, "sleep 5\nexit 1\n") || strings.Contains(got, "chain") {
		t.Errorf("script that leaves:\n%s", got)
	}
	lib.Add(t, content.Content{ID: "b1", Arch: "amd64"}, bootable.Linux)
	f = testFiles(t, Config{Library: lib, Ticket: func(context.Context, boot.Client) (boot.Ticket, error) {
		return boot.Ticket{}, errors.New("device is not approved; run: castpoint device approve 7 || poweroff ${x}\nreboot")
	}})
	got, _ = readFile(t, f, script, boot.Client{})
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
	lib := &bootable.Library{}
	lib.Add(t, content.Content{ID: "pe", Name: "WinPE", Arch: "amd64"}, map[content.Role]string{content.RoleImage: "MSWIM"})
	f := testFiles(t, Config{Library: lib})
	got, _ := readFile(t, f, "ipxe/efi-x64/52-54-00-ab-cd-ef", boot.Client{})
	if !strings.Contains(got, "Put wimboot into a loader folder.") {
		t.Errorf("without wimboot:\n%s", got)
	}
	f = testFiles(t, Config{Library: lib}, "wimboot")
	got, _ = readFile(t, f, "ipxe/efi-x64/52-54-00-ab-cd-ef", boot.Client{})
	if !strings.Contains(got, "kernel /wimboot  || goto failed\n") ||
		!strings.Contains(got, "initrd --name boot.wim /boot/pe/boot.wim boot.wim || goto failed\n") {
		t.Errorf("with wimboot:\n%s", got)
	}
}

// Whatever a name or a ticket holds, the script must have the lines the
// template has and no command of theirs.
func TestScriptInjection(t *testing.T) {
	lib := &bootable.Library{}
	lib.Add(t, content.Content{ID: "b1", Name: "x\nshell\n${cmd} || poweroff ; # <b>", Arch: "amd64"}, bootable.Linux)
	f := testFiles(t, Config{Library: lib, Title: "a\nshell"})
	got, _ := readFile(t, f, "ipxe/efi-x64/52-54-00-ab-cd-ef", boot.Client{})
	if strings.Contains(got, "\nshell") || strings.Contains(got, "${cmd}") || strings.Contains(got, "|| poweroff") {
		t.Errorf("script:\n%s", got)
	}
	for _, bad := range []boot.Ticket{
		{Server: "http://192.0.2.1:8443"},
		{Server: "https://192.0.2.1 || shell"},
		{Server: "https://192.0.2.1:8443", Token: "a b"},
		{Server: "https://192.0.2.1:8443", Token: "${x}"},
		{Server: "https://192.0.2.1:8443", Pin: "x\nshell"},
		{Server: "https://192.0.2.1:8443", Token: strings.Repeat("a", 600)},
	} {
		f := testFiles(t, Config{Library: lib, Ticket: func(context.Context, boot.Client) (boot.Ticket, error) { return bad, nil }})
		got, _ := readFile(t, f, "ipxe/efi-x64/52-54-00-ab-cd-ef", boot.Client{})
		if !strings.Contains(got, "gave this machine no ticket") || strings.Contains(got, "\nshell") || strings.Contains(got, "\nkernel") {
			t.Errorf("ticket %+v:\n%s", bad, got)
		}
	}
	lib.Contents[0].ID = "b1 || shell"
	got, _ = readFile(t, testFiles(t, Config{Library: lib}), "ipxe/efi-x64/52-54-00-ab-cd-ef", boot.Client{})
	if strings.Contains(got, "|| shell") {
		t.Errorf("hostile id:\n%s", got)
	}
}

func TestNewFilesRefuses(t *testing.T) {
	l := testLoaders(t)
	for name, cfg := range map[string]Config{
		"no loaders": {},
		"port":       {Loaders: l, HTTPPort: -1},
		"argument":   {Loaders: l, KernelArgs: []string{"console=tty0 quiet"}},
		"wait":       {Loaders: l, Idle: boot.Idle{Wait: time.Millisecond}},
		"exit code":  {Loaders: l, Idle: boot.Idle{ExitCode: 256}},
	} {
		if _, err := New(cfg); err == nil {
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
		"undionly.kpxe", `\Boot\BCD`, "../../etc/passwd", "ipxe/efi-x64/52-54-00-ab-cd-ef", "ipxe/" + bootable.UUID,
		"boot/b1/vmlinuz", "autoexec.ipxe", "a/autoexec.ipxe", "ipxe/efi-x64/52-54-00-ab-cd-ef;shell", "\xff", "ipxe/bios/\u0130",
	} {
		f.Add(seed)
	}
	dir := f.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "undionly.kpxe"), []byte("loader"), 0o644); err != nil {
		f.Fatal(err)
	}
	loaders, err := source.NewLoaders(dir)
	if err != nil {
		f.Fatal(err)
	}
	files, err := New(Config{Loaders: loaders})
	if err != nil {
		f.Fatal(err)
	}
	commands := map[string]bool{}
	for _, w := range []string{"", "#!ipxe", "#", "echo", "sleep", "chain", "dhcp", "goto", "isset", ":start", ":again", ":retry"} {
		commands[w] = true
	}
	f.Fuzz(func(t *testing.T, name string) {
		file, err := files.Open(context.Background(), name, boot.Client{})
		if err != nil {
			if !errors.Is(err, boot.ErrNotFound) && !errors.Is(err, boot.ErrForbidden) {
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
