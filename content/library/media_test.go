package library

import (
	"context"
	"crypto/sha256"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"castpoint/content"
	"castpoint/test/image"
)

// setupMedia makes the folder of Windows installation media, small ones.
func setupMedia(t testing.TB) string {
	t.Helper()
	dir := t.TempDir()
	for name, data := range map[string]string{
		"setup.exe": "MZ", "boot/boot.sdi": "sdi", "boot/bcd": "bcd", "boot/fonts/wgl4_boot.ttf": "font", "bootmgr": "bios",
		"bootmgr.efi": "efi", "efi/boot/bootx64.efi": "MZ efi", "efi/microsoft/boot/boot.stl": "stl", "support/readme.txt": "read",
	} {
		writeFile(t, filepath.Join(dir, name), []byte(data))
	}
	for name, from := range map[string]string{
		"sources/install.wim": image.Capture(t, 300_000, []string{"--check"}, "Windows 11 Home", "Windows 11 Pro"),
		"sources/boot.wim":    image.Capture(t, 100_000, nil, "Microsoft Windows PE", "Microsoft Windows Setup"),
	} {
		writeFile(t, filepath.Join(dir, name), readFile(t, from))
	}
	return dir
}

// Installation media in an ISO image is added as what is wanted of it, and has
// the bytes that it has in the folder.
func TestAddISO(t *testing.T) {
	dir := setupMedia(t)
	for name, args := range map[string][]string{
		"UDF": {"-udf", "-allow-limited-size"}, "Joliet": {"-J"}, "Rock Ridge": {"-R"},
	} {
		t.Run(name, func(t *testing.T) {
			iso := image.ISO(t, dir, args...)
			l := openLibrary(t, t.TempDir())

			upgrade := add(t, l, content.AddRequest{Kind: content.KindOSUpgrade, Path: iso})
			folder := add(t, l, content.AddRequest{Kind: content.KindOSUpgrade, Path: dir, Name: "from the folder"})
			if upgrade.Name != "Windows 11" || !upgrade.Integrity || upgrade.Source != iso || upgrade.Arch != "amd64" || len(upgrade.Images) != 2 {
				t.Errorf("%+v", upgrade)
			}
			if len(upgrade.Files) != len(folder.Files) {
				t.Fatalf("%d files, the folder has %d", len(upgrade.Files), len(folder.Files))
			}
			for i, f := range upgrade.Files {
				if f != folder.Files[i] {
					t.Errorf("%+v, in the folder %+v", f, folder.Files[i])
				}
			}

			image := add(t, l, content.AddRequest{Kind: content.KindOSImage, Path: iso, Index: 2})
			want := content.Digest(sha256.Sum256(readFile(t, filepath.Join(dir, "sources/install.wim"))))
			if image.Name != "Windows 11 Pro" || len(image.Files) != 1 || image.Files[0].Name != "install.wim" || image.Files[0].Digest != want || !image.Integrity {
				t.Errorf("%+v", image)
			}

			boot := add(t, l, content.AddRequest{Kind: content.KindBootImage, Path: iso})
			var names []string
			for _, f := range boot.Files[1:] {
				names = append(names, f.Name)
			}
			if f := boot.Files[0]; f.Role != content.RoleImage || f.Name != "boot.wim" || f.Digest != sha256.Sum256(readFile(t, filepath.Join(dir, "sources/boot.wim"))) {
				t.Errorf("%+v", f)
			}
			if have := strings.Join(names, " "); have != "boot/bcd boot/boot.sdi boot/fonts/wgl4_boot.ttf bootmgr bootmgr.efi efi/boot/bootx64.efi efi/microsoft/boot/boot.stl" {
				t.Errorf("boot files %s", have)
			}
			consistent(t, l)
		})
	}
}

// What is no installation media, or a cut image, is refused before anything is
// copied.
func TestAddISORefused(t *testing.T) {
	dir := t.TempDir()
	writeFile(t, filepath.Join(dir, "file"), make([]byte, 1<<20))
	other := image.ISO(t, dir, "-udf")
	cut := image.ISO(t, setupMedia(t), "-udf")
	b := readFile(t, cut)
	writeFile(t, cut, b[:len(b)-500_000])
	link := t.TempDir()
	writeFile(t, filepath.Join(link, "file"), nil)
	if err := os.Symlink("file", filepath.Join(link, "link")); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		kind content.Kind
		path string
		Text string
	}{
		{content.KindOSImage, other, "no sources/install.wim"},
		{content.KindBootImage, other, "no sources/boot.wim"},
		{content.KindOSUpgrade, other, "no setup.exe"},
		{content.KindDriverPackage, other, "no .inf file"},
		{content.KindOSImage, cut, "not complete"},
		{content.KindPackage, image.ISO(t, link, "-R"), "symbolic link"},
	} {
		l := openLibrary(t, t.TempDir())
		l.faults.Step = func(point string) error {
			t.Errorf("%s was reached", point)
			return nil
		}
		_, err := l.Add(context.Background(), content.AddRequest{Kind: c.kind, Path: c.path})
		if !errors.Is(err, content.ErrFile) || !strings.Contains(err.Error(), c.Text) {
			t.Errorf("%s %s: %v, want %q", c.kind, c.path, err, c.Text)
		}
		consistent(t, l)
	}
}

