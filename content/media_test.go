package content

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
		"sources/install.wim": captureWIM(t, 300_000, []string{"--check"}, "Windows 11 Home", "Windows 11 Pro"),
		"sources/boot.wim":    captureWIM(t, 100_000, nil, "Microsoft Windows PE", "Microsoft Windows Setup"),
	} {
		writeFile(t, filepath.Join(dir, name), readFile(t, from))
	}
	return dir
}

// makeISO makes an ISO image of a folder with genisoimage.
func makeISO(t testing.TB, dir string, args ...string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "windows.iso")
	args = append(append([]string{"-quiet", "-V", "CCCOMA_X64FRE"}, args...), "-o", file, dir)
	if out, err := exec.Command("genisoimage", args...).CombinedOutput(); err != nil {
		t.Fatalf("genisoimage %v: %v\n%s", args, err, out)
	}
	return file
}

// Installation media in an ISO image is added as what is wanted of it, and has
// the bytes that it has in the folder.
func TestAddISO(t *testing.T) {
	dir := setupMedia(t)
	for name, args := range map[string][]string{
		"UDF": {"-udf", "-allow-limited-size"}, "Joliet": {"-J"}, "Rock Ridge": {"-R"},
	} {
		t.Run(name, func(t *testing.T) {
			iso := makeISO(t, dir, args...)
			l := openLibrary(t, t.TempDir())

			upgrade := add(t, l, AddRequest{Kind: KindOSUpgrade, Path: iso})
			folder := add(t, l, AddRequest{Kind: KindOSUpgrade, Path: dir, Name: "from the folder"})
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

			image := add(t, l, AddRequest{Kind: KindOSImage, Path: iso, Index: 2})
			want := Digest(sha256.Sum256(readFile(t, filepath.Join(dir, "sources/install.wim"))))
			if image.Name != "Windows 11 Pro" || len(image.Files) != 1 || image.Files[0].Name != "install.wim" || image.Files[0].Digest != want || !image.Integrity {
				t.Errorf("%+v", image)
			}

			boot := add(t, l, AddRequest{Kind: KindBootImage, Path: iso})
			var names []string
			for _, f := range boot.Files[1:] {
				names = append(names, f.Name)
			}
			if f := boot.Files[0]; f.Role != RoleImage || f.Name != "boot.wim" || f.Digest != sha256.Sum256(readFile(t, filepath.Join(dir, "sources/boot.wim"))) {
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
	other := makeISO(t, dir, "-udf")
	cut := makeISO(t, setupMedia(t), "-udf")
	b := readFile(t, cut)
	writeFile(t, cut, b[:len(b)-500_000])
	link := t.TempDir()
	writeFile(t, filepath.Join(link, "file"), nil)
	if err := os.Symlink("file", filepath.Join(link, "link")); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		kind Kind
		path string
		text string
	}{
		{KindOSImage, other, "no sources/install.wim"},
		{KindBootImage, other, "no sources/boot.wim"},
		{KindOSUpgrade, other, "no setup.exe"},
		{KindDriverPackage, other, "no .inf file"},
		{KindOSImage, cut, "not complete"},
		{KindPackage, makeISO(t, link, "-R"), "symbolic link"},
	} {
		l := openLibrary(t, t.TempDir())
		l.replaced.step = func(point string) error {
			t.Errorf("%s was reached", point)
			return nil
		}
		_, err := l.Add(context.Background(), AddRequest{Kind: c.kind, Path: c.path})
		if !errors.Is(err, ErrFile) || !strings.Contains(err.Error(), c.text) {
			t.Errorf("%s %s: %v, want %q", c.kind, c.path, err, c.text)
		}
		consistent(t, l)
	}
}

// A package has programs with exit codes, and keeps them when its files change.
func TestPrograms(t *testing.T) {
	dir := t.TempDir()
	writeFile(t, filepath.Join(dir, "setup.exe"), []byte("MZ"))
	l := openLibrary(t, t.TempDir())
	c := add(t, l, AddRequest{Kind: KindPackage, Path: dir, Name: "7-Zip", Language: "de-DE", Arch: "amd64", Programs: []Program{
		{Name: "install", Command: "setup.exe /S"}, {Name: "remove", Command: "setup.exe /U", Folder: "x", Success: []int{0, 17}},
	}, Distribution: Distribution{Priority: PriorityHigh}})
	check := func(c *Content) {
		t.Helper()
		if p := c.Programs; len(p) != 2 || len(p[0].Success) != 1 || len(p[0].Reboot) != 2 || len(p[1].Success) != 2 || p[1].Reboot != nil {
			t.Errorf("%+v", p)
		}
		if c.Language != "de-DE" || c.Arch != "amd64" || c.Distribution.Priority != PriorityHigh || c.Source != dir {
			t.Errorf("%+v", c)
		}
	}
	check(c)
	writeFile(t, filepath.Join(dir, "more"), []byte("x"))
	c, err := l.Update(context.Background(), c.ID, AddRequest{Path: dir, Arch: "amd64"})
	if err != nil {
		t.Fatal(err)
	}
	check(c)
	for _, programs := range [][]Program{
		{{Name: "", Command: "x"}}, {{Name: "x"}}, {{Name: "x", Command: "a\nb"}}, {{Name: "x", Command: "y", Folder: "../z"}},
		{{Name: "x", Command: "y"}, {Name: "X", Command: "y"}}, {{Name: "x", Command: "y", Success: []int{1}, Reboot: []int{1}}},
	} {
		if _, err := l.Set(c.ID, SetRequest{Programs: &programs}); !errors.Is(err, ErrInvalid) {
			t.Errorf("%+v: %v", programs, err)
		}
	}
	none := []Program{}
	if c, err = l.Set(c.ID, SetRequest{Programs: &none, Language: ptr("en-US"), Arch: ptr("arm64"), Source: ptr("https://example.net/x")}); err != nil || len(c.Programs) != 0 || c.Language != "en-US" || c.Arch != "arm64" || c.Source != "https://example.net/x" {
		t.Errorf("%+v %v", c, err)
	}
}

// Boot files that the WIM of a boot image lacks are kept beside it, out of a
// folder that has much else.
func TestAddLoaders(t *testing.T) {
	for _, c := range []struct {
		name string
		want bool
	}{
		{"bootmgfw.efi", true}, {"x64/bootmgfw_EX.efi", true}, {"Media/boot/boot.sdi", true}, {"EFI/Microsoft/Boot/Fonts/wgl4_boot.ttf", true},
		{"bootmgr", true}, {"bootmgr.exe", true}, {"pxeboot.n12", true}, {"boot/bcd", false}, {"sources/install.wim", false},
		{"sources/setup.efi", false}, {"setup.exe", false}, {"readme.txt", false}, {"EFI/Microsoft/Boot/SkuSiPolicy.p7b", true},
	} {
		if got := bootFile(c.name); got != c.want {
			t.Errorf("%s: %v", c.name, got)
		}
	}
	dir := t.TempDir()
	for _, name := range []string{"boot.sdi", "x64/bootmgfw.efi", "readme.txt"} {
		p := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(p), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(p, []byte(name), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	own := []source{{role: RoleImage, name: "boot.wim"}, {role: RoleFile, name: "X64/BootMgfw.efi"}, {role: RoleFile, name: "boot/other.efi"}}
	names := func(path string) (names []string) {
		t.Helper()
		list, err := addLoaders(t.Context(), slices.Clone(own), AddRequest{Kind: KindBootImage, Loaders: path})
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range list {
			names = append(names, s.name)
		}
		return names
	}
	if got, want := names(dir), []string{"boot.wim", "boot/other.efi", "boot.sdi", "x64/bootmgfw.efi"}; !slices.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
	if got, want := names(filepath.Join(dir, "boot.sdi")), []string{"boot.wim", "X64/BootMgfw.efi", "boot/other.efi", "boot.sdi"}; !slices.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
	for path, kind := range map[string]Kind{
		filepath.Join(dir, "none"): KindBootImage, filepath.Join(dir, "readme.txt"): KindBootImage, dir: KindOSImage,
	} {
		if _, err := addLoaders(t.Context(), own, AddRequest{Kind: kind, Loaders: path}); err == nil {
			t.Errorf("%s for %s was taken", path, kind)
		}
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
	ct, err := lib.Add(t.Context(), AddRequest{Kind: KindBootImage, Path: bare, Name: "bare", Arch: "amd64", Loaders: from})
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, f := range ct.Files {
		if f.Role != RoleFile {
			continue
		}
		names = append(names, f.Name)
		b, err := os.ReadFile(lib.objectPath(f.Digest))
		if err != nil || string(b) != "this is "+f.Name {
			t.Errorf("%s: %q, %v", f.Name, b, err)
		}
	}
	slices.Sort(names)
	if want := []string{"Windows/Boot/EFI/bootmgfw.efi", "Windows/Boot/Fonts/wgl4_boot.ttf", "Windows/Boot/PXE/pxeboot.n12"}; !slices.Equal(names, want) {
		t.Errorf("%v, want %v", names, want)
	}
	if _, err := lib.Add(t.Context(), AddRequest{Kind: KindBootImage, Path: bare, Name: "none", Arch: "amd64", Loaders: bare}); err == nil || !strings.Contains(err.Error(), "no boot files") {
		t.Errorf("a WIM without boot files: %v", err)
	}
}
