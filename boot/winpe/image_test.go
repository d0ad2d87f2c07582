package winpe

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"castpoint/boot/bcd"
	"castpoint/content/wim"
	"castpoint/content/wim/overlay"
)

// program is a PE program that does nothing, for a machine type.
func program(machine uint16, text string) []byte {
	b := make([]byte, 64+24+240)
	copy(b, "MZ")
	b[60] = 64
	head := b[64:]
	copy(head, "PE\x00\x00")
	head[4], head[5] = byte(machine), byte(machine>>8)
	head[20] = 240
	head[24], head[25] = 0x0b, 0x02
	head[24+108] = 16 // directories
	return append(b, text...)
}

const (
	peX64   = 0x8664
	peARM64 = 0xaa64
)

// full is what a WinPE boot image of Windows 11 has.
func full() map[string][]byte {
	files := map[string][]byte{
		"Windows/System32/Boot/winload.efi":            program(peX64, "winload.efi"),
		"Windows/System32/Boot/winload.exe":            program(peX64, "winload.exe"),
		"Windows/System32/winpeshl.ini":                []byte("[LaunchApp]\r\nAppPath=X:\\other.exe\r\n"),
		"Windows/Boot/EFI/en-US/bootmgfw.efi.mui":      []byte("texts"),
		"Windows/Boot/EFI/winsipolicy.p7b":             []byte("policy"),
		"Windows/Boot/Fonts/segoe_slboot.ttf":          []byte("segoe"),
		"Windows/Boot/Fonts_EX/wgl4_boot_EX.ttf":       []byte("font of 2023"),
		"Windows/System32/SecureBootUpdates/x.p7b":     []byte("no boot file"),
		"Windows/Boot/DVD/EFI/BCD":                     []byte("no boot file"),
		"Windows/System32/config/SYSTEM":               []byte("no boot file"),
		"Windows/Boot/Resources/en-US/bootres.dll.mui": []byte("resource"),
	}
	for _, f := range bootFiles() {
		data := []byte(f.name)
		if strings.HasSuffix(f.name, ".efi") {
			data = program(peX64, f.name)
		}
		files[f.image[0]] = data
	}
	return files
}

