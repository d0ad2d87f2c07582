package asset

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

var now = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

func efi(text string) []byte { return append([]byte("MZ"+text), make([]byte, 100)...) }

func write(t *testing.T, path string, data []byte) string {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, data, 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

func archive(t *testing.T, files map[string][]byte, links map[string]string) []byte {
	t.Helper()
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	w := tar.NewWriter(z)
	for name, data := range files {
		if err := w.WriteHeader(&tar.Header{Name: name, Typeflag: tar.TypeReg, Size: int64(len(data)), Mode: 0o644}); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write(data); err != nil {
			t.Fatal(err)
		}
	}
	for name, to := range links {
		if err := w.WriteHeader(&tar.Header{Name: name, Typeflag: tar.TypeSymlink, Linkname: to}); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(w.Close(), z.Close()); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestKnownFiles(t *testing.T) {
	seen := map[string]bool{}
	for _, k := range KnownFiles() {
		if !regexp.MustCompile(`^[0-9a-f]{64}$`).MatchString(k.SHA256) || seen[k.SHA256] {
			t.Errorf("%+v", k)
		}
		seen[k.SHA256] = true
		if !idText.MatchString(k.Name + "-" + k.Version) {
			t.Errorf("%s-%s is no id", k.Name, k.Version)
		}
	}
	if len(seen) < 10 {
		t.Errorf("%d hashes", len(seen))
	}
}

// Debian's iPXE is known by hash, by whatever name it comes.
func TestImportKnown(t *testing.T) {
	data, err := os.ReadFile("/usr/lib/ipxe/undionly.kpxe")
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(t.TempDir(), "assets")
	source := write(t, filepath.Join(t.TempDir(), "x.kpxe"), data)
	a, err := Import(dir, Options{Path: source, Now: now})
	var unknown *UnknownError
	if errors.As(err, &unknown) && !strings.Contains(err.Error(), "f09cfbe9bbd39c3f") {
		return // another version of Debian's package, or Ubuntu's
	}
	if err != nil || a.Name != "debian-ipxe" || a.Version == "" || !a.Known() || a.Files[0].Name != "undionly.kpxe" {
		t.Fatalf("%+v, %v", a, err)
	}
	got, err := os.ReadFile(filepath.Join(Folders(dir)[0], "undionly.kpxe"))
	if err != nil || !bytes.Equal(got, data) {
		t.Errorf("%d bytes, %v", len(got), err)
	}
	if _, err := Import(dir, Options{Path: source, Now: now}); !errors.Is(err, fs.ErrExist) {
		t.Errorf("twice: %v", err)
	}
}

func TestImportUnknown(t *testing.T) {
	root := t.TempDir()
	dir := filepath.Join(root, "assets")
	source := write(t, filepath.Join(root, "Wimboot.new"), efi("x"))
	_, err := Import(dir, Options{Path: source, Now: now})
	var unknown *UnknownError
	if !errors.As(err, &unknown) || len(unknown.Files) != 1 || !strings.Contains(err.Error(), unknown.Files[0].SHA256) || !strings.Contains(err.Error(), "--trust") {
		t.Fatalf("%v", err)
	}
	if _, err := os.Stat(dir); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("something was written: %v", err)
	}
	a, err := Import(dir, Options{Path: source, Trust: []string{strings.ToUpper(unknown.Files[0].SHA256)}, Now: now})
	if err != nil || a.Known() || a.Version != "" || a.ID != "wimboot-"+unknown.Files[0].SHA256[:8] {
		t.Fatalf("%+v, %v", a, err)
	}
	list, err := List(dir)
	if err != nil || len(list) != 1 || list[0].ID != a.ID || !list[0].Imported.Equal(now) {
		t.Errorf("%+v, %v", list, err)
	}
	for _, id := range []string{"", "..", "../x", "none", ".new-1"} {
		if err := Remove(dir, id); !errors.Is(err, ErrNotFound) {
			t.Errorf("remove %q: %v", id, err)
		}
	}
	if err := Remove(dir, a.ID); err != nil {
		t.Error(err)
	}
	if entries, err := os.ReadDir(dir); err != nil || len(entries) != 0 {
		t.Errorf("%v, %v", entries, err)
	}
}

// iPXE's archive: links become files, and machines find their first stages.
func TestImportArchive(t *testing.T) {
	root := t.TempDir()
	data := archive(t, map[string][]byte{
		"ipxeboot/x86_64/undionly.kpxe": append([]byte{0xea, 5, 0, 0xc0}, make([]byte, 100)...), "ipxeboot/x86_64/snponly.efi": efi("plain"),
		"ipxeboot/x86_64-sb/shimx64.efi": efi("shim"), "ipxeboot/x86_64-sb/snponly.efi": efi("signed"), "ipxeboot/arm64/snponly.efi": efi("arm"),
		"ipxeboot/README": []byte("text"), "../x.efi": efi("evil"), "/abs.efi": efi("evil"),
	}, map[string]string{"ipxeboot/x86_64-sb/snponly-shim.efi": "shimx64.efi", "ipxeboot/x86_64-sb/evil.efi": "../../../../etc/passwd"})
	source := write(t, filepath.Join(root, "ipxeboot.tar.gz"), data)
	dir := filepath.Join(root, "assets")
	if _, err := Import(dir, Options{Path: source, Now: now}); err == nil {
		t.Error("an archive that nobody knows was taken")
	}
	a, err := Import(dir, Options{Path: source, Trust: []string{"all"}, Name: "ipxe", Now: now})
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{
		"undionly.kpxe": "\xea", "snponly.efi": "MZplain", "ipxe.efi": "MZsigned", "x86_64-sb/snponly-shim.efi": "MZshim",
		"x86_64-sb/snponly.efi": "MZsigned", "arm64/snponly.efi": "MZarm",
	} {
		if got, err := os.ReadFile(filepath.Join(dir, a.ID, filesName, name)); err != nil || !strings.HasPrefix(string(got), want) {
			t.Errorf("%s: %.10q, %v", name, got, err)
		}
	}
	for _, f := range a.Files {
		if strings.Contains(f.Name, "evil") || strings.Contains(f.Name, "abs") || strings.Contains(f.Name, "README") || f.Name == "x.efi" {
			t.Errorf("%s was taken", f.Name)
		}
	}
}

func TestImportRefuses(t *testing.T) {
	root := t.TempDir()
	folder := filepath.Join(root, "empty")
	write(t, filepath.Join(folder, "notes.txt"), []byte("text"))
	for path, part := range map[string]string{
		filepath.Join(root, "none"): "no such file",
		folder:                      "no boot program",
		write(t, filepath.Join(root, "text.efi"), []byte(strings.Repeat("text ", 20))):                      "no boot program",
		write(t, filepath.Join(root, "ipxe_1.deb"), []byte("!<arch>\n")):                                    "dpkg-deb -x",
		write(t, filepath.Join(root, "x.tar.gz"), []byte("no gzip")):                                        "gzip",
		write(t, filepath.Join(root, "y.tgz"), archive(t, map[string][]byte{"a/readme": []byte("x")}, nil)): "no boot program",
	} {
		if _, err := Import(filepath.Join(root, "assets"), Options{Path: path, Trust: []string{"all"}, Now: now}); err == nil || !strings.Contains(err.Error(), part) {
			t.Errorf("%s: error %v does not say %q", path, err, part)
		}
	}
	source := write(t, filepath.Join(root, "a.efi"), efi("a"))
	if _, err := Import(filepath.Join(root, "assets"), Options{Path: source, Trust: []string{"all"}, Name: "../x", Now: now}); err == nil {
		t.Error("a name that leads upwards was taken")
	}
	if entries, _ := os.ReadDir(filepath.Join(root, "assets")); len(entries) != 0 {
		t.Errorf("%v is left", entries)
	}
}
