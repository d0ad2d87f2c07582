package library

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"castpoint/content"
	"castpoint/test/image"
)

// mountImage makes a file system of its own in a file. It needs root, and a
// kernel that has the file system; ok is false without.
func mountImage(t *testing.T, kind string) (dir string, ok bool) {
	t.Helper()
	if os.Geteuid() != 0 {
		return "", false
	}
	image, dir := filepath.Join(t.TempDir(), "image"), t.TempDir()
	if err := errors.Join(os.WriteFile(image, nil, 0o600), os.Truncate(image, 512<<20)); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("mkfs."+kind, image).CombinedOutput(); err != nil {
		t.Fatalf("mkfs.%s: %v\n%s", kind, err, out)
	}
	if out, err := exec.Command("mount", "-o", "loop", image, dir).CombinedOutput(); err != nil {
		t.Logf("mount %s: %v\n%s", kind, err, out)
		return "", false
	}
	t.Cleanup(func() {
		if out, err := exec.Command("umount", dir).CombinedOutput(); err != nil {
			t.Errorf("umount: %v\n%s", err, out)
		}
	})
	return dir, true
}

// used is what is taken of a file system.
func used(t *testing.T, dir string) int64 {
	t.Helper()
	unix.Sync()
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		t.Fatal(err)
	}
	return int64(st.Blocks-st.Bfree) * st.Bsize
}

// free is what an ordinary user may still write to a file system.
func free(t *testing.T, dir string) int64 {
	t.Helper()
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		t.Fatal(err)
	}
	return int64(st.Bavail) * st.Bsize
}

// On file systems that can, an object is a clone of its source: it takes no
// room, and what happens to the source later does not reach it.
func TestReflink(t *testing.T) {
	for _, kind := range []string{"btrfs", "xfs"} {
		t.Run(kind, func(t *testing.T) {
			dir, ok := mountImage(t, kind)
			if !ok {
				t.Skip("no root, or no such file system in this kernel")
			}
			const size = 50 << 20
			source := filepath.Join(dir, "install.wim")
			writeFile(t, source, readFile(t, image.Capture(t, size, []string{"--check", "--compress=none"}, "x")))
			before := used(t, dir)
			// The reserve leaves no room for a copy.
			l, err := OpenOptions(filepath.Join(dir, "library"), Options{Reserve: free(t, dir) - size/2})
			if err != nil {
				t.Fatal(err)
			}
			defer l.Close()
			c := add(t, l, content.AddRequest{Kind: content.KindOSImage, Path: source})
			if more := used(t, dir) - before; more > size/4 {
				t.Errorf("%d bytes more are used for an image of %d", more, size)
			}
			f, err := os.OpenFile(source, os.O_WRONLY, 0)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := f.WriteAt(make([]byte, 1<<20), 1<<20); err != nil {
				t.Fatal(err)
			}
			f.Close()
			if v, err := l.Validate(context.Background(), c.ID, nil); err != nil || v.Err() != nil {
				t.Errorf("the source reaches the object: %v %v", err, v.Err())
			}
			consistent(t, l)
		})
	}
}

// The holes of a sparse source stay holes in the copy.
func TestSparse(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "disk.img")
	writeFile(t, file, []byte("begin"))
	const size = 256 << 20
	f, err := os.OpenFile(file, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.WriteAt([]byte("middle"), size/2); err != nil {
		t.Fatal(err)
	}
	if err := f.Truncate(size); err != nil {
		t.Fatal(err)
	}
	// A reserve that leaves room for the bytes, not for the holes.
	folder := t.TempDir()
	l, err := OpenOptions(folder, Options{Reserve: max(-1, free(t, folder)-size/2)})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	l.faults.Clone = func(_, _ *os.File) (bool, error) { return false, nil }
	c := add(t, l, content.AddRequest{Kind: content.KindPackage, Path: dir, Name: "sparse"})
	var st unix.Stat_t
	if err := unix.Stat(objectPath(l, c.Files[0].Digest), &st); err != nil {
		t.Fatal(err)
	}
	if st.Size != size || st.Blocks*512 > 4<<20 {
		t.Errorf("%d bytes, of which %d are on the disk", st.Size, st.Blocks*512)
	}
	consistent(t, l)
}

// A hard link takes no room and may be added again; a file that cannot be linked
// is copied.
func TestHardLink(t *testing.T) {
	l := openLibrary(t, t.TempDir())
	l.faults.Clone = func(_, _ *os.File) (bool, error) { return false, nil }
	file := image.Capture(t, 3<<20, []string{"--check"}, "x")
	req := content.AddRequest{Kind: content.KindOSImage, Path: file, HardLink: true}
	c := add(t, l, req)
	source, err := os.Stat(file)
	if err != nil {
		t.Fatal(err)
	}
	object, err := os.Stat(objectPath(l, c.Files[0].Digest))
	if err != nil || !os.SameFile(source, object) || source.Mode().Perm() != 0o444 {
		t.Errorf("%v %v %v", source.Mode(), object, err)
	}
	if !c.Integrity {
		t.Error("its integrity was not checked")
	}
	if _, err := l.Update(context.Background(), c.ID, req); err != nil {
		t.Error(err)
	}
	consistent(t, l)
	if err := l.Remove(c.ID); err != nil {
		t.Fatal(err)
	}
	if b := readFile(t, file); int64(len(b)) != source.Size() {
		t.Errorf("the source has %d bytes, had %d", len(b), source.Size())
	}
	consistent(t, l)
	other, ok := mountImage(t, "xfs")
	if !ok {
		t.Skip("no other file system to be had")
	}
	elsewhere := filepath.Join(other, "other.wim")
	writeFile(t, elsewhere, readFile(t, file))
	c = add(t, l, content.AddRequest{Kind: content.KindOSImage, Path: elsewhere, HardLink: true})
	if object, err := os.Stat(objectPath(l, c.Files[0].Digest)); err != nil || object.Size() != source.Size() {
		t.Error(object, err)
	}
	consistent(t, l)
}
