package source

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"castpoint/boot/asset"
	"castpoint/test/bootable"
)

// What is imported counts at once, behind the folders of the settings; what is
// removed is gone.
func TestLoadersAssets(t *testing.T) {
	own := bootable.LoaderDir(t, "own.efi")
	l, err := NewLoaders(own)
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(t.TempDir(), "assets")
	l.Assets(dir)
	source := filepath.Join(t.TempDir(), "loaders")
	for _, name := range []string{"own.efi", "x86_64-sb/snponly-shim.efi"} {
		p := filepath.Join(source, name)
		if err := os.MkdirAll(filepath.Dir(p), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(p, append([]byte("MZ"), make([]byte, 100)...), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if _, ok := l.Find("x86_64-sb/snponly-shim.efi"); ok {
		t.Error("found before it was imported")
	}
	a, err := asset.Import(dir, asset.Options{Path: source, Trust: []string{"all"}, Now: time.Now()})
	if err != nil {
		t.Fatal(err)
	}
	if p, ok := l.Find("X86_64-SB/snponly-shim.efi"); !ok || filepath.Dir(filepath.Dir(filepath.Dir(p))) != filepath.Join(dir, a.ID) {
		t.Errorf("%q, %v", p, ok)
	}
	if p, _ := l.Find("own.efi"); filepath.Dir(p) != own {
		t.Errorf("own.efi is %s", p)
	}
	if err := asset.Remove(dir, a.ID); err != nil {
		t.Fatal(err)
	}
	if _, ok := l.Find("x86_64-sb/snponly-shim.efi"); ok {
		t.Error("found after it was removed")
	}
}

func TestLoaders(t *testing.T) {
	a := bootable.LoaderDir(t, "SNPonly.EFI", "arm64/snponly.efi", "EFI/Microsoft/Boot/Fonts/wgl4_boot.ttf", "1/2/3/4/5/6/7/far.efi")
	b := bootable.LoaderDir(t, "snponly.efi", "only-b.efi")
	if err := os.Symlink(filepath.Join(b, "only-b.efi"), filepath.Join(a, "link.efi")); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(a, filepath.Join(a, "loop")); err != nil {
		t.Fatal(err)
	}
	l, err := NewLoaders(a, b, filepath.Join(a, "not-there-yet"))
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{
		"snponly.efi":                            filepath.Join(a, "SNPonly.EFI"),
		"ARM64/SnpOnly.efi":                      filepath.Join(a, "arm64/snponly.efi"),
		"only-b.efi":                             filepath.Join(b, "only-b.efi"),
		"efi/MICROSOFT/boot/Fonts/WGL4_boot.ttf": filepath.Join(a, "EFI/Microsoft/Boot/Fonts/wgl4_boot.ttf"),
		"link.efi":                               filepath.Join(a, "link.efi"),
	} {
		if got, ok := l.Find(name); !ok || got != want {
			t.Errorf("%s: got %q %v, want %q", name, got, ok, want)
		}
	}
	for _, name := range []string{"arm64", "", "no.efi", "1/2/3/4/5/6/7/far.efi"} {
		if got, ok := l.Find(name); ok {
			t.Errorf("%q: found %q", name, got)
		}
	}
	if _, err := NewLoaders(filepath.Join(a, "SNPonly.EFI")); err == nil {
		t.Error("a file was accepted as a folder")
	}
}

// A loader that is installed later is found without a restart, and one that is
// removed is gone at once.
func TestLoadersInstalledLater(t *testing.T) {
	dir := bootable.LoaderDir(t)
	l, err := NewLoaders(dir)
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	l.now = func() time.Time { return now }
	path := filepath.Join(dir, "undionly.kpxe")
	if err := os.WriteFile(path, []byte("x"), 0o644); err != nil {
		t.Fatal(err)
	}
	if got, ok := l.Find("undionly.kpxe"); ok {
		t.Errorf("found %s before the next scan", got)
	}
	now = now.Add(loaderRescan)
	if got, ok := l.Find("undionly.kpxe"); !ok || got != path {
		t.Errorf("after installing: %q, %v", got, ok)
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if got, ok := l.Find("undionly.kpxe"); ok {
		t.Errorf("after removing: %q", got)
	}
}
