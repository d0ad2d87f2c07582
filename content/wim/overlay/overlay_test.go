package overlay

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"castpoint/content/wim"
	"castpoint/content/wim/format"
	"castpoint/content/wim/integrity"
	"castpoint/test/wimfile"
)

// overlayVariants are the kinds of WIM that an overlay can have below it.
var overlayVariants = []struct {
	name string
	args []string
}{
	{"none", []string{"--compress=none"}},
	{"none-check", []string{"--compress=none", "--check"}},
	{"xpress", []string{"--compress=xpress"}},
	{"xpress-check", []string{"--compress=xpress", "--check"}},
	{"lzx-boot", []string{"--compress=lzx", "--boot"}},
	{"lzx-boot-check", []string{"--compress=lzx", "--boot", "--check"}},
	{"lzx-2m-check", []string{"--compress=lzx:20", "--chunk-size=2097152", "--check"}},
}

// materialise reads a composite into a file, in pieces of odd size, and checks
// that it is a good io.ReaderAt.
func materialise(t testing.TB, c *Composite) string {
	t.Helper()
	var out bytes.Buffer
	buf := make([]byte, 123_457)
	for off := int64(0); off < c.Size(); {
		n, err := c.ReadAt(buf, off)
		if n < len(buf) && !errors.Is(err, io.EOF) {
			t.Fatalf("read at %d: %d, %v", off, n, err)
		}
		out.Write(buf[:n])
		off += int64(n)
	}
	if int64(out.Len()) != c.Size() {
		t.Fatalf("%d bytes, size %d", out.Len(), c.Size())
	}
	path := filepath.Join(t.TempDir(), "composite.wim")
	if err := os.WriteFile(path, out.Bytes(), 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

// snapshot maps paths to contents; folders end in a slash.
type snapshot map[string]string

func snapshotDir(t testing.TB, dir string) snapshot {
	t.Helper()
	s := snapshot{}
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || path == dir {
			return err
		}
		rel, err := filepath.Rel(dir, path)
		switch {
		case err != nil:
			return err
		case d.IsDir():
			s[rel+"/"] = ""
		case d.Type()&fs.ModeSymlink != 0:
			to, err := os.Readlink(path)
			s[rel] = "-> " + to
			return err
		default:
			s[rel] = string(wimfile.ReadFile(t, path))
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// diff compares two snapshots.
func (s snapshot) diff(t testing.TB, want snapshot) {
	t.Helper()
	for path, data := range want {
		if have, ok := s[path]; !ok {
			t.Errorf("%s is missing", path)
		} else if have != data {
			t.Errorf("%s: %d bytes that are not the %d expected", path, len(have), len(data))
		}
	}
	for path := range s {
		if _, ok := want[path]; !ok {
			t.Errorf("%s should not be there", path)
		}
	}
}

// resolve finds the stored spelling of a path, as Windows would.
func (s snapshot) resolve(path string) string {
	for have := range s {
		if strings.EqualFold(have, path) {
			return have
		}
	}
	if dir, base := filepath.Split(strings.TrimSuffix(path, "/")); dir != "" {
		tail := path[len(dir)+len(base):]
		return s.resolve(dir) + base + tail
	}
	return path
}

// apply does to a snapshot what an overlay does to an image.
func (s snapshot) apply(o Options) {
	norm := func(p string) string { return strings.Trim(strings.ReplaceAll(p, `\`, "/"), "/") }
	for _, path := range o.Remove {
		p := norm(path)
		for have := range s {
			if strings.EqualFold(have, p) || len(have) > len(p) && strings.EqualFold(have[:len(p)+1], p+"/") {
				delete(s, have)
			}
		}
	}
	files := slices.Clone(o.Files)
	slices.SortFunc(files, func(a, b File) int { return strings.Compare(a.Path, b.Path) })
	for _, f := range files {
		p := norm(f.Path)
		for i, c := range p {
			if c == '/' {
				s[s.resolve(p[:i+1])] = ""
			}
		}
		data := f.Data
		if f.Content != nil {
			data = make([]byte, f.Size)
			_, _ = f.Content.ReadAt(data, 0)
		}
		s[s.resolve(p)] = string(data)
	}
}

// applied extracts an image with wimlib.
func applied(t testing.TB, file string, index int) snapshot {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "applied")
	wimfile.Wimlib(t, "apply", file, fmt.Sprint(index), dir)
	return snapshotDir(t, dir)
}

// checkComposite has wimlib and this package check a composite and compares one
// image with what it should be.
func checkComposite(t testing.TB, c *Composite, index int, want snapshot) string {
	t.Helper()
	path := materialise(t, c)
	wimfile.Wimlib(t, "verify", path)
	applied(t, path, index).diff(t, want)
	b := wimfile.ReadFile(t, path)
	err := integrity.Verify(context.Background(), bytes.NewReader(b), int64(len(b)), nil)
	if err != nil && !errors.Is(err, integrity.ErrNoIntegrity) {
		t.Errorf("integrity: %v", err)
	}
	r := wimfile.OpenFile(t, path)
	if err := r.VerifyBlobs(context.Background(), 2, nil); err != nil {
		t.Errorf("blobs: %v", err)
	}
	compareCounts(t, r, index)
	return path
}

// compareCounts compares the numbers in the XML data with the tree.
func compareCounts(t testing.TB, r *wim.Reader, index int) {
	t.Helper()
	tree := wimfile.Image(t, r, index)
	var dirs, files, size, linked int64
	seen := map[uint64]bool{}
	references := map[format.Hash]uint32{}
	err := tree.Walk(func(path string, e wim.Entry) error {
		if e.IsDir() {
			dirs++ // with the root, as wimlib counts
		} else {
			files++
		}
		for _, s := range e.Streams {
			size += s.Size
			if s.Hash != (format.Hash{}) {
				references[s.Hash]++
			}
			if e.HardLink != 0 && seen[e.HardLink] {
				linked += s.Size
			}
		}
		seen[e.HardLink] = true
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	have := r.Info().Images[index-1]
	if have.Dirs != dirs || have.Files != files || have.TotalBytes != size || have.HardLinkBytes != linked {
		t.Errorf("XML data: %d folders, %d files, %d bytes, %d in links; the tree has %d, %d, %d, %d",
			have.Dirs, have.Files, have.TotalBytes, have.HardLinkBytes, dirs, files, size, linked)
	}
	if len(r.Info().Images) > 1 {
		return
	}
	for i := range int32(len(r.BlobTable()) / format.BlobEntrySize) {
		e := r.Entry(i)
		if e.Flags()&(format.ResourceFree|format.ResourceMetadata) != 0 {
			continue
		}
		if want := max(references[format.Hash(e.Hash())], 1); e.References() != want {
			t.Errorf("blob %x: %d references, the tree has %d", e.Hash(), e.References(), want)
		}
	}
}

// TestOverlay adds, replaces and removes files in every kind of WIM.
func TestOverlay(t *testing.T) {
	tree := wimfile.RichTree(t)
	for _, v := range overlayVariants {
		t.Run(v.name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "base.wim")
			wimfile.Wimlib(t, append([]string{"capture", tree, file, "base"}, v.args...)...)
			stored := wimfile.ReadFile(t, file)
			known := wimfile.ReadFile(t, filepath.Join(tree, "random.bin"))
			o := Options{
				Image: 1,
				Files: []File{
					{Path: `\windows\SYSTEM32\winpeshl.ini`, Data: []byte("[LaunchApps]\r\ncastagent.exe\r\n")},
					{Path: `/Windows/System32/WINLOAD.EXE`, Data: []byte("replaced by something longer than before")},
					{Path: `castpoint/agent/castagent.exe`, Content: bytes.NewReader(bytes.Repeat([]byte("MZ agent "), 300_000)), Size: 2_700_000},
					{Path: `castpoint/empty`},
					{Path: `castpoint/known`, Data: known}, // stored already
					{Path: `castpoint/twice`, Data: []byte("the same twice")},
					{Path: `castpoint/twice again`, Data: []byte("the same twice")},
					{Path: `hardlink.bin`, Data: []byte("no link any more")},
					{Path: `symlink`, Data: []byte("a file now")},
					{Path: `emptydir/deep/er/file`, Data: []byte("1")},
					{Path: `ärger/öl`, Data: []byte("case beyond ASCII")},
					{Path: `😀/surrogate pairs`, Data: nil},
				},
				Remove: []string{`\MANY`, "zeros", "not/there", "sizes/1", "sizes/4096"},
			}
			want := snapshotDir(t, tree)
			want.apply(o)
			c, err := New(bytes.NewReader(stored), int64(len(stored)), o)
			if err != nil {
				t.Fatal(err)
			}
			path := checkComposite(t, c, 1, want)
			if limit := int64(2_700_000 + 400_000); c.Tail() > limit {
				t.Errorf("tail of %d bytes", c.Tail())
			}
			b := wimfile.ReadFile(t, path)
			if !bytes.Equal(b[format.HeaderSize:len(stored)], stored[format.HeaderSize:]) {
				t.Error("the stored bytes changed")
			}
			wimfile.CompareDir(t, wimfile.Image(t, wimfile.OpenFile(t, path), 1), path, 1)

			info, err := wim.Describe(bytes.NewReader(b), int64(len(b)))
			if err != nil {
				t.Fatal(err)
			}
			was, err := wim.Describe(bytes.NewReader(stored), int64(len(stored)))
			if err != nil {
				t.Fatal(err)
			}
			if info.BootIndex != was.BootIndex || info.Integrity != was.Integrity || info.GUID != was.GUID || info.Images[0].Name != "base" {
				t.Errorf("was %+v, is %+v", was, info)
			}
			wimfile.CompareWithWimlib(t, path, info)

			// The same again is the same.
			slices.Reverse(o.Files)
			again, err := New(bytes.NewReader(stored), int64(len(stored)), o)
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(wimfile.ReadFile(t, materialise(t, again)), b) || again.ETag("x") != c.ETag("x") {
				t.Error("the same overlay gives other bytes")
			}
			if c.ETag("x") == c.ETag("y") {
				t.Error("the ETag does not depend on the stored file")
			}
			o.Files[0].Data = []byte("!")
			other, err := New(bytes.NewReader(stored), int64(len(stored)), o)
			if err != nil {
				t.Fatal(err)
			}
			if other.ETag("x") == c.ETag("x") {
				t.Error("another overlay has the same ETag")
			}
			if err := iotest.TestReader(io.NewSectionReader(c, 0, c.Size()), b); err != nil {
				t.Error(err)
			}

			// An overlay of an overlay.
			second := Options{Files: []File{{Path: "castpoint/twice", Data: []byte("second")}, {Path: "castpoint/token", Data: []byte("t")}}, Remove: []string{"castpoint/agent"}}
			want.apply(second)
			cc, err := New(c, c.Size(), second)
			if err != nil {
				t.Fatal(err)
			}
			checkComposite(t, cc, 1, want)
		})
	}
}

// TestOverlayManyImages changes one of several images and leaves the others.
func TestOverlayManyImages(t *testing.T) {
	tree := wimfile.SourceTree(t)
	file := filepath.Join(t.TempDir(), "base.wim")
	wimfile.Wimlib(t, "capture", tree, file, "first", "--check", "--boot")
	if err := os.WriteFile(filepath.Join(tree, "second"), []byte("2"), 0o644); err != nil {
		t.Fatal(err)
	}
	wimfile.Wimlib(t, "append", tree, file, "second", "--check")
	wimfile.Wimlib(t, "append", tree, file, "third", "--check")
	wimfile.Wimlib(t, "delete", file, "1", "--check") // leaves a hole and moves the others
	wimfile.Wimlib(t, "info", file, "1", "--boot", "--check")
	stored := wimfile.ReadFile(t, file)
	plain := snapshotDir(t, tree)
	for index := 1; index <= 2; index++ {
		for boot := range 3 {
			o := Options{Image: index, BootIndex: boot, Files: []File{{Path: "new", Data: []byte("new")}}, Remove: []string{"random.bin"}}
			changed := snapshotDir(t, tree)
			changed.apply(o)
			c, err := New(bytes.NewReader(stored), int64(len(stored)), o)
			if err != nil {
				t.Fatal(err)
			}
			path := checkComposite(t, c, index, changed)
			applied(t, path, 3-index).diff(t, plain)
			info, err := wimfile.DescribeFile(t, path)
			if err != nil {
				t.Fatal(err)
			}
			if want := max(boot, 1); info.BootIndex != want || !info.Integrity {
				t.Errorf("boot index %d, want %d", info.BootIndex, want)
			}
			wimfile.CompareWithWimlib(t, path, info)
			// The boot metadata in the header is that of the boot image.
			h, err := format.ReadHeader(bytes.NewReader(wimfile.ReadFile(t, path)), info.Size)
			if err != nil {
				t.Fatal(err)
			}
			r := wimfile.OpenFile(t, path)
			if res, err := r.Entry(r.ImageEntry(info.BootIndex)).Resource(); err != nil || res != h.BootMetadata {
				t.Errorf("boot metadata %+v, want %+v, %v", h.BootMetadata, res, err)
			}
		}
	}
	// Without an index it is the boot image that changes.
	b, err := NewBase(bytes.NewReader(stored), int64(len(stored)), 0)
	if err != nil || b.Tree().Index() != 1 || b.Info().BootIndex != 1 {
		t.Errorf("%v", err)
	}
}

// TestOverlayIntegrityChunks has stored files end before, at and behind the
// bounds of the chunks of their integrity table.
func TestOverlayIntegrityChunks(t *testing.T) {
	const chunk = 10 << 20 // wimlib's
	dir := t.TempDir()
	tree := filepath.Join(dir, "tree")
	if err := os.Mkdir(tree, 0o755); err != nil {
		t.Fatal(err)
	}
	for i, size := range []int{chunk - 1500, chunk - 200, chunk + 5} {
		data := make([]byte, size)
		rng := rand.NewChaCha8([32]byte{byte(i)})
		_, _ = rng.Read(data)
		if err := os.WriteFile(filepath.Join(tree, "data"), data, 0o644); err != nil {
			t.Fatal(err)
		}
		file := filepath.Join(dir, fmt.Sprintf("%d.wim", size))
		wimfile.Wimlib(t, "capture", tree, file, "base", "--compress=none", "--check")
		stored := wimfile.ReadFile(t, file)
		for _, added := range []int{0, chunk + 1} {
			o := Options{Image: 1, Files: []File{{Path: "a", Data: bytes.Repeat([]byte{7}, added)}}}
			want := snapshotDir(t, tree)
			want.apply(o)
			c, err := New(bytes.NewReader(stored), int64(len(stored)), o)
			if err != nil {
				t.Fatal(err)
			}
			checkComposite(t, c, 1, want)
		}
		// Damage in a chunk that the overlay does not touch stays visible.
		if size > chunk {
			damaged := bytes.Clone(stored)
			damaged[5000]++
			c, err := New(bytes.NewReader(damaged), int64(len(damaged)), Options{})
			if err != nil {
				t.Fatal(err)
			}
			var damage *integrity.DamageError
			if err := integrity.Verify(context.Background(), c, c.Size(), nil); !errors.As(err, &damage) || damage.Damaged != 1 {
				t.Errorf("damage below an overlay: %v", err)
			}
		}
	}
}

// TestOverlayProperty makes many random overlays, also of overlays, and
// compares them with the same changes made to folders.
func TestOverlayProperty(t *testing.T) {
	dir := t.TempDir()
	done := 0
	folders := []string{"a", "B", "cc", "ä", "sub"}
	names := append([]string{"Dd", "Ö", "file.txt", "😀", "x y"}, folders...)
	for seed := range uint64(40) {
		rng := rand.New(rand.NewPCG(seed, 77))
		path := func(depth int) string {
			p := ""
			for range rng.IntN(depth) {
				p += folders[rng.IntN(len(folders))] + "/"
			}
			if rng.IntN(12) == 0 { // may be a folder elsewhere
				p += names[rng.IntN(len(names))]
			} else {
				p += names[rng.IntN(5)]
			}
			if rng.IntN(3) == 0 {
				p = strings.ToUpper(p)
			}
			return p
		}
		tree := filepath.Join(dir, fmt.Sprint(seed))
		if err := os.Mkdir(tree, 0o755); err != nil {
			t.Fatal(err)
		}
		folded := map[string]bool{} // no names that differ only in case
		var files []string
		for range rng.IntN(25) {
			p := path(4)
			full := filepath.Join(tree, p)
			if conflicts(folded, p) || os.MkdirAll(filepath.Dir(full), 0o755) != nil {
				continue
			}
			for q := p; q != "."; q = filepath.Dir(q) {
				folded[strings.ToLower(q)] = true
			}
			if len(files) > 0 && rng.IntN(4) == 0 {
				_ = os.Link(files[rng.IntN(len(files))], full)
			} else if rng.IntN(6) == 0 {
				_ = os.MkdirAll(full, 0o755)
				continue
			} else {
				_ = os.WriteFile(full, bytes.Repeat([]byte{byte(rng.IntN(4))}, rng.IntN(40_000)), 0o644)
			}
			files = append(files, full)
		}
		file := filepath.Join(dir, fmt.Sprintf("%d.wim", seed))
		wimfile.Wimlib(t, append([]string{"capture", tree, file, "base"}, overlayVariants[seed%6].args...)...)
		want := snapshotDir(t, tree)
		data := wimfile.ReadFile(t, file)
		for round := range 3 {
			o := Options{Image: 1, Time: time.Unix(int64(1e9+seed), 0)}
			for range rng.IntN(6) {
				o.Files = append(o.Files, File{Path: path(4), Data: bytes.Repeat([]byte{byte(rng.IntN(6))}, rng.IntN(40_000))})
			}
			for range rng.IntN(4) {
				p := path(3)
				if rng.IntN(2) == 0 && strings.Contains(p, "/") {
					p = filepath.Dir(p)
				}
				o.Remove = append(o.Remove, p)
			}
			c, err := New(bytes.NewReader(data), int64(len(data)), o)
			if err != nil {
				if errors.Is(err, fs.ErrInvalid) {
					continue // paths that contradict each other: TestOverlayErrors
				}
				t.Fatalf("seed %d round %d: %v", seed, round, err)
			}
			done++
			want.apply(o)
			data = wimfile.ReadFile(t, checkComposite(t, c, 1, want))
			if t.Failed() {
				for _, f := range o.Files {
					t.Logf("file %q, %d bytes", f.Path, len(f.Data))
				}
				t.Fatalf("seed %d round %d: remove %q", seed, round, o.Remove)
			}
		}
	}
	if done < 80 {
		t.Errorf("only %d of 120 overlays were possible", done)
	}
}

// conflicts says whether a path, or a folder above it, exists in another case.
func conflicts(folded map[string]bool, p string) bool {
	return folded[strings.ToLower(p)] || p != filepath.Clean(p) || strings.ToLower(p) != p && strings.Contains(p, "/")
}
