package object

import (
	"bytes"
	"context"
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"castpoint/content"
	"castpoint/content/inspect"
)

// largeFile makes a file that is copied with a journal.
func largeFile(t *testing.T, dir, name string, size int, seed byte) string {
	t.Helper()
	b := make([]byte, size)
	_, _ = rand.NewChaCha8([32]byte{seed}).Read(b)
	path := filepath.Join(dir, name)
	writeFile(t, path, b)
	return path
}

// copies lists the unfinished copies of a store.
func copies(t *testing.T, s *Store) (paths []string) {
	t.Helper()
	paths, err := filepath.Glob(filepath.Join(s.dir, dirTmp, prefixCopy+"*"))
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for _, p := range paths {
		if !strings.HasSuffix(p, suffixJournal) {
			all = append(all, p)
		}
	}
	return all
}

var errUnplugged = errors.New("unplugged")

// interrupt adds a folder and ends ctx when it has copied so many bytes.
func interrupt(t *testing.T, s *Store, folder string, after int64) {
	t.Helper()
	ctx, cancel := context.WithCancelCause(context.Background())
	defer cancel(nil)
	_, err := addFolder(ctx, s, folder, func(done, _ int64) {
		if done >= after {
			cancel(errUnplugged)
		}
	})
	if !errors.Is(err, errUnplugged) || !strings.Contains(err.Error(), "kept: the same command goes on from there") {
		t.Fatalf("interrupted: %v", err)
	}
}

// alter changes one byte of a file and leaves its time as it was.
func alter(t *testing.T, path string, at int64) {
	t.Helper()
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var b [1]byte
	if _, err := f.ReadAt(b[:], at); err != nil {
		t.Fatal(err)
	}
	b[0] ^= 0xff
	if _, err := f.WriteAt(b[:], at); err != nil {
		t.Fatal(err)
	}
	if err := os.Chtimes(path, info.ModTime(), info.ModTime()); err != nil {
		t.Fatal(err)
	}
}

// TestResume demands that an interrupted addition goes on from the copy it has
// left, as far as that has the hashes of its journal, and not one block further.
// The first byte of the source is changed meanwhile, behind the back of its
// time: which of the two is in the object says where it came from.
func TestResume(t *testing.T) {
	const size = 12<<20 + 12345
	for _, tt := range []struct {
		name   string
		damage func(t *testing.T, copied string)
		uses   bool // the first block of the copy
	}{
		{"whole", func(*testing.T, string) {}, true},
		{"second block damaged", func(t *testing.T, copied string) { alter(t, copied, content.BlockSize+1) }, true},
		{"first block damaged", func(t *testing.T, copied string) { alter(t, copied, 1) }, false},
		{"copy cut", func(t *testing.T, copied string) {
			if err := os.Truncate(copied, 3*content.BlockSize+5); err != nil {
				t.Fatal(err)
			}
		}, true},
		{"copy too long", func(t *testing.T, copied string) {
			if err := os.Truncate(copied, size+1); err != nil {
				t.Fatal(err)
			}
		}, false},
		{"journal torn", func(t *testing.T, copied string) {
			if err := os.Truncate(copied+suffixJournal, journalHeader+3*content.HashSize+7); err != nil {
				t.Fatal(err)
			}
		}, true},
		{"journal damaged", func(t *testing.T, copied string) { alter(t, copied+suffixJournal, journalHeader) }, false},
		{"journal of another source", func(t *testing.T, copied string) { alter(t, copied+suffixJournal, journalHeader-1) }, false},
		{"journal gone", func(t *testing.T, copied string) {
			if err := os.Remove(copied + suffixJournal); err != nil {
				t.Fatal(err)
			}
		}, false},
		{"old", func(t *testing.T, copied string) {
			long := time.Now().Add(-2 * keepCopies)
			if err := os.Chtimes(copied+suffixJournal, long, long); err != nil {
				t.Fatal(err)
			}
		}, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			folder, dir := t.TempDir(), t.TempDir()
			file := largeFile(t, folder, "data.bin", size, 1)
			want := readFile(t, file)
			s := openStore(t, dir, Options{Reserve: -1})
			interrupt(t, s, folder, size/2)
			left := copies(t, s)
			if len(left) != 1 {
				t.Fatalf("copies: %v", left)
			}
			consistent(t, s, nil)
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			tt.damage(t, left[0])
			alter(t, file, 0)
			if !tt.uses {
				want[0] ^= 0xff
			}
			s = openStore(t, dir, Options{Reserve: -1})
			files := add(t, s, folder)
			if have := readFile(t, s.objectPath(files[0].Digest)); !bytes.Equal(have, want) {
				t.Error("other bytes")
			}
			consistent(t, s, files)
			if left := copies(t, s); len(left) > 0 {
				t.Errorf("left over: %v", left)
			}
		})
	}
}

