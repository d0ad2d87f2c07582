package wim

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
)

// manyFiles makes a WIM of n files in memory.
func manyFiles(n int, change func(*file)) []byte {
	root := folder("", folder("Windows", folder("System32", &node{name: "startnet.cmd", data: []byte("wpeinit")})))
	system := root.children[0].children[0]
	for i := range n {
		if i%100 == 0 {
			system.children = append(system.children, folder(fmt.Sprintf("folder %04d", i/100)))
		}
		f := system.children[len(system.children)-1]
		f.children = append(f.children, &node{name: fmt.Sprintf("a file with a name of common length %02d.dll", i%100), data: []byte(fmt.Sprint(i % 20_000))})
	}
	seen := map[string]bool{}
	var blobs [][]byte
	for _, b := range contents(root) {
		if !seen[string(b)] {
			seen[string(b)] = true
			blobs = append(blobs, b)
		}
	}
	f := imageFile(metadata(root, nil), blobs...)
	f.chunk = 1 << 20
	if change != nil {
		change(f)
	}
	return f.bytes(nil)
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
		c, err := b.Overlay(OverlayOptions{Files: []OverlayFile{
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
	wimlib(t, "verify", path)
	listing := wimlib(t, "dir", path, "1")
	if n := bytes.Count(listing, []byte("\n")); n != 1+2+1000+100_000+1+1+1+1 {
		t.Errorf("wimlib lists %d entries", n)
	}
	tree := image(t, openWIM(t, path), 1)
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
		_, err := base.Overlay(OverlayOptions{Files: []OverlayFile{
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
	root := smallTree()
	junction := folder("junction")
	junction.change = func(b []byte) { b[dentryAttributes+1] = AttributeReparsePoint >> 8 }
	root.children = append(root.children, junction)
	good := imageFile(metadata(root, nil), contents(root)...)
	stored := good.bytes(nil)
	overlay := func(b []byte, o OverlayOptions) error {
		_, err := Overlay(bytes.NewReader(b), int64(len(b)), o)
		return err
	}
	file := func(paths ...string) OverlayOptions {
		o := OverlayOptions{}
		for _, p := range paths {
			o.Files = append(o.Files, OverlayFile{Path: p, Data: []byte("x")})
		}
		return o
	}
	failure := errors.New("disk on fire")
	for name, c := range map[string]struct {
		o    OverlayOptions
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
		"remove the root":        {OverlayOptions{Remove: []string{`\`}}, fs.ErrInvalid, "root"},
		"remove dot dot":         {OverlayOptions{Remove: []string{`..`}}, fs.ErrInvalid, "remove"},
		"boot index":             {OverlayOptions{BootIndex: 2}, nil, "boot index 2"},
		"negative boot index":    {OverlayOptions{BootIndex: -1}, nil, "boot index -1"},
		"image":                  {OverlayOptions{Image: 2}, fs.ErrNotExist, "image 2"},
		"negative image":         {OverlayOptions{Image: -1}, fs.ErrNotExist, "image -1"},
		"content of wrong size":  {OverlayOptions{Files: []OverlayFile{{Path: "a", Content: strings.NewReader("abc"), Size: 4}}}, nil, "has 3 bytes, not 4"},
		"negative size":          {OverlayOptions{Files: []OverlayFile{{Path: "a", Content: strings.NewReader("abc"), Size: -4}}}, nil, "impossible"},
		"content that fails":     {OverlayOptions{Files: []OverlayFile{{Path: "a", Content: failingReader{failure}, Size: 4}}}, failure, `"a"`},
		"a blob of another size": {OverlayOptions{Files: []OverlayFile{{Path: "a", Data: []byte("x"), Hash: sha1.Sum([]byte("MZ loader"))}}}, ErrCorrupt, "size"},
		"many files":             {OverlayOptions{Files: make([]OverlayFile, maxOverlayFiles+1)}, ErrUnsupported, "65537"},
	} {
		t.Run(name, func(t *testing.T) {
			err := overlay(stored, c.o)
			if err == nil || c.want != nil && !errors.Is(err, c.want) || !strings.Contains(err.Error(), c.text) {
				t.Errorf("have %v, want %v with %q", err, c.want, c.text)
			}
		})
	}
	good.header.Flags |= flagWriteInProgress
	if err := overlay(good.bytes(nil), file("a")); !errors.Is(err, ErrCorrupt) || !strings.Contains(err.Error(), "writing") {
		t.Errorf("unfinished: %v", err)
	}
	tree := sourceTree(t)
	for name, c := range map[string]struct {
		args []string
		text string
	}{
		"pipable": {[]string{"--pipable"}, "--not-pipable"},
		"solid":   {[]string{"--solid"}, "wimlib-imagex export"},
		"lzms":    {[]string{"--compress=lzms"}, "wimlib-imagex export"},
	} {
		path := filepath.Join(t.TempDir(), name)
		wimlib(t, append([]string{"capture", tree, path}, c.args...)...)
		if err := overlay(readFile(t, path), file("a")); !errors.Is(err, ErrUnsupported) || !strings.Contains(err.Error(), c.text) {
			t.Errorf("%s: %v", name, err)
		}
		// The way out that the message names works.
		converted := filepath.Join(t.TempDir(), name)
		args := []string{"export", path, "all", converted, "--compress=lzx"}
		if name == "pipable" {
			args = append(args, "--not-pipable")
		}
		wimlib(t, args...)
		if err := overlay(readFile(t, converted), file("a")); err != nil {
			t.Errorf("%s, converted: %v", name, err)
		}
	}
	// Without a boot index, several images need a choice.
	path := filepath.Join(t.TempDir(), "two.wim")
	wimlib(t, "capture", tree, path, "one")
	wimlib(t, "append", tree, path, "two")
	if err := overlay(readFile(t, path), file("a")); !errors.Is(err, ErrUnsupported) || !strings.Contains(err.Error(), "name one") {
		t.Errorf("two images: %v", err)
	}
}

type failingReader struct{ err error }

func (f failingReader) ReadAt([]byte, int64) (int, error) { return 0, f.err }

// TestOverlayUnderFailure reads a composite whose stored file became shorter,
// and one whose reader fails.
func TestOverlayUnderFailure(t *testing.T) {
	root := smallTree()
	stored := imageFile(metadata(root, nil), contents(root)...).bytes(nil)
	under := &replaceable{bytes.NewReader(stored)}
	c, err := Overlay(under, int64(len(stored)), OverlayOptions{Files: []OverlayFile{{Path: "a", Data: []byte("x")}}})
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
	if n, err := c.ReadAt(p, 0); n != 300 || !errors.Is(err, ErrTruncated) {
		t.Error(n, err)
	}
	under.ReaderAt = failingReader{fs.ErrPermission}
	if n, err := c.ReadAt(p, 0); n != headerSize || !errors.Is(err, fs.ErrPermission) {
		t.Error(n, err)
	}
}

type replaceable struct{ io.ReaderAt }

// TestParallelReaders reads one blob and one composite from many goroutines.
func TestParallelReaders(t *testing.T) {
	file := filepath.Join(t.TempDir(), "base.wim")
	tree := sourceTree(t)
	wimlib(t, "capture", tree, file, "base", "--compress=xpress", "--chunk-size=4096")
	stored := readFile(t, file)
	base, err := NewBase(bytes.NewReader(stored), int64(len(stored)), 1)
	if err != nil {
		t.Fatal(err)
	}
	blob, err := base.Tree().Open("Windows/System32/text.txt")
	if err != nil {
		t.Fatal(err)
	}
	text := readFile(t, filepath.Join(tree, "Windows/System32/text.txt"))
	o := OverlayOptions{Files: []OverlayFile{{Path: "new", Data: []byte("new")}}}
	first, err := base.Overlay(o)
	if err != nil {
		t.Fatal(err)
	}
	want := readFile(t, materialise(t, first))
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
