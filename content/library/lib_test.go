package library

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"castpoint/content"
	"castpoint/content/object"
	"castpoint/content/wim"
	"castpoint/test/image"
)

// openLibrary opens a library in dir without a reserve and closes it with the
// test.
func openLibrary(t testing.TB, dir string) *Library {
	t.Helper()
	l, err := OpenOptions(dir, Options{Reserve: -1})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	})
	return l
}

func writeFile(t testing.TB, path string, data []byte) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, data, 0o644); err != nil {
		t.Fatal(err)
	}
}

func readFile(t testing.TB, path string) []byte {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func arm64Image() []byte {
	b := make([]byte, 4096)
	copy(b, "MZ")
	copy(b[0x38:], "ARM\x64")
	return b
}

func efiStub(machine, subsystem uint16) []byte {
	b := make([]byte, 4096)
	copy(b, "MZ")
	binary.LittleEndian.PutUint32(b[0x3c:], 0x80)
	copy(b[0x80:], "PE\x00\x00")
	binary.LittleEndian.PutUint16(b[0x84:], machine)
	binary.LittleEndian.PutUint16(b[0x80+24+68:], subsystem)
	return b
}

// consistent checks everything that must hold between operations: each content
// is whole, and nothing exists that no content needs.
func consistent(t testing.TB, l *Library) {
	t.Helper()
	if p := l.Problems(); len(p) > 0 {
		t.Errorf("problems: %v", p)
	}
	list, err := l.List()
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]bool{"lock": true}
	for _, c := range list {
		want[filepath.Join(dirContents, c.ID+suffixContent)] = true
		for _, f := range c.Files {
			s := f.Digest.String()
			want[filepath.Join("objects", s[:2], s)] = true
			want[filepath.Join("manifests", s)] = true
		}
		v, err := l.Validate(context.Background(), c.ID, nil)
		if err != nil {
			t.Fatal(err)
		}
		if err := v.Err(); err != nil {
			t.Error(err)
		}
		for _, f := range v.Files {
			if f.ManifestRepaired {
				t.Errorf("%s: manifest of %s was not right", c.ID, f.File.Name)
			}
		}
	}
	have := map[string]bool{}
	err = filepath.WalkDir(l.dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		rel, _ := filepath.Rel(l.dir, path)
		have[rel] = true
		if !want[rel] && !strings.HasPrefix(e.Name(), "copy-") {
			t.Errorf("left over: %s", rel)
		}
		info, err := e.Info()
		if err == nil && strings.HasPrefix(rel, "objects") && info.Mode().Perm() != 0o444 {
			t.Errorf("%s: mode %v", rel, info.Mode())
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	for rel := range want {
		if !have[rel] {
			t.Errorf("missing: %s", rel)
		}
	}
}

// Files of the store of objects; see docs/content.md.

func objectPath(l *Library, d content.Digest) string {
	return filepath.Join(l.Dir(), "objects", d.String()[:2], d.String())
}

func manifestPath(l *Library, d content.Digest) string {
	return filepath.Join(l.Dir(), "manifests", d.String())
}

func pendingPath(l *Library, d content.Digest) string {
	return filepath.Join(l.Dir(), "tmp", d.String()+".pending")
}

func manifestOf(t testing.TB, data []byte) *content.Manifest {
	t.Helper()
	m, err := object.Hash(context.Background(), bytes.NewReader(data), int64(len(data)), object.Pass{Advance: func(int64) error { return nil }})
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// nothingPromised demands that neither space nor names are kept for an operation
// that has ended.
func nothingPromised(t testing.TB, l *Library) {
	t.Helper()
	if err := l.HasRoom(1 << 60); !errors.Is(err, content.ErrNoSpace) || strings.Contains(err.Error(), "promised") {
		t.Error(err)
	}
	if len(l.taken) != 0 {
		t.Errorf("taken %v", l.taken)
	}
}

func add(t testing.TB, l *Library, req content.AddRequest) *content.Content {
	t.Helper()
	c, err := l.Add(context.Background(), req)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestAddImage(t *testing.T) {
	dir := t.TempDir()
	l := openLibrary(t, dir)
	file := image.Capture(t, 3<<20, []string{"--check"}, "Windows 11 Pro")
	var last, total int64
	c := add(t, l, content.AddRequest{Kind: content.KindOSImage, Path: file, Comment: "first",
		Distribution: content.Distribution{Multicast: true, Encrypt: true},
		Progress: func(done, all int64) {
			if done < last {
				t.Errorf("progress from %d to %d", last, done)
			}
			last, total = done, all
		}})
	data := readFile(t, file)
	if last != total || total != int64(len(data)) {
		t.Errorf("progress ended at %d of %d, the file has %d", last, total, len(data))
	}
	if c.ID != "windows-11-pro" || c.Name != "Windows 11 Pro" || c.Version != "10.0.26100.1742" || c.Arch != "amd64" ||
		c.Index != 1 || !c.Integrity || c.Revision != 1 || c.Created.IsZero() || len(c.Images) != 1 || c.Comment != "first" {
		t.Errorf("%+v", c)
	}
	f, ok := c.File(content.RoleImage)
	if !ok || f.Size != total || f.Name != "install.wim" || f.Digest != content.Digest(sha256.Sum256(data)) {
		t.Errorf("%+v", f)
	}
	o, err := l.OpenObject(f.Digest)
	if err != nil {
		t.Fatal(err)
	}
	defer o.Close()
	m, err := l.Manifest(f.Digest)
	if err != nil {
		t.Fatal(err)
	}
	if int64(m.Blocks()) != content.BlockCount(f.Size) {
		t.Errorf("%d blocks of %d bytes", m.Blocks(), f.Size)
	}
	for i := range m.Blocks() {
		off, n, _ := m.Block(i)
		b := make([]byte, n)
		if _, err := o.ReadAt(b, off); err != nil || !bytes.Equal(b, data[off:off+int64(n)]) || !m.VerifyBlock(i, b) {
			t.Fatalf("block %d: %v", i, err)
		}
		b[0] ^= 1
		if m.VerifyBlock(i, b) || m.VerifyBlock(i, b[1:]) {
			t.Errorf("block %d: damage is not seen", i)
		}
	}
	if m.VerifyBlock(m.Blocks(), nil) || m.VerifyBlock(-1, nil) {
		t.Error("blocks beyond the ends are good")
	}
	for _, name := range []string{"windows-11-pro", "Windows-11-Pro", "windows 11 PRO"} {
		if got, err := l.Get(name); err != nil || got.ID != c.ID {
			t.Errorf("get %q: %v, %v", name, got, err)
		}
	}
	if _, err := l.Get("nothing"); !errors.Is(err, content.ErrNotFound) {
		t.Error(err)
	}
	if _, err := l.OpenObject(content.Digest{1}); !errors.Is(err, content.ErrNotFound) {
		t.Error(err)
	}
	if _, err := l.Manifest(content.Digest{1}); !errors.Is(err, content.ErrNotFound) {
		t.Error(err)
	}
	consistent(t, l)

	// What callers get is theirs.
	c.Files[0].Name, c.Name = "changed", "changed"
	if got, _ := l.Get("windows-11-pro"); got.Files[0].Name != "install.wim" || got.Name != "Windows 11 Pro" {
		t.Error("a caller's change reached the library")
	}
}

func TestReopen(t *testing.T) {
	dir := t.TempDir()
	l := openLibrary(t, dir)
	c := add(t, l, content.AddRequest{Kind: content.KindOSImage, Path: image.Capture(t, 500_000, nil, "One")})
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if err := l.Close(); err != nil {
		t.Errorf("closed twice: %v", err)
	}
	for _, err := range []error{
		func() error { _, err := l.List(); return err }(),
		func() error { _, err := l.Add(context.Background(), content.AddRequest{}); return err }(),
		func() error { _, err := l.Set("one", SetRequest{}); return err }(),
		func() error { _, err := l.Validate(context.Background(), "one", nil); return err }(),
		l.Remove("one"),
	} {
		if !errors.Is(err, content.ErrClosed) {
			t.Errorf("after Close: %v", err)
		}
	}
	l = openLibrary(t, dir)
	got, err := l.Get(c.ID)
	if err != nil {
		t.Fatal(err)
	}
	if fmt.Sprint(got) != fmt.Sprint(c) {
		t.Errorf("after reopening\n%+v, before\n%+v", got, c)
	}
	consistent(t, l)
}

func TestImageIndex(t *testing.T) {
	several := image.Capture(t, 1000, nil, "Windows 11 Home", "Windows 11 Pro", "Windows 11 Education")
	different := image.Capture(t, 1000, nil, "Alpha", "Beta")
	for name, c := range map[string]struct {
		req   content.AddRequest
		want  string
		index int
		bad   bool
	}{
		"chosen":            {content.AddRequest{Kind: content.KindOSImage, Path: several, Index: 2}, "Windows 11 Pro", 2, false},
		"common words":      {content.AddRequest{Kind: content.KindOSImage, Path: several}, "Windows 11", 0, false},
		"nothing common":    {content.AddRequest{Kind: content.KindOSImage, Path: different}, "install", 0, false},
		"own name":          {content.AddRequest{Kind: content.KindOSImage, Path: several, Index: 3, Name: "School"}, "School", 3, false},
		"boot without mark": {content.AddRequest{Kind: content.KindBootImage, Path: different}, "Alpha", 1, false},
		"past the last":     {content.AddRequest{Kind: content.KindOSImage, Path: several, Index: 4}, "", 0, true},
		"negative":          {content.AddRequest{Kind: content.KindOSImage, Path: several, Index: -1}, "", 0, true},
		"other arch":        {content.AddRequest{Kind: content.KindOSImage, Path: several, Arch: "arm64"}, "", 0, true},
		"unknown arch":      {content.AddRequest{Kind: content.KindOSImage, Path: several, Arch: "mips"}, "", 0, true},
		"same arch":         {content.AddRequest{Kind: content.KindOSImage, Path: several, Arch: "amd64"}, "Windows 11", 0, false},
	} {
		t.Run(name, func(t *testing.T) {
			l := openLibrary(t, t.TempDir())
			got, err := l.Add(context.Background(), c.req)
			if c.bad {
				if !errors.Is(err, content.ErrInvalid) {
					t.Errorf("%+v, %v", got, err)
				}
			} else if err != nil || got.Name != c.want || got.Index != c.index || got.Arch != "amd64" {
				t.Errorf("%+v, %v", got, err)
			}
			consistent(t, l)
		})
	}
	tool, _ := exec.LookPath("wimlib-imagex")
	if out, err := exec.Command(tool, "info", different, "2", "--boot").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	l := openLibrary(t, t.TempDir())
	if c := add(t, l, content.AddRequest{Kind: content.KindBootImage, Path: different}); c.Index != 2 || c.Name != "Beta" {
		t.Errorf("bootable image: %+v", c)
	}
}

// TestRefused demands that files that cannot work are refused before anything
// is copied, with a message that says why.
func TestRefused(t *testing.T) {
	dir := t.TempDir()
	put := func(name string, data []byte) string {
		path := filepath.Join(dir, name)
		writeFile(t, path, data)
		return path
	}
	good := image.Capture(t, 400_000, []string{"--check"}, "Good")
	whole := readFile(t, good)
	damaged := bytes.Clone(whole)
	damaged[200_000] ^= 1
	split := splitWIM(t)
	parts := func(n ...int) string { // a folder with some of the parts; the first that is named
		dir := t.TempDir()
		for _, i := range n {
			writeFile(t, filepath.Join(dir, filepath.Base(split[i])), readFile(t, split[i]))
		}
		return filepath.Join(dir, filepath.Base(split[n[0]]))
	}
	twice := parts(0, 1, 2)
	writeFile(t, filepath.Join(filepath.Dir(twice), "copy.swm"), readFile(t, split[1]))
	spoiled := parts(0, 1, 2)
	third := readFile(t, split[2])
	third[len(third)/2] ^= 1
	writeFile(t, filepath.Join(filepath.Dir(spoiled), filepath.Base(split[2])), third)
	iso := make([]byte, 40_000)
	copy(iso[0x8001:], "CD001")
	writing := bytes.Clone(whole)
	writing[0x10] |= 0x40
	kernel, initrd := put("vmlinuz", image.Kernel(1)), put("initrd", []byte("\x1f\x8bxxxxxxx"))
	drivers := filepath.Join(dir, "drivers")
	writeFile(t, filepath.Join(drivers, "driver.sys"), []byte("MZ"))
	linked := filepath.Join(dir, "linked")
	if err := os.MkdirAll(linked, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("/etc/passwd", filepath.Join(linked, "passwd")); err != nil {
		t.Fatal(err)
	}
	folded := filepath.Join(dir, "folded")
	writeFile(t, filepath.Join(folded, "Readme"), nil)
	writeFile(t, filepath.Join(folded, "README"), nil)
	named := filepath.Join(dir, "named")
	writeFile(t, filepath.Join(named, "a:b"), nil)
	device := filepath.Join(dir, "device")
	writeFile(t, filepath.Join(device, "aux.txt"), nil)
	empty := filepath.Join(dir, "empty")
	if err := os.MkdirAll(filepath.Join(empty, "sub"), 0o755); err != nil {
		t.Fatal(err)
	}

	for name, c := range map[string]struct {
		req  content.AddRequest
		also error
		Text string
	}{
		"no kind":          {content.AddRequest{Path: good}, nil, "kind"},
		"other kind":       {content.AddRequest{Kind: "iso", Path: good}, nil, `kind "iso"`},
		"no path":          {content.AddRequest{Kind: content.KindOSImage}, nil, "no path"},
		"missing file":     {content.AddRequest{Kind: content.KindOSImage, Path: filepath.Join(dir, "absent.wim")}, fs.ErrNotExist, "absent.wim"},
		"folder as image":  {content.AddRequest{Kind: content.KindOSImage, Path: dir}, nil, "is a folder"},
		"device":           {content.AddRequest{Kind: content.KindOSImage, Path: "/dev/zero"}, nil, "not a regular file"},
		"ISO":              {content.AddRequest{Kind: content.KindOSImage, Path: put("win.iso", iso)}, wim.ErrNotWIM, "ISO 9660"},
		"truncated":        {content.AddRequest{Kind: content.KindOSImage, Path: put("cut.wim", whole[:len(whole)-100])}, wim.ErrTruncated, "100 are missing"},
		"damaged":          {content.AddRequest{Kind: content.KindOSImage, Path: put("damaged.wim", damaged)}, wim.ErrCorrupt, "integrity table"},
		"split, one part":  {content.AddRequest{Kind: content.KindOSImage, Path: parts(0)}, wim.ErrTruncated, "parts 2, 3 of the 3"},
		"split, a gap":     {content.AddRequest{Kind: content.KindOSImage, Path: parts(2, 0)}, wim.ErrTruncated, "part 2 of the 3 parts of this split WIM is missing"},
		"split, twice":     {content.AddRequest{Kind: content.KindOSImage, Path: twice}, nil, "remove one of them"},
		"split, damaged":   {content.AddRequest{Kind: content.KindOSImage, Path: spoiled}, wim.ErrCorrupt, "integrity table"},
		"split to boot":    {content.AddRequest{Kind: content.KindBootImage, Path: split[0]}, nil, "boot managers cannot read"},
		"being written":    {content.AddRequest{Kind: content.KindOSImage, Path: put("writing.wim", writing)}, nil, "writing it"},
		"ESD to boot":      {content.AddRequest{Kind: content.KindBootImage, Path: image.Capture(t, 1000, []string{"--solid"}, "ESD")}, nil, "solid lzms"},
		"pipable to boot":  {content.AddRequest{Kind: content.KindBootImage, Path: image.Capture(t, 1000, []string{"--pipable"}, "P")}, nil, "pipable"},
		"kernel alone":     {content.AddRequest{Kind: content.KindBootImage, Path: kernel}, nil, "give its initramfs"},
		"initrd to OS":     {content.AddRequest{Kind: content.KindOSImage, Path: good, Initrd: initrd}, nil, "only a boot image"},
		"swapped":          {content.AddRequest{Kind: content.KindBootImage, Path: initrd, Initrd: kernel}, nil, "not a Linux kernel, it is gzip"},
		"initrd is kernel": {content.AddRequest{Kind: content.KindBootImage, Path: kernel, Initrd: kernel}, nil, "it is a Linux kernel"},
		"initrd empty":     {content.AddRequest{Kind: content.KindBootImage, Path: kernel, Initrd: put("none", nil)}, nil, "it is empty"},
		"initrd lz4 frame": {content.AddRequest{Kind: content.KindBootImage, Path: kernel, Initrd: put("lz4", []byte("\x04\x22\x4d\x18...."))}, nil, "lz4 -l"},
		"kernel for other": {content.AddRequest{Kind: content.KindBootImage, Path: kernel, Initrd: initrd, Arch: "arm64"}, nil, "is for amd64"},
		"PE for Windows":   {content.AddRequest{Kind: content.KindBootImage, Path: put("cmd.exe", efiStub(0x8664, 3)), Initrd: initrd}, nil, "PE"},
		"index of kernel":  {content.AddRequest{Kind: content.KindBootImage, Path: kernel, Initrd: initrd, Index: 1}, nil, "index"},
		"name with escape": {content.AddRequest{Kind: content.KindOSImage, Path: good, Name: "\x1b[31mred"}, nil, "not printable"},
		"name too long":    {content.AddRequest{Kind: content.KindOSImage, Path: good, Name: strings.Repeat("x", 300)}, nil, "300 characters"},
		"only, not at all": {content.AddRequest{Kind: content.KindOSImage, Path: good, Distribution: content.Distribution{MulticastOnly: true}}, nil, "multicast"},
		"no driver":        {content.AddRequest{Kind: content.KindDriverPackage, Path: drivers}, nil, ".inf"},
		"no setup":         {content.AddRequest{Kind: content.KindOSUpgrade, Path: drivers}, nil, "setup.exe"},
		"link":             {content.AddRequest{Kind: content.KindPackage, Path: linked}, nil, "symbolic link"},
		"same on Windows":  {content.AddRequest{Kind: content.KindPackage, Path: folded}, nil, "same on Windows"},
		"colon":            {content.AddRequest{Kind: content.KindPackage, Path: named}, nil, "':'"},
		"device name":      {content.AddRequest{Kind: content.KindPackage, Path: device}, nil, "device name"},
		"empty folder":     {content.AddRequest{Kind: content.KindPackage, Path: empty}, nil, "no files"},
		"file as folder":   {content.AddRequest{Kind: content.KindPackage, Path: good}, nil, "added as a folder"},
		"missing folder":   {content.AddRequest{Kind: content.KindPackage, Path: filepath.Join(dir, "absent")}, fs.ErrNotExist, "absent"},
	} {
		t.Run(name, func(t *testing.T) {
			l := openLibrary(t, t.TempDir())
			if !strings.HasSuffix(name, "damaged") { // only the bytes can tell
				l.faults.Step = func(point string) error {
					t.Errorf("%s was reached", point)
					return nil
				}
			}
			_, err := l.Add(context.Background(), c.req)
			if !errors.Is(err, content.ErrInvalid) || !strings.Contains(err.Error(), c.Text) {
				t.Errorf("have %v, want %q", err, c.Text)
			}
			if c.also != nil && !errors.Is(err, c.also) {
				t.Errorf("%v is not %v", err, c.also)
			}
			consistent(t, l)
		})
	}
}

func TestLinuxBootImage(t *testing.T) {
	dir := t.TempDir()
	initrd := filepath.Join(dir, "initrd.img")
	writeFile(t, initrd, []byte("\x28\xb5\x2f\xfdzzzz"))
	for name, c := range map[string]struct {
		kernel                 []byte
		arch, content, version string
	}{
		"x86-64":       {image.Kernel(1), "amd64", "Linux", "6.8.0-45-generic"},
		"x86-32":       {image.Kernel(0), "386", "Linux", "6.8.0-45-generic"},
		"arm64":        {arm64Image(), "arm64", "kernel-arm64", ""},
		"EFI stub x64": {efiStub(0x8664, 10), "amd64", "kernel-EFI stub x64", ""},
		"EFI stub arm": {efiStub(0x01c2, 10), "arm", "kernel-EFI stub arm", ""},
	} {
		t.Run(name, func(t *testing.T) {
			l := openLibrary(t, t.TempDir())
			path := filepath.Join(dir, "kernel-"+name)
			writeFile(t, path, c.kernel)
			got := add(t, l, content.AddRequest{Kind: content.KindBootImage, Path: path, Initrd: initrd})
			if got.Arch != c.arch || got.Name != c.content || got.Version != c.version || got.Index != 0 || got.Integrity {
				t.Errorf("%+v", got)
			}
			k, ok1 := got.File(content.RoleKernel)
			i, ok2 := got.File(content.RoleInitrd)
			if !ok1 || !ok2 || k.Name != "kernel-"+name || i.Name != "initrd.img" {
				t.Errorf("%+v %+v", k, i)
			}
			consistent(t, l)
		})
	}
}

func TestStoredOnce(t *testing.T) {
	l := openLibrary(t, t.TempDir())
	file := image.Capture(t, 300_000, nil, "Same")
	a := add(t, l, content.AddRequest{Kind: content.KindOSImage, Path: file, Name: "A"})
	b := add(t, l, content.AddRequest{Kind: content.KindOSImage, Path: file, Name: "B"})
	again := add(t, l, content.AddRequest{Kind: content.KindOSImage, Path: file, Name: "A", Version: "2"})
	if a.Files[0].Digest != b.Files[0].Digest || again.ID != "a-2" {
		t.Errorf("%+v %+v %+v", a, b, again)
	}
	if _, err := l.Add(context.Background(), content.AddRequest{Kind: content.KindOSImage, Path: file, Name: "a"}); !errors.Is(err, content.ErrExists) {
		t.Errorf("same name and version: %v", err)
	}
	if _, err := l.Get("A"); err != nil { // the ID
		t.Error(err)
	}
	if _, err := l.Set("b", SetRequest{Name: ptr("A")}); !errors.Is(err, content.ErrExists) {
		t.Errorf("set to a name that exists: %v", err)
	}
	consistent(t, l)
	open, err := l.OpenObject(a.Files[0].Digest)
	if err != nil {
		t.Fatal(err)
	}
	defer open.Close()
	for _, id := range []string{"a", "b"} {
		if err := l.Remove(id); err != nil {
			t.Fatal(err)
		}
		consistent(t, l)
	}
	if err := l.Remove("a-2"); err != nil {
		t.Fatal(err)
	}
	if err := l.Remove("a-2"); !errors.Is(err, content.ErrNotFound) {
		t.Errorf("removed twice: %v", err)
	}
	consistent(t, l)
	if _, err := l.OpenObject(a.Files[0].Digest); !errors.Is(err, content.ErrNotFound) {
		t.Errorf("object of removed contents: %v", err)
	}
	data := make([]byte, a.Files[0].Size)
	if _, err := open.ReadAt(data, 0); err != nil || content.Digest(sha256.Sum256(data)) != a.Files[0].Digest {
		t.Errorf("open object after removal: %v", err)
	}
}

func ptr[T any](v T) *T { return &v }

func TestAmbiguous(t *testing.T) {
	l := openLibrary(t, t.TempDir())
	file := image.Capture(t, 1000, nil, "x")
	add(t, l, content.AddRequest{Kind: content.KindOSImage, Path: file, Name: "Win Dows", Version: "1"})
	add(t, l, content.AddRequest{Kind: content.KindOSImage, Path: file, Name: "Win Dows", Version: "2"})
	if _, err := l.Get("win dows"); !errors.Is(err, content.ErrAmbiguous) || !strings.Contains(err.Error(), "win-dows, win-dows-2") {
		t.Error(err)
	}
}

func TestSet(t *testing.T) {
	dir := t.TempDir()
	l := openLibrary(t, dir)
	c := add(t, l, content.AddRequest{Kind: content.KindOSImage, Path: image.Capture(t, 1000, nil, "A x", "A y")})
	got, err := l.Set("A", SetRequest{Name: ptr(" New name "), Version: ptr("7"), Comment: ptr("two\nlines"),
		Index: ptr(2), Distribution: &content.Distribution{Multicast: true, MulticastOnly: true}})
	if err != nil {
		t.Fatal(err)
	}
	if got.ID != c.ID || got.Name != "New name" || got.Version != "7" || got.Index != 2 || !got.Distribution.MulticastOnly || got.Revision != 1 {
		t.Errorf("%+v", got)
	}
	for name, req := range map[string]SetRequest{
		"no name":      {Name: ptr(" ")},
		"index":        {Index: ptr(3)},
		"distribution": {Distribution: &content.Distribution{MulticastOnly: true}},
		"comment":      {Comment: ptr("\x00")},
	} {
		if _, err := l.Set(c.ID, req); !errors.Is(err, content.ErrInvalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := l.Set("absent", SetRequest{}); !errors.Is(err, content.ErrNotFound) {
		t.Error(err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	l = openLibrary(t, dir)
	if after, err := l.Get(c.ID); err != nil || fmt.Sprint(after) != fmt.Sprint(got) {
		t.Errorf("%+v, %v", after, err)
	}
	consistent(t, l)
}

func TestSlug(t *testing.T) {
	for name, want := range map[string]string{
		"Windows 11 Pro":                 "windows-11-pro",
		"Microsoft Windows PE (x64)":     "microsoft-windows-pe-x64",
		"  --..Ubuntu 24.04--LTS!! ":     "ubuntu-24-04-lts",
		"視窗":                             "os-image",
		"":                               "os-image",
		strings.Repeat("very long ", 20): "very-long-very-long-very-long-very-long",
	} {
		if have := slug(name, content.KindOSImage); have != want || !content.ValidID(have) {
			t.Errorf("%q: %q, want %q", name, have, want)
		}
	}
	for _, bad := range []string{"", "-a", "a-", "a--b", "A", "a.b", "a/b", "..", strings.Repeat("a", 49)} {
		if content.ValidID(bad) {
			t.Errorf("%q is an ID", bad)
		}
	}
}
