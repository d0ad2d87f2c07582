package library

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"castpoint/content"
	"castpoint/test/image"
)

// TestErrorAtEveryPoint makes every point of every operation fail and demands
// that nothing of it remains.
func TestErrorAtEveryPoint(t *testing.T) {
	old := image.Capture(t, 50_000, nil, "old")
	fresh := image.Capture(t, 3<<20, nil, "fresh")
	operations := map[string]func(*Library) error{
		"add": func(l *Library) error {
			_, err := l.Add(context.Background(), content.AddRequest{Kind: content.KindOSImage, Path: fresh})
			return err
		},
		"update": func(l *Library) error {
			_, err := l.Update(context.Background(), "old", content.AddRequest{Path: fresh})
			return err
		},
	}
	for name, operation := range operations {
		for _, point := range []string{"copy", "temporary", "pending", "object", "manifest", "before content", "content"} {
			t.Run(name+"/"+point, func(t *testing.T) {
				l := openLibrary(t, t.TempDir())
				add(t, l, content.AddRequest{Kind: content.KindOSImage, Path: old, Name: "old"})
				l.faults.Step = func(p string) error {
					if p == point {
						return fmt.Errorf("write: %w", syscall.ENOSPC)
					}
					return nil
				}
				err := operation(l)
				if !errors.Is(err, syscall.ENOSPC) {
					t.Fatalf("have %v", err)
				}
				if point == "copy" && !errors.Is(err, content.ErrNoSpace) {
					t.Errorf("%v is not ErrNoSpace", err)
				}
				l.faults.Step = func(string) error { return nil }
				list, err := l.List()
				if err != nil || len(list) != 1 {
					t.Errorf("%v, %v", list, err)
				}
				nothingPromised(t, l)
				consistent(t, l)
				if name == "add" { // and it works when tried again
					again := add(t, l, content.AddRequest{Kind: content.KindOSImage, Path: fresh})
					consistent(t, l)
					if err := l.Remove(again.ID); err != nil {
						t.Error(err)
					}
					consistent(t, l) // nothing has kept the objects
				}
			})
		}
	}
}

func TestCancel(t *testing.T) {
	fresh := image.Capture(t, 8<<20, []string{"--compress=none"}, "fresh")
	l := openLibrary(t, t.TempDir())
	ctx, cancel := context.WithCancel(context.Background())
	_, err := l.Add(ctx, content.AddRequest{Kind: content.KindOSImage, Path: fresh, Progress: func(done, total int64) {
		if done > total/2 {
			cancel()
		}
	}})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("have %v", err)
	}
	consistent(t, l)
	if list, _ := l.List(); len(list) != 0 {
		t.Errorf("%v", list)
	}
}

// TestCloseDuringAdd demands that Close ends an unfinished add and waits for it.
func TestCloseDuringAdd(t *testing.T) {
	fresh := image.Capture(t, 8<<20, []string{"--compress=none"}, "fresh")
	dir := t.TempDir()
	l := openLibrary(t, dir)
	closed := make(chan error, 1)
	var once sync.Once
	_, err := l.Add(context.Background(), content.AddRequest{Kind: content.KindOSImage, Path: fresh, Progress: func(done, _ int64) {
		if done > 0 {
			once.Do(func() {
				go func() { closed <- l.Close() }()
				<-l.ctx.Done()
				select {
				case <-closed:
					t.Error("Close did not wait for the add")
					closed <- nil
				case <-time.After(20 * time.Millisecond):
				}
			})
		}
	}})
	if !errors.Is(err, content.ErrClosed) {
		t.Errorf("add: %v", err)
	}
	if err := <-closed; err != nil {
		t.Error(err)
	}
	consistent(t, openLibrary(t, dir))
}

