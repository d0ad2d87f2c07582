package machine

import (
	"context"
	"embed"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"castpoint/agent/disk"
	"castpoint/agent/unattend"
	"castpoint/deploy/sequence"
)

// goldenFiles come along: under Wine there is no source beside the test.
//
//go:embed testdata
var goldenFiles embed.FS

var update = flag.Bool("update", false, "write the golden files anew")

// recorder writes down what would be run.
type recorder struct {
	b    strings.Builder
	dir  string            // replaced by DIR
	says map[string]Result // by the program's name
	fail map[string]error
}

func (r *recorder) Run(_ context.Context, p Program) (Result, error) {
	line := strings.Join(p.Args, " ")
	if p.Line != "" {
		line = p.Line
	}
	fmt.Fprintf(&r.b, "%s\n", line)
	if p.Input != nil {
		text, err := io.ReadAll(p.Input)
		if err != nil {
			return Result{}, err
		}
		r.indent(string(text))
	}
	if p.Args[0] == "diskpart" {
		text, err := os.ReadFile(p.Args[len(p.Args)-1])
		if err != nil {
			return Result{}, err
		}
		r.indent(string(text))
	}
	if err := r.fail[p.Args[0]]; err != nil {
		return Result{}, err
	}
	return r.says[p.Args[0]], nil
}

func (r *recorder) indent(text string) {
	for line := range strings.Lines(strings.TrimRight(text, "\r\n") + "\n") {
		r.b.WriteString("    " + strings.TrimRight(line, "\r\n") + "\n")
	}
}

