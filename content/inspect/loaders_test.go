package inspect

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"castpoint/content"
)

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
		put(t, filepath.Join(dir, name), []byte(name))
	}
	own := []Source{{Role: content.RoleImage, Name: "boot.wim"}, {Role: content.RoleFile, Name: "X64/BootMgfw.efi"}, {Role: content.RoleFile, Name: "boot/other.efi"}}
	names := func(path string) (names []string) {
		t.Helper()
		list, err := addLoaders(t.Context(), slices.Clone(own), content.AddRequest{Kind: content.KindBootImage, Loaders: path})
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range list {
			names = append(names, s.Name)
		}
		return names
	}
	if got, want := names(dir), []string{"boot.wim", "boot/other.efi", "boot.sdi", "x64/bootmgfw.efi"}; !slices.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
	if got, want := names(filepath.Join(dir, "boot.sdi")), []string{"boot.wim", "X64/BootMgfw.efi", "boot/other.efi", "boot.sdi"}; !slices.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
	for path, kind := range map[string]content.Kind{
		filepath.Join(dir, "none"): content.KindBootImage, filepath.Join(dir, "readme.txt"): content.KindBootImage, dir: content.KindOSImage,
	} {
		if _, err := addLoaders(t.Context(), own, content.AddRequest{Kind: kind, Loaders: path}); err == nil {
			t.Errorf("%s for %s was taken", path, kind)
		}
	}
}

func put(t testing.TB, path string, data []byte) {
	t.Helper()
	if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, data, 0o600)); err != nil {
		t.Fatal(err)
	}
}
