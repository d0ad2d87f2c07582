package overlay

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"strings"
	"testing"

	"castpoint/content/wim"
	"castpoint/content/wim/format"
	"castpoint/content/wim/integrity"
	"castpoint/content/wim/metadata"
	"castpoint/test/wimfile"
)

// checkOverlay demands that an overlay fails as documented or is a good WIM
// that has what was asked for.
func checkOverlay(t *testing.T, b []byte, o Options) {
	t.Helper()
	c, err := New(bytes.NewReader(b), int64(len(b)), o)
	if err != nil {
		wimfile.KindOf(t, err, fs.ErrInvalid)
		return
	}
	r, err := wim.Open(c, c.Size())
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
	if err := integrity.Verify(context.Background(), c, c.Size(), nil); err != nil && !errors.Is(err, integrity.ErrNoIntegrity) {
		t.Error(err)
	}
	old, err := wimfile.OpenBytes(b)
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
func covered(files []File, path string) bool {
	parts, _ := metadata.SplitPath(path)
	p := metadata.AppendName(nil, strings.Join(parts, "/"))
	for _, f := range files {
		parts, _ := metadata.SplitPath(f.Path)
		if q := metadata.AppendName(nil, strings.Join(parts, "/")); len(q) >= len(p) && metadata.CompareFold(q[:len(p)], p) == 0 {
			return true
		}
	}
	return false
}

// FuzzOverlay tries paths.
func FuzzOverlay(f *testing.F) {
	root := wimfile.SmallTree()
	b := wimfile.NewImage(wimfile.Metadata(root, nil), wimfile.Contents(root)...).Bytes(nil)
	f.Add("Windows/System32/new", "windows/system32/WINLOAD.EFI", `\Windows\System32`, []byte("x"))
	f.Add("a", "a/b", "", []byte(""))
	f.Add("../x", "a\x00", "empty", []byte("y"))
	f.Add("empty", "EMPTY", "nothing/..", []byte("y"))
	f.Add("nothing/a/b", "nothing/a/c", "nothing", []byte("y"))
	f.Add("\xed\xa0\x80", "\xff", "Windows/x", []byte("MZ loader"))
	f.Fuzz(func(t *testing.T, one, two, remove string, data []byte) {
		o := Options{Files: []File{{Path: one, Data: data}, {Path: two, Data: append(data, '2')}}, Remove: []string{remove}}
		checkOverlay(t, b, o)
	})
}

// FuzzOverlayTree overlays every directory tree that is good.
func FuzzOverlayTree(f *testing.F) {
	root := wimfile.SmallTree()
	f.Add(wimfile.Metadata(root, nil))
	f.Fuzz(func(t *testing.T, meta []byte) {
		if len(meta) == 0 {
			return
		}
		b := wimfile.NewImage(meta, wimfile.Contents(root)...).Bytes(nil)
		r, err := wimfile.OpenBytes(b)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := r.Image(1); err != nil {
			wimfile.KindOf(t, err, format.ErrCorrupt)
			return
		}
		o := Options{Files: []File{{Path: "Windows/System32/winload.efi", Data: []byte("new")}, {Path: "x/y/z", Data: []byte("new")}}, Remove: []string{"empty"}}
		checkOverlay(t, b, o)
	})
}