func TestNoSpace(t *testing.T) {
	file := image.Capture(t, 3<<20, nil, "x")
	for name, c := range map[string]struct {
		free, reserve int64
		Text          string
	}{
		"too little":         {1 << 20, -1, "needed, 1.0 MiB free"},
		"into the reserve":   {1 << 30, 1 << 30, "1.0 GiB kept in reserve"},
		"default reserve":    {1 << 30, 0, "1.0 GiB kept in reserve"},
		"enough by the byte": {1 << 30, 1<<30 - (4 << 20), ""},
	} {
		t.Run(name, func(t *testing.T) {
			l, err := OpenOptions(t.TempDir(), Options{Reserve: c.reserve})
			if err != nil {
				t.Fatal(err)
			}
			defer l.Close()
			l.faults.Free = func(string) (int64, error) { return c.free, nil }
			if c.Text != "" {
				l.faults.Step = func(point string) error {
					t.Errorf("%s was reached", point)
					return nil
				}
			}
			_, err = l.Add(context.Background(), content.AddRequest{Kind: content.KindOSImage, Path: file})
			switch {
			case c.Text == "" && err != nil:
				t.Error(err)
			case c.Text != "" && (!errors.Is(err, content.ErrNoSpace) || !strings.Contains(err.Error(), c.Text)):
				t.Errorf("have %v, want %q", err, c.Text)
			}
			consistent(t, l)
		})
	}
}

// TestClone replaces the reflink by one that works everywhere, and demands that
// the clone is what is hashed, and that a clone needs no free space.
func TestClone(t *testing.T) {
	file := image.Capture(t, 3<<20, []string{"--check"}, "x")
	l := openLibrary(t, t.TempDir())
	l.faults.Free = func(string) (int64, error) { return 0, nil }
	cloned := 0
	l.faults.Clone = func(dst, src *os.File) (bool, error) {
		cloned++
		_, err := io.Copy(dst, io.NewSectionReader(src, 0, 1<<40))
		return true, err
	}
	c := add(t, l, content.AddRequest{Kind: content.KindOSImage, Path: file})
	if cloned != 1 || !c.Integrity {
		t.Errorf("cloned %d times, integrity %v", cloned, c.Integrity)
	}
	consistent(t, l)

	l.faults.Clone = func(dst, src *os.File) (bool, error) {
		b := readFile(t, file)
		b[len(b)/2] ^= 1
		_, err := dst.Write(b)
		return true, err
	}
	if _, err := l.Add(context.Background(), content.AddRequest{Kind: content.KindOSImage, Path: file, Name: "changed"}); !errors.Is(err, content.ErrInvalid) {
		t.Errorf("the source was hashed, not the clone: %v", err)
	}
	l.faults.Clone = func(*os.File, *os.File) (bool, error) { return false, syscall.ENOSPC }
	if _, err := l.Add(context.Background(), content.AddRequest{Kind: content.KindOSImage, Path: file, Name: "full"}); !errors.Is(err, content.ErrNoSpace) {
		t.Errorf("clone on a full disk: %v", err)
	}
	consistent(t, l)
}

// TestSourceChanges demands that a file which changes while it is added is
// refused, at whatever moment.
func TestSourceChanges(t *testing.T) {
	for name, change := range map[string]func(path string) error{
		"written": func(p string) error {
			return os.Chtimes(p, time.Time{}, time.Unix(1, 0))
		},
		"longer": func(p string) error {
			f, err := os.OpenFile(p, os.O_APPEND|os.O_WRONLY, 0)
			if err != nil {
				return err
			}
			defer f.Close()
			_, err = f.Write([]byte("more"))
			return err
		},
		"shorter": func(p string) error { return os.Truncate(p, 1000) },
	} {
		for _, when := range []string{"start", "middle", "end"} {
			t.Run(name+" at the "+when, func(t *testing.T) {
				file := image.Capture(t, 4<<20, []string{"--compress=none"}, "x")
				l := openLibrary(t, t.TempDir())
				changed := false
				_, err := l.Add(context.Background(), content.AddRequest{Kind: content.KindOSImage, Path: file, Progress: func(done, total int64) {
					if !changed && (when == "start" || when == "middle" && done > 0 || done == total) {
						changed = true
						if err := change(file); err != nil {
							t.Error(err)
						}
					}
				}})
				if err == nil {
					t.Error("added")
				}
				consistent(t, l)
			})
		}
	}
	t.Run("replaced", func(t *testing.T) {
		file := image.Capture(t, 1000, nil, "x")
		other := image.Capture(t, 1000, nil, "x")
		l := openLibrary(t, t.TempDir())
		_, err := l.Add(context.Background(), content.AddRequest{Kind: content.KindOSImage, Path: file, Progress: func(int64, int64) {
			_ = os.Rename(other, file)
		}})
		if err == nil || !strings.Contains(err.Error(), "another file") {
			t.Errorf("have %v", err)
		}
	})
}

