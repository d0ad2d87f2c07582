package wim

import (
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"strings"
	"testing"
)

func kindOf(t *testing.T, err error, allowed ...error) {
	t.Helper()
	for _, a := range allowed {
		if errors.Is(err, a) {
			return
		}
	}
	t.Errorf("error of no kind: %v", err)
}

// FuzzOpen reads all that a hostile file offers.
func FuzzOpen(f *testing.F) {
	root := smallTree()
	good := imageFile(metadata(root, nil), contents(root)...)
	f.Add(good.bytes(nil))
	good.header.Flags |= flagCompression | flagLZX
	good.header.ChunkSize = 32768
	good.blobs[blobEntrySize+7] |= resourceCompressed
	f.Add(good.bytes(nil))
	good.header.Flags = flagCompression | flagXPRESS
	f.Add(good.bytes(nil))
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := openBytes(b)
		if err != nil {
			kindOf(t, err, ErrNotWIM, ErrTruncated, ErrCorrupt, ErrUnsupported)
			return
		}
		for i := range r.Info().Images {
			tree, err := r.Image(i + 1)
			if err != nil {
				kindOf(t, err, ErrTruncated, ErrCorrupt)
				continue
			}
			readAllOf(t, tree, int64(len(b)))
		}
		if total := r.totalSize(); total < 1<<24 {
			if err := r.VerifyBlobs(context.Background(), 1, nil); err != nil {
				kindOf(t, err, ErrTruncated, ErrCorrupt)
			}
		}
	})
}

// totalSize is what VerifyBlobs would read.
func (r *Reader) totalSize() int64 {
	total := int64(0)
	for _, i := range append(r.byHash, r.images...) {
		total += r.entrySize(i)
	}
	return total
}

// readAllOf walks over a tree, finds every entry again by its path, and reads
// every stream.
func readAllOf(t *testing.T, tree *Tree, limit int64) {
	t.Helper()
	err := tree.Walk(func(path string, e Entry) error {
		found, err := tree.Lookup(path)
		if err != nil || found.offset != e.offset {
			t.Errorf("%q is found at %d, not %d: %v", path, found.offset, e.offset, err)
		}
		if strings.Contains(path, "/../") || strings.HasSuffix(path, "/..") {
			t.Errorf("path %q", path)
		}
		tree.Security(e.SecurityID)
		for _, s := range e.Streams {
			b, err := tree.OpenStream(s)
			if err != nil {
				kindOf(t, err, ErrCorrupt)
				continue
			}
			if b.Size() > 100*limit {
				continue
			}
			if _, err := io.Copy(io.Discard, b.Reader()); err != nil {
				kindOf(t, err, ErrTruncated, ErrCorrupt)
			}
		}
		return nil
	})
	if err != nil {
		kindOf(t, err, ErrCorrupt)
	}
}

// FuzzTree feeds the directory tree alone, which the whole-file fuzzer rarely
// reaches past its hash, and overlays every tree that is good.
func FuzzTree(f *testing.F) {
	root := smallTree()
	f.Add(metadata(root, nil))
	f.Add(metadata(folder("", folder("a", folder("b")), &node{name: "f", streams: []rawStream{{name: []byte{65, 0}}}}), []byte{18, 0, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 0, 0}))
	f.Fuzz(func(t *testing.T, meta []byte) {
		if len(meta) == 0 {
			return
		}
		b := imageFile(meta, contents(root)...).bytes(nil)
		r, err := openBytes(b)
		if err != nil {
			t.Fatal(err)
		}
		tree, err := r.Image(1)
		if err != nil {
			kindOf(t, err, ErrCorrupt)
			return
		}
		readAllOf(t, tree, 1000)
		o := OverlayOptions{Files: []OverlayFile{{Path: "Windows/System32/winload.efi", Data: []byte("new")}, {Path: "x/y/z", Data: []byte("new")}}, Remove: []string{"empty"}}
		checkOverlay(t, b, o)
	})
}

