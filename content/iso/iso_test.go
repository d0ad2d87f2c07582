package iso

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// makeTree makes files of many sizes and names.
func makeTree(t testing.TB) string {
	t.Helper()
	dir := t.TempDir()
	random := rand.NewChaCha8([32]byte{1})
	for name, size := range map[string]int{
		"setup.exe": 1000, "empty": 0, "one": 1, "sector": 2048, "more than a sector": 2049, "sources/install.wim": 3<<20 + 7,
		"sources/boot.wim": 300_000, "boot/boot.sdi": 4096, "efi/microsoft/boot/fonts/wgl4_boot.ttf": 5000,
		"a name that is longer than those which Joliet has room for, with umlauts äöü and 日本語.txt": 10,
		"deep/1/2/3/4/5/6/7/8/9/10/file": 77, "UPPER/Mixed.Case.Name.With.Dots": 3,
	} {
		b := make([]byte, size)
		_, _ = random.Read(b)
		p := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(p), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(p, b, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for i := range 300 { // a folder of more than a sector
		p := filepath.Join(dir, "many", fmt.Sprintf("file number %d of three hundred", i))
		if err := os.MkdirAll(filepath.Dir(p), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(p, fmt.Appendf(nil, "%d", i), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func run(t testing.TB, name string, args ...string) {
	t.Helper()
	if out, err := exec.Command(name, args...).CombinedOutput(); err != nil {
		t.Fatalf("%s %v: %v\n%s", name, args, err, out)
	}
}

// sums hashes the files of a folder by path.
func sums(t testing.TB, dir string) map[string]string {
	t.Helper()
	all := map[string]string{}
	err := filepath.WalkDir(dir, func(p string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		b, err := os.ReadFile(p)
		rel, _ := filepath.Rel(dir, p)
		all[filepath.ToSlash(rel)] = fmt.Sprintf("%d %x", len(b), sha256.Sum256(b))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// read opens an image and hashes its files.
func read(t testing.TB, path string) (*Image, map[string]string) {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	info, err := f.Stat()
	if err != nil {
		t.Fatal(err)
	}
	if !Sniff(f) {
		t.Errorf("%s does not look like an ISO image", path)
	}
	img, err := Open(f, info.Size())
	if err != nil {
		t.Fatalf("%s: %v", path, err)
	}
	all := map[string]string{}
	for _, e := range img.Files {
		b, err := io.ReadAll(e.Open(f))
		if err != nil || int64(len(b)) != e.Size {
			t.Errorf("%s: %s: %d bytes of %d: %v", path, e.Path, len(b), e.Size, err)
		}
		all[e.Path] = fmt.Sprintf("%d %x", len(b), sha256.Sum256(b))
	}
	return img, all
}

func same(t *testing.T, what string, have, want map[string]string) {
	t.Helper()
	for _, p := range slices.Sorted(maps.Keys(want)) {
		if have[p] != want[p] {
			t.Errorf("%s: %s is %q, want %q", what, p, have[p], want[p])
		}
	}
	for _, p := range slices.Sorted(maps.Keys(have)) {
		if _, ok := want[p]; !ok {
			t.Errorf("%s: %s is too many", what, p)
		}
	}
}

// Images of every writer and format hold the files that went in, and those that
// another program takes out.
func TestFormats(t *testing.T) {
	dir := makeTree(t)
	want := sums(t, dir)
	short := map[string]string{} // by upper-case name without what ISO 9660 forbids
	for _, c := range []struct {
		name   string
		format Format
		make   []string
		unpack []string // behind it the image; into the working folder
		names  bool     // they are what they were
	}{
		{"udf", FormatUDF, []string{"genisoimage", "-quiet", "-D", "-udf", "-allow-limited-size", "-V", "WINDOWS"}, []string{"7z", "x", "-y", "-tudf"}, true},
		{"udf-joliet", FormatUDF, []string{"genisoimage", "-quiet", "-D", "-udf", "-J", "-joliet-long", "-V", "WINDOWS"}, []string{"7z", "x", "-y", "-tudf"}, true},
		{"rockridge", FormatRockRidge, []string{"genisoimage", "-quiet", "-R", "-V", "WINDOWS"}, []string{"bsdtar", "-xf"}, true},
		{"rockridge-joliet", FormatRockRidge, []string{"xorriso", "-as", "mkisofs", "-quiet", "-R", "-J", "-joliet-long", "-V", "WINDOWS"}, []string{"bsdtar", "-xf"}, true},
		{"joliet", FormatJoliet, []string{"genisoimage", "-quiet", "-D", "-J", "-joliet-long", "-V", "WINDOWS"}, []string{"7z", "x", "-y", "-tiso"}, false},
		{"plain", FormatISO9660, []string{"genisoimage", "-quiet", "-D", "-iso-level", "3", "-V", "WINDOWS"}, []string{"7z", "x", "-y", "-tiso"}, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "x.iso")
			run(t, c.make[0], append(c.make[1:], "-o", file, dir)...)
			img, have := read(t, file)
			if img.Format != c.format || img.Label != "WINDOWS" && c.format != FormatUDF {
				t.Errorf("%s labelled %q, want %s", img.Format, img.Label, c.format)
			}
			out := t.TempDir()
			cmd := exec.Command(c.unpack[0], append(c.unpack[1:], file)...)
			cmd.Dir = out
			if b, err := cmd.CombinedOutput(); err != nil {
				t.Fatalf("%v: %v\n%s", cmd.Args, err, b)
			}
			same(t, "as unpacked by "+c.unpack[0], have, sums(t, out))
			if c.names {
				same(t, "as it was", have, want)
				return
			}
			// Every file is there by what it holds.
			clear(short)
			for _, s := range have {
				short[s] = s
			}
			for p, s := range want {
				if short[s] == "" {
					t.Errorf("%s is missing", p)
				}
			}
		})
	}
}

// Folders that lie deeper than ISO 9660 allows are moved by Rock Ridge, and
// shown where they were.
func TestRelocated(t *testing.T) {
	dir := t.TempDir()
	deep := filepath.Join(dir, "a/b/c/d/e/f/g/h/i/j")
	if err := os.MkdirAll(deep, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(deep, "file"), []byte("x"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("file", filepath.Join(dir, "link")); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "x.iso")
	run(t, "genisoimage", "-quiet", "-R", "-o", file, dir)
	img, _ := read(t, file)
	for _, f := range img.Files {
		if f.Path == "link" != (f.Special != "") {
			t.Errorf("%s is special: %q", f.Path, f.Special)
		}
	}
	if _, ok := img.Find("a/b/c/d/e/f/g/h/i/j/FILE"); !ok {
		t.Errorf("not found: %v", img.Files)
	}
}

// The file systems that mkudffs makes are read, whatever the medium, or refused
// by name.
func TestMkudffs(t *testing.T) {
	for _, c := range []struct {
		args []string
		err  string
	}{
		{[]string{"--media-type=dvd", "--udfrev=1.02"}, ""},
		{[]string{"--media-type=hd", "--blocksize=512", "--udfrev=1.02"}, ""},
		{[]string{"--media-type=hd", "--blocksize=4096", "--udfrev=2.01"}, ""},
		{[]string{"--media-type=hd", "--blocksize=2048", "--ad=long"}, ""},
		{[]string{"--media-type=hd", "--blocksize=2048", "--strategy=4096"}, "strategy 4096"},
		{[]string{"--media-type=cdr", "--udfrev=1.50", "--vat"}, "*UDF Virtual Partition"},
	} {
		file := filepath.Join(t.TempDir(), "x.udf")
		if err := os.WriteFile(file, nil, 0o644); err != nil {
			t.Fatal(err)
		}
		if err := os.Truncate(file, 8<<20); err != nil {
			t.Fatal(err)
		}
		run(t, "mkudffs", append(c.args, "--label=CASTPOINT", file)...)
		f, err := os.Open(file)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		info, err := f.Stat()
		if err != nil {
			t.Fatal(err)
		}
		img, err := Open(f, info.Size())
		switch {
		case c.err == "" && err != nil:
			t.Errorf("mkudffs %v: %v", c.args, err)
		case c.err == "" && (img.Label != "CASTPOINT" || img.Format != FormatUDF):
			t.Errorf("mkudffs %v: %s %q", c.args, img.Format, img.Label)
		case c.err != "" && (err == nil || !strings.Contains(err.Error(), c.err)):
			t.Errorf("mkudffs %v: %v, want %s", c.args, err, c.err)
		}
	}
}

// What is no image says so, whatever its length.
func TestNotISO(t *testing.T) {
	for _, n := range []int{0, 1, 16 * sector, 17 * sector, 300 * sector} {
		if _, err := Open(bytes.NewReader(make([]byte, n)), int64(n)); !errors.Is(err, ErrNotISO) {
			t.Errorf("%d zeros: %v", n, err)
		}
	}
}