func TestValidate(t *testing.T) {
	l := openLibrary(t, t.TempDir())
	file := image.Capture(t, 3<<20, []string{"--compress=none"}, "x")
	c := add(t, l, content.AddRequest{Kind: content.KindOSImage, Path: file})
	f := c.Files[0]
	path := objectPath(l, f.Digest)
	intact := readFile(t, path)
	set := func(b []byte) {
		t.Helper()
		if err := os.Chmod(path, 0o644); err != nil {
			t.Fatal(err)
		}
		writeFile(t, path, b)
	}
	validate := func() *Validation {
		t.Helper()
		var last, total int64
		v, err := l.Validate(context.Background(), "x", func(done, all int64) { last, total = done, all })
		if err != nil {
			t.Fatal(err)
		}
		if last != total {
			t.Errorf("progress ended at %d of %d", last, total)
		}
		return v
	}
	if v := validate(); v.Err() != nil || !v.Files[0].OK() {
		t.Errorf("%+v", v)
	}

	damaged := bytes.Clone(intact)
	damaged[3*content.BlockSize] ^= 0x40
	damaged[4*content.BlockSize-1] ^= 0x40
	damaged[9*content.BlockSize+5] ^= 0x40
	set(damaged)
	v := validate()
	if got := v.Files[0]; got.OK() || !got.BadDigest || fmt.Sprint(got.Damaged) != "[3 9]" || got.DamagedBlocks != 2 {
		t.Errorf("%+v", got)
	}
	if err := v.Err(); !errors.Is(err, content.ErrDamaged) || !strings.Contains(err.Error(), "2 of 18 blocks are damaged, the first at byte 540672") {
		t.Error(err)
	}
	set(intact[:2*content.BlockSize+1])
	if got := validate().Files[0]; got.OK() || got.Size != 2*content.BlockSize+1 || fmt.Sprint(got.Damaged) != "[2]" {
		t.Errorf("%+v", got)
	}

	// Adding or updating from the good file repairs the object.
	if _, err := l.Update(context.Background(), "x", content.AddRequest{Path: file}); err != nil {
		t.Fatal(err)
	}
	consistent(t, l)

	// A damaged or lost manifest is made anew from a good object.
	for _, b := range [][]byte{nil, []byte("noise"), {}} {
		if err := os.Remove(manifestPath(l, f.Digest)); err != nil {
			t.Fatal(err)
		}
		if b != nil {
			writeFile(t, manifestPath(l, f.Digest), b)
		}
		if _, err := l.Manifest(f.Digest); !errors.Is(err, content.ErrManifest) && !errors.Is(err, content.ErrNotFound) {
			t.Errorf("manifest: %v", err)
		}
		if got := validate().Files[0]; !got.OK() || !got.ManifestRepaired {
			t.Errorf("%+v", got)
		}
		consistent(t, l)
	}

	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := l.Validate(ctx, "x", nil); !errors.Is(err, context.Canceled) {
		t.Errorf("canceled: %v", err)
	}
	if _, err := l.Validate(context.Background(), "y", nil); !errors.Is(err, content.ErrNotFound) {
		t.Error(err)
	}
}

func TestCollectGarbage(t *testing.T) {
	l := openLibrary(t, t.TempDir())
	add(t, l, content.AddRequest{Kind: content.KindOSImage, Path: image.Capture(t, 1000, nil, "x")})
	writeFile(t, objectPath(l, content.Digest{7}), []byte("12345"))
	writeFile(t, manifestPath(l, content.Digest{7}), []byte("m"))
	writeFile(t, manifestPath(l, content.Digest{8}), []byte("m"))
	notOurs := filepath.Join(l.dir, "objects", "README")
	writeFile(t, notOurs, []byte("keep"))
	g, err := l.CollectGarbage(context.Background())
	if err != nil || g.Objects != 1 || g.Bytes != 5 {
		t.Errorf("%+v, %v", g, err)
	}
	if err := os.Remove(notOurs); err != nil {
		t.Error("a file that is not an object was deleted")
	}
	consistent(t, l)
}