// makeWIM captures files with wimlib and returns the WIM.
func makeWIM(t testing.TB, files map[string][]byte, args ...string) []byte {
	t.Helper()
	dir := t.TempDir()
	tree := filepath.Join(dir, "tree")
	if err := os.Mkdir(tree, 0o755); err != nil {
		t.Fatal(err)
	}
	for name, data := range files {
		p := filepath.Join(tree, filepath.FromSlash(name))
		if err := errors.Join(os.MkdirAll(filepath.Dir(p), 0o755), os.WriteFile(p, data, 0o644)); err != nil {
			t.Fatal(err)
		}
	}
	out := filepath.Join(dir, "boot.wim")
	wimlib(t, append([]string{"capture", tree, out, "WinPE", "--compress=LZX", "--boot", "--no-acls"}, args...)...)
	b, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func wimlib(t testing.TB, args ...string) string {
	t.Helper()
	path, err := exec.LookPath("wimlib-imagex")
	if err != nil {
		t.Fatal("install wimtools: ", err)
	}
	out, err := exec.CommandContext(t.Context(), path, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("wimlib-imagex %s: %v: %s", strings.Join(args, " "), err, out)
	}
	return string(out)
}

func openWIM(t *testing.T, b []byte, o Options) *Image {
	t.Helper()
	img, err := Open(bytes.NewReader(b), int64(len(b)), 0, o)
	if err != nil {
		t.Fatal(err)
	}
	return img
}

func TestFullImage(t *testing.T) {
	img := openWIM(t, makeWIM(t, full()), Options{})
	if img.Arch() != "amd64" || img.Index() != 1 {
		t.Errorf("arch %q, index %d", img.Arch(), img.Index())
	}
	if m := img.Missing(); len(m) != 0 {
		t.Errorf("missing: %v", m)
	}
	if got, want := len(img.Files()), len(bootFiles()); got != want {
		t.Errorf("%d boot files, want %d", got, want)
	}
	for _, fw := range []bcd.Firmware{bcd.UEFI, bcd.BIOS} {
		if p, ok := img.LoaderPath(fw); !ok || !strings.HasPrefix(p, `\Windows\System32\Boot\winload.`) {
			t.Errorf("loader %q, %v", p, ok)
		}
	}
	// As firmware and boot managers were seen to ask.
	for name, want := range map[string]string{
		"bootmgfw.efi":                               "Windows/Boot/EFI/bootmgfw.efi",
		`\BOOTMGFW.EFI`:                              "Windows/Boot/EFI/bootmgfw.efi",
		`Boot\x64\bootmgfw.efi`:                      "Windows/Boot/EFI/bootmgfw.efi",
		"bootmgfw_ex.EFI":                            "Windows/Boot/EFI_EX/bootmgfw_EX.efi",
		`\Boot\boot.sdi`:                             "Windows/Boot/DVD/EFI/boot.sdi",
		`\boot.stl`:                                  "Windows/Boot/EFI/boot.stl",
		`\EFI\Microsoft\Boot\boot.stl`:               "Windows/Boot/EFI/boot.stl",
		`\EFI\Microsoft\Boot\Fonts\wgl4_boot.ttf`:    "Windows/Boot/Fonts/wgl4_boot.ttf",
		`/EFI/Microsoft/Boot/Fonts/Segoe_slboot.ttf`: "Windows/Boot/Fonts/segoe_slboot.ttf",
		`\Boot\Fonts\wgl4_boot_EX.ttf`:               "Windows/Boot/Fonts_EX/wgl4_boot_ex.ttf",
		`\EFI\Microsoft\Boot\WinSiPolicy.p7b`:        "Windows/Boot/EFI/winsipolicy.p7b",
		`\en-US\bootmgfw.efi.MUI`:                    "Windows/Boot/EFI/en-us/bootmgfw.efi.mui",
		`bootmgr.exe`:                                "Windows/Boot/PXE/bootmgr.exe",
		`\Boot\Resources\en-US\bootres.dll.mui`:      "Windows/Boot/resources/en-us/bootres.dll.mui",
	} {
		f, err := img.Find(name)
		if err != nil || f.Path != want || f.Extra {
			t.Errorf("find %q: %q, %v; want %q", name, f.Path, err, want)
			continue
		}
		if data, err := img.Read(f); err != nil || int64(len(data)) != f.Size {
			t.Errorf("read %q: %d bytes of %d, %v", name, len(data), f.Size, err)
		}
	}
	for _, name := range []string{
		"", "/", "BCD", `\Boot\BCD`, "boot.wim", `Windows\System32\config\SYSTEM`, "x.p7b", "../bootmgfw.efi", "winload.efi",
		"some/where/bootmgfw.efi", "Windows/Boot/EFI/bootmgfw.efi", `EFI\Microsoft\Boot\SiPolicy.p7b`, "fonts/nothing.ttf", "a\x00b.ttf",
	} {
		if f, err := img.Find(name); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("find %q: %+v, %v; want none", name, f, err)
		}
	}
}

// Each file that is taken away is missed by its name, with what does not work,
// and stands in the way of the firmware that needs it.
func TestMissing(t *testing.T) {
	for _, f := range bootFiles() {
		files := full()
		delete(files, f.image[0])
		img := openWIM(t, makeWIM(t, files), Options{})
		missing := img.Missing()
		if len(missing) != 1 || missing[0].Name != f.name || missing[0].Without == "" {
			t.Errorf("without %s: missing %v", f.name, missing)
			continue
		}
		wantUEFI := f.uefi && f.name != BootManager // the one of 2023 is there
		if got := len(img.Obstacles(bcd.UEFI)) == 1; got != wantUEFI {
			t.Errorf("without %s: obstacle for UEFI %v, want %v", f.name, got, wantUEFI)
		}
		if got := len(img.Obstacles(bcd.BIOS)) == 1; got != f.bios {
			t.Errorf("without %s: obstacle for BIOS %v, want %v", f.name, got, f.bios)
		}
	}
	files := full()
	delete(files, "Windows/Boot/EFI/bootmgfw.efi")
	delete(files, "Windows/Boot/EFI_EX/bootmgfw_EX.efi")
	delete(files, "Windows/System32/Boot/winload.efi")
	img := openWIM(t, makeWIM(t, files), Options{})
	var names []string
	for _, m := range img.Obstacles(bcd.UEFI) {
		names = append(names, m.Name)
	}
	if want := []string{"winload.efi", BootManager}; !slices.Equal(names, want) {
		t.Errorf("obstacles %v, want %v", names, want)
	}
}

