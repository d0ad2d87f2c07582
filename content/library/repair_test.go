package library

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"castpoint/content"
	"castpoint/test/image"
)

// spoil changes a byte of an object, which is read-only for everybody else.
func spoil(t testing.TB, path string, at int64) {
	t.Helper()
	b := readFile(t, path)
	b[at] ^= 1
	if err := os.Remove(path); err != nil { // somebody may have it open
		t.Fatal(err)
	}
	writeFile(t, path, b)
}

// counted counts what is read of originals.
type counted struct {
	Originals
	bytes int64
}

func (c *counted) Open(ctx context.Context, f content.File) (Original, error) {
	o, err := c.Originals.Open(ctx, f)
	if err != nil {
		return nil, err
	}
	return &countedFile{o, c}, nil
}

type countedFile struct {
	Original
	c *counted
}

func (f *countedFile) ReadAt(b []byte, off int64) (int, error) {
	n, err := f.Original.ReadAt(b, off)
	f.c.bytes += int64(n)
	return n, err
}

// Contents of every kind are repaired from where they came from, whatever is
// lost, under their revision, and reading no more than what is damaged.
func TestRepair(t *testing.T) {
	ctx := context.Background()
	media := setupMedia(t)
	iso := image.ISO(t, media, "-udf")
	kernel, initrd := filepath.Join(t.TempDir(), "vmlinuz"), filepath.Join(t.TempDir(), "initrd")
	writeFile(t, kernel, image.Kernel(1))
	writeFile(t, initrd, append([]byte("070701"), make([]byte, 500_000)...))
	for name, req := range map[string]content.AddRequest{
		"image": {Kind: content.KindOSImage, Path: image.Capture(t, 3<<20, nil, "x")}, "image from ISO": {Kind: content.KindOSImage, Path: iso, Index: 1},
		"boot image from ISO": {Kind: content.KindBootImage, Path: iso}, "folder": {Kind: content.KindOSUpgrade, Path: media, Name: "f"},
		"folder from ISO": {Kind: content.KindOSUpgrade, Path: iso, Name: "i"}, "Linux": {Kind: content.KindBootImage, Path: kernel, Initrd: initrd},
	} {
		t.Run(name, func(t *testing.T) {
			l := openLibrary(t, t.TempDir())
			c := add(t, l, req)
			for _, damage := range []struct {
				name   string
				of     func(object, manifest string, f content.File)
				blocks int64 // that are read of the original; -1 for all
			}{
				{"nothing", func(string, string, content.File) {}, 0},
				{"last byte", func(o, _ string, f content.File) { spoil(t, o, f.Size-1) }, 1},
				{"object missing", func(o, _ string, _ content.File) { os.Remove(o) }, -1},
				{"cut", func(o, _ string, f content.File) { b := readFile(t, o); os.Remove(o); writeFile(t, o, b[:f.Size/2]) }, -2},
				{"manifest", func(_, m string, _ content.File) { spoil(t, m, 70) }, 0},
				{"manifest and object", func(o, m string, f content.File) { spoil(t, o, f.Size/2); os.Remove(m) }, -1},
			} {
				var want int64
				for _, f := range c.Objects() {
					if f.Size == 0 {
						continue
					}
					damage.of(objectPath(l, f.Digest), manifestPath(l, f.Digest), f)
					switch damage.blocks {
					case 1:
						want += min(content.BlockSize, f.Size-(content.BlockCount(f.Size)-1)*content.BlockSize)
					case -1:
						want += f.Size
					}
				}
				from, err := OriginalsAt(c, c.Source, c.SourceInitrd)
				if err != nil {
					t.Fatal(err)
				}
				read := &counted{Originals: from}
				v, err := l.Repair(ctx, c.ID, read, nil)
				if err != nil || v.Err() != nil {
					t.Fatalf("%s: %v %v", damage.name, err, v)
				}
				if damage.blocks != -2 && read.bytes != want {
					t.Errorf("%s: %d bytes of the originals were read, want %d", damage.name, read.bytes, want)
				}
				consistent(t, l)
			}
			if now, err := l.Get(c.ID); err != nil || now.Revision != 1 || now.Checked == nil || now.Checked.Problem != "" {
				t.Errorf("%+v %v", now, err)
			}
		})
	}
}