// TestObjectInUse removes a content while another that shares an object with it
// is half added.
func TestObjectInUse(t *testing.T) {
	dir := t.TempDir()
	kernel, initrd := filepath.Join(dir, "vmlinuz"), filepath.Join(dir, "initrd")
	writeFile(t, kernel, image.Kernel(1))
	for name, meanwhile := range map[string]func(*Library) error{
		"remove": func(l *Library) error { return l.Remove("first") },
		"collect": func(l *Library) error {
			_, err := l.CollectGarbage(context.Background())
			return errors.Join(err, l.Remove("first"))
		},
		"remove and collect": func(l *Library) error {
			err := l.Remove("first")
			_, gerr := l.CollectGarbage(context.Background())
			return errors.Join(err, gerr)
		},
	} {
		t.Run(name, func(t *testing.T) {
			l := openLibrary(t, t.TempDir())
			writeFile(t, initrd, []byte("070701 first"))
			add(t, l, content.AddRequest{Kind: content.KindBootImage, Path: kernel, Initrd: initrd, Name: "first"})
			writeFile(t, initrd, []byte("070701 second"))
			done := false
			add(t, l, content.AddRequest{Kind: content.KindBootImage, Path: kernel, Initrd: initrd, Name: "second", Progress: func(n, total int64) {
				if n == total && !done { // the kernel is stored, the content is not
					done = true
					if err := meanwhile(l); err != nil {
						t.Error(err)
					}
				}
			}})
			consistent(t, l)
		})
	}
}

// TestManyAtOnce runs everything at once and demands a consistent library, with
// nothing deleted that somebody was about to use.
func TestManyAtOnce(t *testing.T) {
	l := openLibrary(t, t.TempDir())
	var files []string
	for i := range 3 {
		files = append(files, image.Capture(t, 200_000+i, nil, "x"))
	}
	var wg sync.WaitGroup
	var added atomic.Int64
	for worker := range 8 {
		wg.Go(func() {
			rng := rand.New(rand.NewPCG(1, uint64(worker)))
			for range 25 {
				name := fmt.Sprintf("n%d", rng.IntN(6))
				switch rng.IntN(8) {
				case 0, 1, 2:
					c, err := l.Add(context.Background(), content.AddRequest{Kind: content.KindOSImage, Path: files[rng.IntN(3)], Name: name})
					if err == nil {
						added.Add(1)
						if c.Name != name {
							t.Errorf("%+v", c)
						}
					} else if !errors.Is(err, content.ErrExists) {
						t.Error(err)
					}
				case 3:
					if err := l.Remove(name); err != nil && !errors.Is(err, content.ErrNotFound) {
						t.Error(err)
					}
				case 4:
					if _, err := l.Update(context.Background(), name, content.AddRequest{Path: files[rng.IntN(3)]}); err != nil &&
						!errors.Is(err, content.ErrNotFound) && !errors.Is(err, content.ErrExists) {
						t.Error(err)
					}
				case 5:
					if _, err := l.Set(name, SetRequest{Comment: ptr(name)}); err != nil && !errors.Is(err, content.ErrNotFound) && !errors.Is(err, content.ErrExists) {
						t.Error(err)
					}
				case 6:
					if _, err := l.CollectGarbage(context.Background()); err != nil {
						t.Error(err)
					}
				default:
					list, err := l.List()
					if err != nil {
						t.Error(err)
					}
					for _, c := range list {
						if _, err := l.Manifest(c.Files[0].Digest); err != nil && !errors.Is(err, content.ErrNotFound) {
							t.Error(err)
						}
					}
				}
			}
		})
	}
	wg.Wait()
	if added.Load() == 0 {
		t.Error("nothing was added")
	}
	consistent(t, l)
}