// TestResumeFolder demands that the files which were complete are not copied
// again either, and that one which has changed is.
func TestResumeFolder(t *testing.T) {
	folder := t.TempDir()
	for i, name := range []string{"a", "b", "c"} {
		largeFile(t, folder, name, journalFrom+i, byte(i))
	}
	writeFile(t, filepath.Join(folder, "small"), []byte("small"))
	s := openStore(t, t.TempDir(), Options{Reserve: -1})
	interrupt(t, s, folder, 2*journalFrom+journalFrom/2)
	if left := copies(t, s); len(left) != 3 {
		t.Fatalf("copies: %v", left)
	}
	largeFile(t, folder, "b", journalFrom+1, 9)
	later := time.Now().Add(time.Hour)
	if err := os.Chtimes(filepath.Join(folder, "b"), later, later); err != nil {
		t.Fatal(err)
	}
	files := add(t, s, folder)
	for _, f := range files {
		if !bytes.Equal(readFile(t, s.objectPath(f.Digest)), readFile(t, filepath.Join(folder, f.Name))) {
			t.Errorf("%s has other bytes", f.Name)
		}
	}
	if left := copies(t, s); len(left) != 1 {
		t.Errorf("left over, but for the copy of the b that was: %v", left)
	}
	g, err := s.Collect(context.Background(), references(files).Objects)
	if err != nil || g.Objects != 1 || g.Bytes < journalFrom {
		t.Errorf("collected %+v, %v", g, err)
	}
	if left := copies(t, s); len(left) > 0 {
		t.Errorf("left over: %v", left)
	}
	consistent(t, s, files)
}

// TestSparseResume demands that holes stay zeros where an earlier copy has
// something else.
func TestSparseResume(t *testing.T) {
	folder := t.TempDir()
	path := filepath.Join(folder, "disk")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	const size = 64 << 20
	if err := f.Truncate(size); err != nil {
		t.Fatal(err)
	}
	for at := int64(0); at < size; at += 16 << 20 {
		if _, err := f.WriteAt([]byte("some bytes"), at); err != nil {
			t.Fatal(err)
		}
	}
	s := openStore(t, t.TempDir(), Options{Reserve: -1})
	interrupt(t, s, folder, size/2)
	left := copies(t, s)
	if len(left) != 1 {
		t.Fatalf("copies: %v", left)
	}
	for at := int64(0); at < size; at += 3 << 20 {
		alter(t, left[0], at)
	}
	files := add(t, s, folder)
	info, err := os.Stat(s.objectPath(files[0].Digest))
	if err != nil || inspect.DiskBytes(info) > size/4 {
		t.Errorf("the object takes %d bytes on the disk, %v", inspect.DiskBytes(info), err)
	}
	if !bytes.Equal(readFile(t, s.objectPath(files[0].Digest)), readFile(t, path)) {
		t.Error("other bytes")
	}
	consistent(t, s, files)
}

// TestSameSourceTwice demands that two additions of one file at the same time
// do not write the same copy.
func TestSameSourceTwice(t *testing.T) {
	folder := t.TempDir()
	largeFile(t, folder, "data", journalFrom, 1)
	s := openStore(t, t.TempDir(), Options{Reserve: -1})
	inner := false
	files, err := addFolder(context.Background(), s, folder, func(done, _ int64) {
		if done > 0 && !inner {
			inner = true
			add(t, s, folder)
		}
	})
	if err != nil || !inner {
		t.Fatal(err)
	}
	consistent(t, s, files)
	if left := copies(t, s); len(left) > 0 {
		t.Errorf("left over: %v", left)
	}
}

// TestCopiesWhileTheClockIsSet: an unfinished copy does not go for its age by a clock that
// was just set.
func TestCopiesWhileTheClockIsSet(t *testing.T) {
	folder, dir := t.TempDir(), t.TempDir()
	const size = 64 * content.BlockSize
	largeFile(t, folder, "data.bin", size, 1)
	s := openStore(t, dir, Options{Reserve: -1})
	interrupt(t, s, folder, size/2)
	left := copies(t, s)
	if err := s.Close(); err != nil || len(left) != 1 {
		t.Fatal(left, err)
	}
	long := time.Now().Add(-400 * 24 * time.Hour) // the clock is ahead by that
	if err := os.Chtimes(left[0]+suffixJournal, long, long); err != nil {
		t.Fatal(err)
	}
	for _, steady := range []bool{false, true} {
		s := openStore(t, dir, Options{Reserve: -1, Steady: func() bool { return steady }})
		if have := len(copies(t, s)) == 1; have == steady {
			t.Errorf("steady %t: the copy is there: %t", steady, have)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
}