// Files that are not the originals repair nothing and spoil nothing.
func TestRepairRefused(t *testing.T) {
	ctx := context.Background()
	dir := t.TempDir()
	writeFile(t, filepath.Join(dir, "file"), make([]byte, 500_000))
	l := openLibrary(t, t.TempDir())
	c := add(t, l, content.AddRequest{Kind: content.KindPackage, Path: dir, Name: "x"})
	object := objectPath(l, c.Files[0].Digest)
	spoil(t, object, 400_000)
	damaged := readFile(t, object)
	for name, change := range map[string]struct {
		do  func()
		err error
	}{
		"other bytes":  {func() { spoil(t, filepath.Join(dir, "file"), 400_000) }, ErrOther},
		"other length": {func() { writeFile(t, filepath.Join(dir, "file"), make([]byte, 499_999)) }, ErrOther},
		"missing":      {func() { os.Remove(filepath.Join(dir, "file")) }, os.ErrNotExist},
	} {
		writeFile(t, filepath.Join(dir, "file"), make([]byte, 500_000))
		change.do()
		from, err := OriginalsAt(c, dir, "")
		if err != nil {
			t.Fatal(err)
		}
		if _, err := l.Repair(ctx, c.ID, from, nil); !errors.Is(err, change.err) {
			t.Errorf("%s: %v, want %v", name, err, change.err)
		}
		if string(readFile(t, object)) != string(damaged) {
			t.Errorf("%s: the object has changed", name)
		}
		if now, err := l.Get(c.ID); err != nil || now.Checked == nil || now.Checked.Problem == "" {
			t.Errorf("%s: %+v %v", name, now, err)
		}
	}
	// With the manifest lost only the whole can tell.
	os.Remove(manifestPath(l, c.Files[0].Digest))
	writeFile(t, filepath.Join(dir, "file"), append(make([]byte, 499_999), 1))
	from, _ := OriginalsAt(c, dir, "")
	if _, err := l.Repair(ctx, c.ID, from, nil); !errors.Is(err, ErrOther) {
		t.Errorf("%v, want %v", err, ErrOther)
	}
}

// A schedule validates what is due, the oldest first, notes the result, and
// leaves the rest.
func TestSchedule(t *testing.T) {
	ctx := context.Background()
	l := openLibrary(t, t.TempDir())
	dir := t.TempDir()
	writeFile(t, filepath.Join(dir, "file"), make([]byte, 300_000))
	good := add(t, l, content.AddRequest{Kind: content.KindPackage, Path: dir, Name: "good"})
	spoiled := filepath.Join(dir, "file")
	writeFile(t, spoiled, make([]byte, 300_001))
	bad := add(t, l, content.AddRequest{Kind: content.KindPackage, Path: dir, Name: "bad"})
	spoil(t, objectPath(l, bad.Files[0].Digest), 7)
	tried := map[string]time.Time{}
	if err := l.validateDue(ctx, time.Hour, tried); err != nil || len(tried) != 0 {
		t.Errorf("nothing was due: %v %v", tried, err)
	}
	if err := l.validateDue(ctx, time.Nanosecond, map[string]time.Time{good.ID: time.Now().Add(time.Hour), bad.ID: time.Now().Add(time.Hour)}); err != nil {
		t.Error(err)
	}
	if c, _ := l.Get(bad.ID); c.Checked != nil {
		t.Errorf("it was tried already: %+v", c.Checked)
	}
	// Two hours later both are due, once.
	later := time.Now().Add(2 * time.Hour)
	first, err := l.due(later, time.Hour, tried)
	if err != nil || first == nil {
		t.Fatal(first, err)
	}
	for range 2 {
		c, err := l.due(later, time.Hour, tried)
		if err != nil || c == nil {
			t.Fatal(c, err)
		}
		if _, err := l.ValidateIdle(ctx, c.ID); err != nil {
			t.Fatal(err)
		}
		tried[c.ID] = later
	}
	if c, err := l.due(later, time.Hour, tried); err != nil || c != nil {
		t.Errorf("%v is due again: %v", c, err)
	}
	if c, _ := l.Get(good.ID); c.Checked == nil || c.Checked.Problem != "" {
		t.Errorf("good: %+v", c.Checked)
	}
	if c, _ := l.Get(bad.ID); c.Checked == nil || c.Checked.Problem == "" {
		t.Errorf("bad: %+v", c.Checked)
	}
	// And it survives the library's end; a schedule ends with its context.
	dirOf := l.Dir()
	ended, cancel := context.WithCancel(ctx)
	cancel()
	if err := l.Schedule(ended, time.Hour); err != nil {
		t.Error(err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	l = openLibrary(t, dirOf)
	if c, err := l.Get(bad.ID); err != nil || c.Checked == nil || c.Checked.Problem == "" {
		t.Errorf("after opening it again: %+v %v", c, err)
	}
}

// An idle thread has the lowest priorities, and only it has.
func TestIdleThread(t *testing.T) {
	priorities := func() (io, nice int) {
		const whoProcess = 1
		n, _, errno := unix.Syscall(unix.SYS_IOPRIO_GET, whoProcess, 0, 0)
		if errno != 0 {
			t.Fatal(errno)
		}
		p, err := unix.Getpriority(unix.PRIO_PROCESS, unix.Gettid())
		if err != nil {
			t.Fatal(err)
		}
		return int(n) >> 13, 20 - p // the system call gives 20 less the value
	}
	idle := make(chan [2]int)
	go func() {
		idleThread()
		c, n := priorities()
		idle <- [2]int{c, n}
	}()
	if have := <-idle; have != [2]int{3, 19} {
		t.Errorf("class %d, nice %d", have[0], have[1])
	}
	for range 100 {
		normal := make(chan [2]int)
		go func() {
			c, n := priorities()
			normal <- [2]int{c, n}
		}()
		if have := <-normal; have == [2]int{3, 19} {
			t.Fatal("another goroutine is idle, too")
		}
	}
}

var _ io.ReaderAt = (*patched)(nil)