func TestFolders(t *testing.T) {
	dir := t.TempDir()
	writeFile(t, filepath.Join(dir, "net", "e1000.inf"), []byte("[Version]"))
	writeFile(t, filepath.Join(dir, "net", "e1000.sys"), bytes.Repeat([]byte("x"), content.BlockSize+1))
	writeFile(t, filepath.Join(dir, "copy.sys"), bytes.Repeat([]byte("x"), content.BlockSize+1))
	writeFile(t, filepath.Join(dir, "empty"), nil)
	l := openLibrary(t, t.TempDir())
	c := add(t, l, content.AddRequest{Kind: content.KindDriverPackage, Path: dir, Name: "NIC"})
	var names []string
	for _, f := range c.Files {
		names = append(names, f.Name)
		if f.Role != content.RoleFile {
			t.Errorf("%+v", f)
		}
	}
	if strings.Join(names, " ") != "copy.sys empty net/e1000.inf net/e1000.sys" || c.Files[0].Digest != c.Files[3].Digest {
		t.Errorf("%+v", c.Files)
	}
	consistent(t, l)

	setup := t.TempDir()
	writeFile(t, filepath.Join(setup, "Setup.exe"), []byte("MZ"))
	if _, err := l.Add(context.Background(), content.AddRequest{Kind: content.KindOSUpgrade, Path: setup}); !errors.Is(err, content.ErrInvalid) || !strings.Contains(err.Error(), "install.wim") {
		t.Error(err)
	}
	writeFile(t, filepath.Join(setup, "sources", "Install.wim"), readFile(t, image.Capture(t, 100_000, []string{"--check"}, "Windows 11 Pro", "Windows 11 Home")))
	c = add(t, l, content.AddRequest{Kind: content.KindOSUpgrade, Path: setup})
	if c.Name != "Windows 11" || c.Version != "10.0.26100.1742" || c.Arch != "amd64" || len(c.Images) != 2 || len(c.Files) != 2 || !c.Integrity {
		t.Errorf("%+v", c)
	}
	consistent(t, l)
	if err := l.Remove(c.ID); err != nil {
		t.Fatal(err)
	}
	consistent(t, l)
}

func TestUpdate(t *testing.T) {
	l := openLibrary(t, t.TempDir())
	v1 := image.Capture(t, 100_000, nil, "Windows")
	v2 := image.Capture(t, 120_000, nil, "Windows")
	c := add(t, l, content.AddRequest{Kind: content.KindOSImage, Path: v1, Comment: "kept", Distribution: content.Distribution{Multicast: true}})
	open, err := l.OpenObject(c.Files[0].Digest)
	if err != nil {
		t.Fatal(err)
	}
	defer open.Close()
	if _, err := l.Set(c.ID, SetRequest{Name: ptr("Renamed")}); err != nil {
		t.Fatal(err)
	}
	n, err := l.Update(context.Background(), c.ID, content.AddRequest{Path: v2})
	if err != nil {
		t.Fatal(err)
	}
	if n.ID != c.ID || n.Revision != 2 || n.Name != "Renamed" || n.Comment != "kept" || !n.Distribution.Multicast ||
		!n.Created.Equal(c.Created) || n.Files[0].Digest == c.Files[0].Digest {
		t.Errorf("%+v", n)
	}
	consistent(t, l)
	if _, err := open.Stat(); err != nil {
		t.Error(err)
	}
	if _, err := l.Update(context.Background(), c.ID, content.AddRequest{Kind: content.KindBootImage, Path: v2}); !errors.Is(err, content.ErrInvalid) {
		t.Error(err)
	}
	if _, err := l.Update(context.Background(), "absent", content.AddRequest{Path: v2}); !errors.Is(err, content.ErrNotFound) {
		t.Error(err)
	}
	// Removed while the update runs: the update loses and leaves nothing.
	_, err = l.Update(context.Background(), c.ID, content.AddRequest{Path: v1, Progress: func(done, total int64) {
		if done == total {
			if err := l.Remove(c.ID); err != nil && !errors.Is(err, content.ErrNotFound) {
				t.Error(err)
			}
		}
	}})
	if !errors.Is(err, content.ErrNotFound) {
		t.Errorf("have %v", err)
	}
	consistent(t, l)
}
