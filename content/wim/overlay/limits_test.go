package overlay

import (
	"bytes"
	"crypto/sha1"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"

	"castpoint/content/wim/format"
	"castpoint/content/wim/metadata"
	"castpoint/test/wimfile"
)

// manyFiles makes a WIM of n files in memory.
func manyFiles(n int, change func(*wimfile.File)) []byte {
	root := wimfile.Folder("", wimfile.Folder("Windows", wimfile.Folder("System32", &wimfile.Node{Name: "startnet.cmd", Data: []byte("wpeinit")})))
	system := root.Children[0].Children[0]
	for i := range n {
		if i%100 == 0 {
			system.Children = append(system.Children, wimfile.Folder(fmt.Sprintf("folder %04d", i/100)))
		}
		f := system.Children[len(system.Children)-1]
		f.Children = append(f.Children, &wimfile.Node{Name: fmt.Sprintf("a file with a name of common length %02d.dll", i%100), Data: []byte(fmt.Sprint(i % 20_000))})
	}
	seen := map[string]bool{}
	var blobs [][]byte
	for _, b := range wimfile.Contents(root) {
		if !seen[string(b)] {
			seen[string(b)] = true
			blobs = append(blobs, b)
		}
	}
	f := wimfile.NewImage(wimfile.Metadata(root, nil), blobs...)
	f.Chunk = 1 << 20
	if change != nil {
		change(f)
	}
	return f.Bytes(nil)
}