// An ARM64 image has no BIOS to care for.
func TestARM64(t *testing.T) {
	img := openWIM(t, makeWIM(t, map[string][]byte{
		"windows/system32/boot/WINLOAD.EFI":   program(peARM64, ""),
		"windows/boot/efi/bootmgfw.efi":       program(peARM64, ""),
		"windows/boot/dvd/efi/boot.sdi":       []byte("sdi"),
		"windows/boot/fonts/wgl4_boot.ttf":    []byte("font"),
		"windows/boot/efi/en-US/x.mui":        []byte("text"),
		"windows/boot/efi/boot.stl":           []byte("stl"),
		"windows/boot/efi/winsipolicy.p7b":    []byte("p"),
		"windows/boot/efi_ex/bootmgfw_EX.efi": program(peARM64, ""),
	}), Options{})
	if img.Arch() != "arm64" {
		t.Errorf("arch %q", img.Arch())
	}
	for _, m := range img.Missing() {
		if m.Name != RollbackPolicy {
			t.Errorf("missing: %v", m)
		}
	}
}

func TestExtraFolders(t *testing.T) {
	files := full()
	delete(files, "Windows/Boot/DVD/EFI/boot.sdi")
	delete(files, "Windows/Boot/EFI_EX/bootmgfw_EX.efi")
	medium := fstest.MapFS{ // an installation medium for another processor
		"BOOT/Boot.SDI":                         {Data: []byte("sdi of the medium")},
		"efi/boot/bootx64.efi":                  {Data: program(peARM64, "wrong processor")},
		"bootbins/other.efi":                    {Data: []byte("x")},
		"EFI/Microsoft/Boot/Fonts/chs_boot.ttf": {Data: []byte("chs")},
	}
	own := fstest.MapFS{
		"arm64/bootmgfw_EX.efi": {Data: program(peARM64, "")},
		"x64/BootMgfw_EX.efi":   {Data: program(peX64, "own")},
		"wgl4_boot.ttf":         {Data: []byte("own font")},
	}
	img := openWIM(t, makeWIM(t, files), Options{Extra: []fs.FS{FoldCase(own), FoldCase(medium)}})
	if m := img.Missing(); len(m) != 0 {
		t.Errorf("missing: %v", m)
	}
	for name, want := range map[string]struct {
		path  string
		extra bool
	}{
		SDI:                                      {"boot/boot.sdi", true},
		BootManager:                              {"Windows/Boot/EFI/bootmgfw.efi", false},
		BootManagerEX:                            {"x64/bootmgfw_EX.efi", true},
		Font:                                     {"wgl4_boot.ttf", true},
		`\EFI\Microsoft\Boot\Fonts\chs_boot.ttf`: {"efi/microsoft/boot/fonts/chs_boot.ttf", true},
	} {
		f, err := img.Find(name)
		if err != nil || f.Path != want.path || f.Extra != want.extra {
			t.Errorf("find %s: %q, extra %v, %v; want %v", name, f.Path, f.Extra, err, want)
			continue
		}
		if data, err := img.Read(f); err != nil || int64(len(data)) != f.Size {
			t.Errorf("read %s: %d bytes of %d, %v", name, len(data), f.Size, err)
		}
	}
	// A file that changes is read anew.
	own["wgl4_boot.ttf"] = &fstest.MapFile{Data: []byte("a longer font")}
	f, err := img.Find(Font)
	if err != nil {
		t.Fatal(err)
	}
	if data, err := img.Read(f); err != nil || string(data) != "a longer font" {
		t.Errorf("after a change: %q, %v", data, err)
	}
}

func TestOpenErrors(t *testing.T) {
	b := makeWIM(t, map[string][]byte{"etc/hosts": []byte("127.0.0.1")})
	if _, err := Open(bytes.NewReader(b), int64(len(b)), 0, Options{}); !errors.Is(err, ErrNoWindows) {
		t.Errorf("a WIM without Windows: %v", err)
	}
	if _, err := Open(bytes.NewReader(b), int64(len(b)), 2, Options{}); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("an index that is not there: %v", err)
	}
	if _, err := Open(strings.NewReader("no WIM"), 6, 0, Options{}); !errors.Is(err, wim.ErrNotWIM) {
		t.Errorf("no WIM: %v", err)
	}
}