func (r *recorder) golden(t *testing.T, name string) {
	t.Helper()
	got := filepath.ToSlash(strings.ReplaceAll(r.b.String(), r.dir, "DIR"))
	got = strings.ReplaceAll(got, `DIR\`, "DIR/")
	if *update {
		if err := os.WriteFile(filepath.Join("testdata", name), []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := goldenFiles.ReadFile("testdata/" + name)
	if err != nil {
		t.Fatal(err, ": go test -update writes it")
	}
	if d := cmp.Diff(filepath.ToSlash(string(want)), got); d != "" {
		t.Errorf("%s differs:\n%s", name, d)
	}
}

// fakeKernel mounts by name and makes loop devices of files.
type fakeKernel struct {
	r       *recorder
	dir     string
	drive   *fakeDrive // NVMe
	discard error
}

func (k *fakeKernel) mount(source, target, format string) error {
	fmt.Fprintf(&k.r.b, "(mount %s %s %s)\n", source, target, format)
	return nil
}
func (k *fakeKernel) unmount(target string) error {
	fmt.Fprintf(&k.r.b, "(unmount %s)\n", target)
	return nil
}
func (k *fakeKernel) bind(source, target string) error {
	fmt.Fprintf(&k.r.b, "(bind %s %s)\n", source, target)
	return nil
}
func (k *fakeKernel) flush(folder, device string) error {
	fmt.Fprintf(&k.r.b, "(flush %s %s)\n", folder, device)
	return nil
}

func (k *fakeKernel) sync() { fmt.Fprintf(&k.r.b, "(sync)\n") }

func (k *fakeKernel) loop(path string, offset, size int64) (string, func() error, error) {
	fmt.Fprintf(&k.r.b, "(loop %s from %d, %d bytes)\n", path, offset, size)
	return filepath.Join(k.dir, "loop0"), func() error {
		fmt.Fprintf(&k.r.b, "(loop gone)\n")
		return nil
	}, nil
}

func (k *fakeKernel) nvmeNamespace(string) (uint32, error) { return 1, nil }
func (k *fakeKernel) nvme(path string, c nvmeCommand) error {
	return k.drive.do(path, c)
}
func (k *fakeKernel) discardSecurely(path string, size int64) error {
	fmt.Fprintf(&k.r.b, "(secure discard of %s, %d bytes)\n", path, size)
	return k.discard
}

func plan(t *testing.T, firmware, path string, size int64) *disk.Plan {
	t.Helper()
	p, err := disk.Place(&sequence.PartitionDisk{Layout: "windows"}, firmware, disk.Disk{Path: path, Size: size, Sector: 512}, rand.NewChaCha8([32]byte{1}))
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func volume(t *testing.T, p *disk.Plan, name string) disk.Volume {
	t.Helper()
	v, ok := p.Volume(name)
	if !ok {
		t.Fatalf("no volume %s", name)
	}
	return v
}

// newTestLinux is a Linux whose volumes are folders.
func newTestLinux(t *testing.T) (*Linux, *recorder) {
	t.Helper()
	dir := t.TempDir()
	r := &recorder{dir: dir, says: map[string]Result{}}
	l := NewLinux(r)
	l.kernel, l.mounts, l.grub, l.efi = &fakeKernel{r: r, dir: dir}, filepath.Join(dir, "mnt"), filepath.Join(dir, "grub"), filepath.Join(dir, "efi")
	return l, r
}

// wimFile is a WIM that package wim can describe: one of its own tests' making is
// not at hand here, so wimlib makes it.
func wimFile(t *testing.T, path string) {
	t.Helper()
	source := filepath.Join(t.TempDir(), "source")
	if err := errors.Join(os.Mkdir(source, 0o755), os.WriteFile(filepath.Join(source, "file"), []byte("text"), 0o644)); err != nil {
		t.Fatal(err)
	}
	r, err := System{}.Run(t.Context(), Program{Args: []string{"wimlib-imagex", "capture", source, path, "Windows Test", "--no-acls"}})
	if err != nil || r.Code != 0 {
		t.Fatalf("wimlib-imagex: %v: %s: run test/install-tools", err, r.Tail)
	}
}

// windowsFiles are what a boot loader is made of.
func windowsFiles(t *testing.T, root string) {
	t.Helper()
	for _, name := range []string{"Windows/boot/EFI/bootmgfw.efi", "Windows/Boot/EFI/de-DE/bootmgfw.efi.mui", "Windows/Boot/PCAT/BOOTMGR", "Windows/Boot/Fonts/a.ttf"} {
		path, err := makeFolder(root, filepath.Dir(name))
		if err == nil {
			err = os.WriteFile(filepath.Join(path, filepath.Base(name)), []byte(name), 0o644)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

func TestFind(t *testing.T) {
	root := tempDir(t)
	windowsFiles(t, root)
	for _, path := range []string{"windows/BOOT/efi/BOOTMGFW.EFI", `Windows\Boot\EFI\bootmgfw.efi`, "/Windows//Boot/PCAT/bootmgr"} {
		if _, err := Find(root, path); err != nil {
			t.Error(err)
		}
	}
	if _, err := Find(root, "Windows/none"); !errors.Is(err, os.ErrNotExist) {
		t.Error(err)
	}
}

// TestWindowsCommands compares the scripts and command lines of Windows PE with a
// golden file.
func TestWindowsCommands(t *testing.T) {
	dir := tempDir(t)
	r := &recorder{dir: dir, says: map[string]Result{"manage-bde": {Tail: "Numerical Password:\n ID: {12345678-1234-1234-1234-123456789ABC}\n Password:\n 111111-222222-333333-444444-555555-666666-777777-888888\n"}}}
	w := NewWindows(r, "uefi", true, filepath.Join(dir, "scripts"))
	w.Drive = func(letter string) string { return filepath.Join(dir, letter) }
	for _, letter := range []string{"S", "W", "R"} {
		if err := os.MkdirAll(filepath.Join(dir, letter), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	ctx := t.Context()
	p := plan(t, "uefi", `\\.\PhysicalDrive0`, 64<<30)
	windows, system := volume(t, p, "Windows"), volume(t, p, "System")
	windowsFiles(t, filepath.Join(dir, "W"))
	check := func(err error) {
		t.Helper()
		if err != nil {
			t.Error(err)
		}
	}
	check(w.Partition(ctx, p))
	check(w.Wipe(ctx, p.Disk, &sequence.WipeDisk{Method: "zero"}, nil))
	check(w.Bootloader(ctx, p, system, windows, &sequence.InstallBootloader{}))
	check(w.Bootloader(ctx, p, system, windows, &sequence.InstallBootloader{Firmware: "any"}))
	check(w.AddDrivers(ctx, windows, `D:\drivers`, "drivers", "amd64", true))
	check(Answers(filepath.Join(dir, "W"), "amd64", "", func(d *unattend.Document) error {
		d.Windows(&sequence.WindowsSettings{ComputerName: "PC"})
		return nil
	}))
	check(w.ApplyAnswers(ctx, windows))
	check(w.Capture(ctx, windows, `D:\out.wim`, "Captured", "fast", func(float64) {}))
	check(w.JoinDomain(ctx, &sequence.Domain{Name: "example.com", Account: `EXAMPLE\join`, Password: "pa55word"}))
	recovery, err := w.EnableBitLocker(ctx, "C:", &sequence.EnableBitLocker{Protector: "tpm-pin", PIN: "1234", UsedOnly: true, Wait: true})
	check(err)
	if recovery != "111111-222222-333333-444444-555555-666666-777777-888888" {
		t.Errorf("recovery password %q", recovery)
	}
	check(w.SuspendBitLocker(ctx, "C:", 2))
	check(w.Sysprep(ctx, "sysprep.exe", "oobe", "u.xml"))
	_, err = r.Run(ctx, w.Shell(`echo "a b" && exit 5`))
	check(err)
	ps, err := w.PowerShell(&sequence.RunPowerShell{Arguments: []string{"-Name", "x"}}, "script.ps1")
	check(err)
	_, err = r.Run(ctx, ps)
	check(err)
	r.golden(t, "windows.golden")
	if strings.Contains(r.b.String(), "pa55word") {
		t.Error("a command line shows the password")
	}
	if err := w.Wipe(ctx, p.Disk, &sequence.WipeDisk{Method: "random"}, nil); err == nil {
		t.Error("Windows PE wipes with random bytes")
	}
	if err := w.Bootloader(ctx, p, system, windows, &sequence.InstallBootloader{Kind: "grub"}); err == nil {
		t.Error("Windows PE installs GRUB")
	}
}

func TestBootMenu(t *testing.T) {
	m := parseBootMenu("BootCurrent: 0002\nTimeout: 3 seconds\nBootOrder: 0007,0002,0001,0003\n" +
		"Boot0001* Windows Boot Manager\tHD(1,GPT)/File(a)\nBoot0002* UEFI PXEv4\tPci\nBoot0003  Disk\nBoot0007* Windows Boot Manager\tHD(1)\n")
	if got := m.behindCurrent("Windows Boot Manager"); got != "0002,0007,0001,0003" {
		t.Errorf("order %q", got)
	}
	if got := m.labelled("Windows Boot Manager"); len(got) != 2 {
		t.Errorf("labelled %v", got)
	}
	m.current = "0009"
	if got := m.behindCurrent("Windows Boot Manager"); got != "" {
		t.Errorf("order %q, though the machine was booted by another entry", got)
	}
}

func TestFollow(t *testing.T) {
	var got []float64
	f := follow(func(p float64) { got = append(got, p) })
	for _, text := range []string{"Extracting file data: 32 KiB of 2929 KiB (1%) done\rExtracting (27%) done", "[=====  45.5%   ]", "nothing", "120% more", "100%"} {
		f([]byte(text))
	}
	if fmt.Sprint(got) != "[27 45.5 100]" {
		t.Errorf("percent %v", got)
	}
}

// tempDir is a folder for a test. Wine lacks what Go takes folders away with, so
// what cannot be removed stays.
func tempDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "castpoint-test-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}