// checkOverlay demands that an overlay fails as documented or is a good WIM
// that has what was asked for.
func checkOverlay(t *testing.T, b []byte, o OverlayOptions) {
	t.Helper()
	c, err := Overlay(bytes.NewReader(b), int64(len(b)), o)
	if err != nil {
		kindOf(t, err, fs.ErrInvalid)
		return
	}
	r, err := Open(c, c.Size())
	if err != nil {
		t.Fatalf("the overlay is no good WIM: %v", err)
	}
	tree, err := r.Image(1)
	if err != nil {
		t.Fatalf("the overlay has no good tree: %v", err)
	}
	for _, f := range o.Files {
		have, err := tree.ReadFile(f.Path, 1<<20)
		if err != nil || !bytes.Equal(have, f.Data) {
			t.Errorf("%q is %d bytes, want %d: %v", f.Path, len(have), len(f.Data), err)
		}
	}
	if err := Verify(context.Background(), c, c.Size(), nil); err != nil && !errors.Is(err, ErrNoIntegrity) {
		t.Error(err)
	}
	old, err := openBytes(b)
	if err != nil {
		t.Fatal(err)
	}
	oldTree, err := old.Image(1)
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range o.Remove {
		was, err := oldTree.Lookup(path)
		if err != nil {
			continue
		}
		is, err := tree.Lookup(path)
		if err == nil && is.Name == was.Name && (is.IsDir() || is.Created.Equal(was.Created)) && !covered(o.Files, path) {
			t.Errorf("%q is still there", path)
		}
	}
}

// covered says whether a removed path may exist again because of a new file.
func covered(files []OverlayFile, path string) bool {
	parts, _ := splitPath(path)
	p := appendName(nil, strings.Join(parts, "/"))
	for _, f := range files {
		parts, _ := splitPath(f.Path)
		if q := appendName(nil, strings.Join(parts, "/")); len(q) >= len(p) && compareFold(q[:len(p)], p) == 0 {
			return true
		}
	}
	return false
}

// FuzzOverlay tries paths.
func FuzzOverlay(f *testing.F) {
	root := smallTree()
	b := imageFile(metadata(root, nil), contents(root)...).bytes(nil)
	f.Add("Windows/System32/new", "windows/system32/WINLOAD.EFI", `\Windows\System32`, []byte("x"))
	f.Add("a", "a/b", "", []byte(""))
	f.Add("../x", "a\x00", "empty", []byte("y"))
	f.Add("empty", "EMPTY", "nothing/..", []byte("y"))
	f.Add("nothing/a/b", "nothing/a/c", "nothing", []byte("y"))
	f.Add("\xed\xa0\x80", "\xff", "Windows/x", []byte("MZ loader"))
	f.Fuzz(func(t *testing.T, one, two, remove string, data []byte) {
		o := OverlayOptions{Files: []OverlayFile{{Path: one, Data: data}, {Path: two, Data: append(data, '2')}}, Remove: []string{remove}}
		checkOverlay(t, b, o)
	})
}

// FuzzSet: two files that are said to be the parts of one WIM.
func FuzzSet(f *testing.F) {
	root := smallTree()
	part := func(number uint16, guid byte) []byte {
		return imageFile(metadata(root, nil), contents(root)...).bytes(func(h *headerDisk) {
			h.Part, h.Parts, h.GUID[0] = number, 2, guid
			h.Flags |= flagSpanned
		})
	}
	f.Add(part(1, 1), part(2, 1))
	f.Add(part(1, 1), part(1, 1))
	f.Add(part(2, 1), part(1, 2))
	f.Add(imageFile(metadata(root, nil), contents(root)...).bytes(nil), []byte("x"))
	f.Fuzz(func(t *testing.T, one, two []byte) {
		parts := []Part{{Name: "one", R: bytes.NewReader(one), Size: int64(len(one))}, {Name: "two", R: bytes.NewReader(two), Size: int64(len(two))}}
		info, err := DescribeSet(parts)
		if err != nil {
			kindOf(t, err, ErrNotWIM, ErrTruncated, ErrCorrupt, ErrUnsupported)
			return
		}
		r, err := OpenSet(parts)
		if err != nil {
			kindOf(t, err, ErrTruncated, ErrCorrupt, ErrUnsupported)
			return
		}
		for i := range info.Images {
			if tree, err := r.Image(i + 1); err == nil {
				readAllOf(t, tree, int64(len(one)+len(two)))
			}
		}
	})
}