// What a machine gets is the stored WIM with five files changed, by wimlib.
func TestOverlay(t *testing.T) {
	for _, args := range [][]string{nil, {"--check"}} {
		source := makeWIM(t, full(), args...)
		img := openWIM(t, source, Options{})
		agent := bytes.Repeat([]byte("agent"), 100_000)
		o := OverlayOptions{
			Agent:  &Agent{Content: bytes.NewReader(agent), Size: int64(len(agent))},
			Config: Config{Server: "https://192.0.2.1:8443", Pin: "sha256:00", Token: "secret1", MAC: "52:54:00:00:00:01", Words: []string{"castpoint.debug"}},
			Files:  []overlay.File{{Path: DriverPath + `\nic\nic.inf`, Data: []byte("[Version]")}},
		}
		c, err := img.Overlay(o)
		if err != nil {
			t.Fatal(err)
		}
		dir := t.TempDir()
		out := filepath.Join(dir, "device.wim")
		data, err := io.ReadAll(io.NewSectionReader(c, 0, c.Size()))
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(out, data, 0o644); err != nil {
			t.Fatal(err)
		}
		wimlib(t, "verify", out)
		wimlib(t, "apply", out, "1", filepath.Join(dir, "tree"))
		want := full()
		want["castpoint/castagent.exe"] = agent
		want["castpoint/boot.conf"] = []byte("castpoint.server=https://192.0.2.1:8443\r\ncastpoint.pin=sha256:00\r\ncastpoint.token=secret1\r\ncastpoint.mac=52:54:00:00:00:01\r\ncastpoint.debug\r\n")
		want["castpoint/drivers/nic/nic.inf"] = []byte("[Version]")
		want["castpoint/start.cmd"] = startScript(false)
		want["Windows/System32/winpeshl.ini"] = shellINI()
		err = filepath.WalkDir(filepath.Join(dir, "tree"), func(p string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() {
				return err
			}
			name, _ := filepath.Rel(filepath.Join(dir, "tree"), p)
			got, err := os.ReadFile(p)
			if w, ok := want[filepath.ToSlash(name)]; !ok || !bytes.Equal(got, w) {
				t.Errorf("%s: %d bytes, want %d (%v)", name, len(got), len(w), ok)
			}
			delete(want, filepath.ToSlash(name))
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		for name := range want {
			t.Errorf("%s is not there", name)
		}

		// The same again, and another token of the same length.
		again, err := img.Overlay(o)
		if err != nil {
			t.Fatal(err)
		}
		o.Config.Token = "secret2"
		other, err := img.Overlay(o)
		if err != nil {
			t.Fatal(err)
		}
		if again.ETag("x") != c.ETag("x") || other.ETag("x") == c.ETag("x") || other.Size() != c.Size() {
			t.Errorf("tags %s, %s, %s; sizes %d, %d", c.ETag("x"), again.ETag("x"), other.ETag("x"), c.Size(), other.Size())
		}
	}
}

func TestConfigRefused(t *testing.T) {
	img := openWIM(t, makeWIM(t, full()), Options{})
	for _, bad := range []Config{{Server: "https://x y"}, {Token: "a\r\nb"}, {Words: []string{"é"}}} {
		o := OverlayOptions{Agent: &Agent{Content: strings.NewReader("a"), Size: 1}, Config: bad}
		if _, err := img.Overlay(o); err == nil {
			t.Errorf("settings %+v were taken", bad)
		}
	}
}

// cmd.exe reads scripts by line ends of its own, and labels by the first word.
func TestStartScript(t *testing.T) {
	for _, prompt := range []bool{false, true} {
		script := string(startScript(prompt))
		if strings.Count(script, "\n") != strings.Count(script, "\r\n") {
			t.Error("a line does not end with CR LF")
		}
		for line := range strings.Lines(script) {
			words := strings.Fields(line)
			for i, w := range words {
				if w == "goto" && !strings.Contains(script, "\r\n:"+words[i+1]+"\r\n") {
					t.Errorf("no label %s", words[i+1])
				}
			}
		}
		if strings.Contains(script, "this is a command prompt") != prompt {
			t.Errorf("prompt %v: %s", prompt, script)
		}
	}
}