// TestOverlayManyFiles overlays an image of 100 000 files for many devices.
func TestOverlayManyFiles(t *testing.T) {
	stored := manyFiles(100_000, nil)
	b, err := NewBase(bytes.NewReader(stored), int64(len(stored)), 0)
	if err != nil {
		t.Fatal(err)
	}
	agent := bytes.NewReader(bytes.Repeat([]byte("agent"), 200_000))
	overlayFor := func(i int) *Composite {
		c, err := b.Overlay(Options{Files: []File{
			{Path: "Windows/System32/startnet.cmd", Data: []byte("wpeinit\r\ncastagent\r\n")},
			{Path: "Windows/System32/castagent.exe", Content: agent, Size: agent.Size()},
			{Path: "castpoint/token", Data: fmt.Appendf(nil, "token of device %d", i)},
		}})
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	const devices = 20
	composites := make([]*Composite, devices)
	tags := map[string]bool{}
	for i := range composites {
		composites[i] = overlayFor(i)
		tags[composites[i].ETag("")] = true
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	if each := (int64(after.HeapAlloc) - int64(before.HeapAlloc)) / devices; each > 1<<20 {
		t.Errorf("a device takes %d bytes of memory", each)
	}
	if len(tags) != devices {
		t.Errorf("%d ETags for %d devices", len(tags), devices)
	}
	path := materialise(t, composites[3])
	wimfile.Wimlib(t, "verify", path)
	listing := wimfile.Wimlib(t, "dir", path, "1")
	if n := bytes.Count(listing, []byte("\n")); n != 1+2+1000+100_000+1+1+1+1 {
		t.Errorf("wimlib lists %d entries", n)
	}
	tree := wimfile.Image(t, wimfile.OpenFile(t, path), 1)
	for path, want := range map[string]string{
		"castpoint/token":               "token of device 3",
		"windows/system32/startnet.cmd": "wpeinit\r\ncastagent\r\n",
		"windows/system32/folder 0999/a file with a name of common length 99.dll": "19999",
	} {
		if have, err := tree.ReadFile(path, 100); err != nil || string(have) != want {
			t.Errorf("%s: %q, %v", path, have, err)
		}
	}
	runtime.KeepAlive(composites)
}

// BenchmarkOverlay is the work for one more device: an image of 20 000 files,
// as WinPE has, and an agent of 10 MB.
func BenchmarkOverlay(b *testing.B) {
	stored := manyFiles(20_000, nil)
	base, err := NewBase(bytes.NewReader(stored), int64(len(stored)), 0)
	if err != nil {
		b.Fatal(err)
	}
	agent := bytes.NewReader(make([]byte, 10<<20))
	known := sha1.Sum(make([]byte, 10<<20))
	b.ReportAllocs()
	for b.Loop() {
		_, err := base.Overlay(Options{Files: []File{
			{Path: "Windows/System32/startnet.cmd", Data: []byte("wpeinit\r\ncastagent\r\n")},
			{Path: "Windows/System32/castagent.exe", Content: agent, Size: agent.Size(), Hash: known},
			{Path: "castpoint/token", Data: []byte("token")},
		}})
		if err != nil {
			b.Fatal(err)
		}
	}
}

// TestOverlayErrors asks for what cannot be.
func TestOverlayErrors(t *testing.T) {
	root := wimfile.SmallTree()
	junction := wimfile.Folder("junction")
	junction.Change = func(b []byte) { b[wimfile.EntryAttributes+1] = metadata.AttributeReparsePoint >> 8 }
	root.Children = append(root.Children, junction)
	good := wimfile.NewImage(wimfile.Metadata(root, nil), wimfile.Contents(root)...)
	stored := good.Bytes(nil)
	overlay := func(b []byte, o Options) error {
		_, err := New(bytes.NewReader(b), int64(len(b)), o)
		return err
	}
	file := func(paths ...string) Options {
		o := Options{}
		for _, p := range paths {
			o.Files = append(o.Files, File{Path: p, Data: []byte("x")})
		}
		return o
	}
	failure := errors.New("disk on fire")
	for name, c := range map[string]struct {
		o    Options
		want error
		text string
	}{
		"root":                   {file("/"), fs.ErrInvalid, "root"},
		"no path":                {file(""), fs.ErrInvalid, "root"},
		"dot dot":                {file("a/../b"), fs.ErrInvalid, `".."`},
		"stream":                 {file("a:b"), fs.ErrInvalid, "does not allow"},
		"wildcard":               {file("a*"), fs.ErrInvalid, "does not allow"},
		"trailing dot":           {file("a."), fs.ErrInvalid, "end in a dot"},
		"control character":      {file("a\x01"), fs.ErrInvalid, "does not allow"},
		"not UTF-8":              {file("a\xff"), fs.ErrInvalid, "UTF-8"},
		"long name":              {file(strings.Repeat("n", 256)), fs.ErrInvalid, "256"},
		"long path":              {file(strings.Repeat("n/", 20_000) + "n"), fs.ErrInvalid, "at most"},
		"deep path":              {file(strings.Repeat("n/", 2_000) + "n"), fs.ErrInvalid, "at most"},
		"twice":                  {file("a/b", `A\B`), fs.ErrInvalid, "twice"},
		"file and folder":        {file("a", "a/b"), fs.ErrInvalid, "is a file of the overlay"},
		"folder and file":        {file("x/b/c", "x/b"), fs.ErrInvalid, ""},
		"over a folder":          {file("windows"), fs.ErrInvalid, "is a folder"},
		"below a file":           {file("empty/b"), fs.ErrInvalid, "no folder"},
		"below a junction":       {file("junction/b"), fs.ErrInvalid, "no folder"},
		"over a junction":        {file("junction"), fs.ErrInvalid, "is a folder"},
		"remove the root":        {Options{Remove: []string{`\`}}, fs.ErrInvalid, "root"},
		"remove dot dot":         {Options{Remove: []string{`..`}}, fs.ErrInvalid, "remove"},
		"boot index":             {Options{BootIndex: 2}, nil, "boot index 2"},
		"negative boot index":    {Options{BootIndex: -1}, nil, "boot index -1"},
		"image":                  {Options{Image: 2}, fs.ErrNotExist, "image 2"},
		"negative image":         {Options{Image: -1}, fs.ErrNotExist, "image -1"},
		"content of wrong size":  {Options{Files: []File{{Path: "a", Content: strings.NewReader("abc"), Size: 4}}}, nil, "has 3 bytes, not 4"},
		"negative size":          {Options{Files: []File{{Path: "a", Content: strings.NewReader("abc"), Size: -4}}}, nil, "impossible"},
		"content that fails":     {Options{Files: []File{{Path: "a", Content: failingReader{failure}, Size: 4}}}, failure, `"a"`},
		"a blob of another size": {Options{Files: []File{{Path: "a", Data: []byte("x"), Hash: sha1.Sum([]byte("MZ loader"))}}}, format.ErrCorrupt, "size"},
		"many files":             {Options{Files: make([]File, maxFiles+1)}, format.ErrUnsupported, "65537"},
	} {
		t.Run(name, func(t *testing.T) {
			err := overlay(stored, c.o)
			if err == nil || c.want != nil && !errors.Is(err, c.want) || !strings.Contains(err.Error(), c.text) {
				t.Errorf("have %v, want %v with %q", err, c.want, c.text)
			}
		})
	}
	good.Header.Flags |= format.FlagWriteInProgress
	if err := overlay(good.Bytes(nil), file("a")); !errors.Is(err, format.ErrCorrupt) || !strings.Contains(err.Error(), "writing") {
		t.Errorf("unfinished: %v", err)
	}
	tree := wimfile.SourceTree(t)
	for name, c := range map[string]struct {
		args []string
		text string
	}{
		"pipable": {[]string{"--pipable"}, "--not-pipable"},
		"solid":   {[]string{"--solid"}, "wimlib-imagex export"},
		"lzms":    {[]string{"--compress=lzms"}, "wimlib-imagex export"},
	} {
		path := filepath.Join(t.TempDir(), name)
		wimfile.Wimlib(t, append([]string{"capture", tree, path}, c.args...)...)
		if err := overlay(wimfile.ReadFile(t, path), file("a")); !errors.Is(err, format.ErrUnsupported) || !strings.Contains(err.Error(), c.text) {
			t.Errorf("%s: %v", name, err)
		}
		// The way out that the message names works.
		converted := filepath.Join(t.TempDir(), name)
		args := []string{"export", path, "all", converted, "--compress=lzx"}
		if name == "pipable" {
			args = append(args, "--not-pipable")
		}
		wimfile.Wimlib(t, args...)
		if err := overlay(wimfile.ReadFile(t, converted), file("a")); err != nil {
			t.Errorf("%s, converted: %v", name, err)
		}
	}
	// Without a boot index, several images need a choice.
	path := filepath.Join(t.TempDir(), "two.wim")
	wimfile.Wimlib(t, "capture", tree, path, "one")
	wimfile.Wimlib(t, "append", tree, path, "two")
	if err := overlay(wimfile.ReadFile(t, path), file("a")); !errors.Is(err, format.ErrUnsupported) || !strings.Contains(err.Error(), "name one") {
		t.Errorf("two images: %v", err)
	}
}

type failingReader struct{ err error }

func (f failingReader) ReadAt([]byte, int64) (int, error) { return 0, f.err }

// TestOverlayUnderFailure reads a composite whose stored file became shorter,
// and one whose reader fails.
func TestOverlayUnderFailure(t *testing.T) {
	root := wimfile.SmallTree()
	stored := wimfile.NewImage(wimfile.Metadata(root, nil), wimfile.Contents(root)...).Bytes(nil)
	under := &replaceable{bytes.NewReader(stored)}
	c, err := New(under, int64(len(stored)), Options{Files: []File{{Path: "a", Data: []byte("x")}}})
	if err != nil {
		t.Fatal(err)
	}
	p := make([]byte, c.Size())
	if n, err := c.ReadAt(p, 0); int64(n) != c.Size() || err != nil {
		t.Fatal(n, err)
	}
	if n, err := c.ReadAt(p, c.Size()); n != 0 || !errors.Is(err, io.EOF) {
		t.Error(n, err)
	}
	if _, err := c.ReadAt(p, -1); err == nil {
		t.Error("a negative offset is read")
	}
	under.ReaderAt = bytes.NewReader(stored[:300])
	if n, err := c.ReadAt(p, 0); n != 300 || !errors.Is(err, format.ErrTruncated) {
		t.Error(n, err)
	}
	under.ReaderAt = failingReader{fs.ErrPermission}
	if n, err := c.ReadAt(p, 0); n != format.HeaderSize || !errors.Is(err, fs.ErrPermission) {
		t.Error(n, err)
	}
}

type replaceable struct{ io.ReaderAt }

// TestParallelReaders reads one blob and one composite from many goroutines.
func TestParallelReaders(t *testing.T) {
	file := filepath.Join(t.TempDir(), "base.wim")
	tree := wimfile.SourceTree(t)
	wimfile.Wimlib(t, "capture", tree, file, "base", "--compress=xpress", "--chunk-size=4096")
	stored := wimfile.ReadFile(t, file)
	base, err := NewBase(bytes.NewReader(stored), int64(len(stored)), 1)
	if err != nil {
		t.Fatal(err)
	}
	blob, err := base.Tree().Open("Windows/System32/text.txt")
	if err != nil {
		t.Fatal(err)
	}
	text := wimfile.ReadFile(t, filepath.Join(tree, "Windows/System32/text.txt"))
	o := Options{Files: []File{{Path: "new", Data: []byte("new")}}}
	first, err := base.Overlay(o)
	if err != nil {
		t.Fatal(err)
	}
	want := wimfile.ReadFile(t, materialise(t, first))
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			rng := rand.New(rand.NewPCG(uint64(i), 0))
			c, err := base.Overlay(o)
			if err != nil || c.ETag("") != first.ETag("") {
				t.Errorf("overlay beside others: %v", err)
				return
			}
			for range 50 {
				for _, x := range []struct {
					r    io.ReaderAt
					want []byte
				}{{blob, text}, {first, want}, {c, want}} {
					off := rng.IntN(len(x.want))
					p := make([]byte, rng.IntN(len(x.want)-off))
					if n, err := x.r.ReadAt(p, int64(off)); n != len(p) || err != nil || !bytes.Equal(p, x.want[off:off+len(p)]) {
						t.Errorf("%d bytes at %d: %d, %v", len(p), off, n, err)
					}
				}
			}
		})
	}
	wg.Wait()
}