// A package has programs with exit codes, and keeps them when its files change.
func TestPrograms(t *testing.T) {
	dir := t.TempDir()
	writeFile(t, filepath.Join(dir, "setup.exe"), []byte("MZ"))
	l := openLibrary(t, t.TempDir())
	c := add(t, l, content.AddRequest{Kind: content.KindPackage, Path: dir, Name: "7-Zip", Language: "de-DE", Arch: "amd64", Programs: []content.Program{
		{Name: "install", Command: "setup.exe /S"}, {Name: "remove", Command: "setup.exe /U", Folder: "x", Success: []int{0, 17}},
	}, Distribution: content.Distribution{Priority: content.PriorityHigh}})
	check := func(c *content.Content) {
		t.Helper()
		if p := c.Programs; len(p) != 2 || len(p[0].Success) != 1 || len(p[0].Reboot) != 2 || len(p[1].Success) != 2 || p[1].Reboot != nil {
			t.Errorf("%+v", p)
		}
		if c.Language != "de-DE" || c.Arch != "amd64" || c.Distribution.Priority != content.PriorityHigh || c.Source != dir {
			t.Errorf("%+v", c)
		}
	}
	check(c)
	writeFile(t, filepath.Join(dir, "more"), []byte("x"))
	c, err := l.Update(context.Background(), c.ID, content.AddRequest{Path: dir, Arch: "amd64"})
	if err != nil {
		t.Fatal(err)
	}
	check(c)
	for _, programs := range [][]content.Program{
		{{Name: "", Command: "x"}}, {{Name: "x"}}, {{Name: "x", Command: "a\nb"}}, {{Name: "x", Command: "y", Folder: "../z"}},
		{{Name: "x", Command: "y"}, {Name: "X", Command: "y"}}, {{Name: "x", Command: "y", Success: []int{1}, Reboot: []int{1}}},
	} {
		if _, err := l.Set(c.ID, SetRequest{Programs: &programs}); !errors.Is(err, content.ErrInvalid) {
			t.Errorf("%+v: %v", programs, err)
		}
	}
	none := []content.Program{}
	if c, err = l.Set(c.ID, SetRequest{Programs: &none, Language: ptr("en-US"), Arch: ptr("arm64"), Source: ptr("https://example.net/x")}); err != nil || len(c.Programs) != 0 || c.Language != "en-US" || c.Arch != "arm64" || c.Source != "https://example.net/x" {
		t.Errorf("%+v %v", c, err)
	}
}

// The boot files that a boot image lacks can come out of another WIM.
func TestLoadersOfAnotherWIM(t *testing.T) {
	dir := t.TempDir()
	tree := filepath.Join(dir, "tree")
	for _, name := range []string{"Windows/Boot/EFI/bootmgfw.efi", "Windows/Boot/PXE/pxeboot.n12", "Windows/Boot/Fonts/wgl4_boot.ttf", "Windows/System32/winload.efi", "Windows/Boot/EFI/readme.txt"} {
		path := filepath.Join(tree, filepath.FromSlash(name))
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte("this is "+name), 0o600)); err != nil {
			t.Fatal(err)
		}
	}
	from, bare := filepath.Join(dir, "from.wim"), filepath.Join(dir, "bare.wim")
	for _, args := range [][]string{{"capture", tree, from, "--compress=LZX"}, {"capture", filepath.Join(tree, "Windows", "System32"), bare}} {
		if out, err := exec.Command("wimlib-imagex", args...).CombinedOutput(); err != nil {
			t.Fatalf("wimlib-imagex %v: %v\n%s", args, err, out)
		}
	}
	lib, err := OpenOptions(filepath.Join(dir, "library"), Options{Reserve: -1})
	if err != nil {
		t.Fatal(err)
	}
	defer lib.Close()
	ct, err := lib.Add(t.Context(), content.AddRequest{Kind: content.KindBootImage, Path: bare, Name: "bare", Arch: "amd64", Loaders: from})
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, f := range ct.Files {
		if f.Role != content.RoleFile {
			continue
		}
		names = append(names, f.Name)
		b, err := os.ReadFile(objectPath(lib, f.Digest))
		if err != nil || string(b) != "this is "+f.Name {
			t.Errorf("%s: %q, %v", f.Name, b, err)
		}
	}
	slices.Sort(names)
	if want := []string{"Windows/Boot/EFI/bootmgfw.efi", "Windows/Boot/Fonts/wgl4_boot.ttf", "Windows/Boot/PXE/pxeboot.n12"}; !slices.Equal(names, want) {
		t.Errorf("%v, want %v", names, want)
	}
	if _, err := lib.Add(t.Context(), content.AddRequest{Kind: content.KindBootImage, Path: bare, Name: "none", Arch: "amd64", Loaders: bare}); err == nil || !strings.Contains(err.Error(), "no boot files") {
		t.Errorf("a WIM without boot files: %v", err)
	}
}
