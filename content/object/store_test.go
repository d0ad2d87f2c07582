package object

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"castpoint/content"
	"castpoint/content/inspect"
)

// openStore opens a store and removes what was left in it, but no object.
func openStore(t *testing.T, dir string, o Options) *Store {
	t.Helper()
	s, err := Open(dir, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	if err := s.Recover(References{}); err != nil {
		t.Fatal(err)
	}
	return s
}

func writeFile(t *testing.T, path string, data []byte) {
	t.Helper()
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
}

func readFile(t *testing.T, path string) []byte {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// references are those of files and no others.
func references(files []content.File) References {
	r := References{Objects: map[content.Digest]bool{}, Complete: true}
	for _, f := range files {
		r.Objects[f.Digest] = true
	}
	return r
}

// addFolder makes objects of the files of a folder, or leaves none.
func addFolder(ctx context.Context, s *Store, folder string, report func(done, total int64)) (files []content.File, err error) {
	sources, err := inspect.Folder(ctx, folder, &content.Content{Kind: content.KindPackage})
	if err != nil {
		return nil, err
	}
	a := s.NewAddition(sources, false, report)
	defer func() { s.Settle(a.End(), references(files)) }()
	for _, source := range sources {
		m, _, err := a.Take(ctx, source)
		if err != nil {
			return nil, err
		}
		files = append(files, content.File{Name: source.Name, Size: m.Size, Digest: m.Digest})
	}
	if _, err := a.Place(); err != nil {
		return nil, err
	}
	return files, nil
}

func add(t *testing.T, s *Store, folder string) []content.File {
	t.Helper()
	files, err := addFolder(context.Background(), s, folder, nil)
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// consistent demands that a store has the objects of the files and nothing else, but
// for unfinished copies, and that nothing is pinned or promised.
func consistent(t *testing.T, s *Store, files []content.File) {
	t.Helper()
	want := map[string]bool{filepath.Join(s.dir, fileLock): true}
	for _, f := range files {
		want[s.objectPath(f.Digest)], want[s.manifestPath(f.Digest)] = true, true
		m, err := s.Manifest(f.Digest)
		if err != nil || m.Size != f.Size {
			t.Error(m, err)
		}
		o, err := s.Open(f.Digest)
		if err != nil {
			t.Error(err)
			continue
		}
		have, err := Hash(context.Background(), o, f.Size, Pass{Advance: func(int64) error { return nil }})
		o.Close()
		if err != nil || have.Digest != f.Digest || !bytes.Equal(have.Hashes, m.Hashes) {
			t.Errorf("object %s: %v", f.Digest, err)
		}
	}
	err := filepath.WalkDir(s.dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		if !want[path] && !strings.HasPrefix(e.Name(), prefixCopy) {
			t.Errorf("left over: %s", path)
		}
		delete(want, path)
		return nil
	})
	if err != nil || len(want) > 0 {
		t.Errorf("missing: %v, %v", want, err)
	}
	if len(s.pins) > 0 || s.space.promised != 0 {
		t.Errorf("pins %v, promised %d", s.pins, s.space.promised)
	}
}

// An object stays while an addition has it, and goes when nothing refers to it.
func TestSettle(t *testing.T) {
	s := openStore(t, t.TempDir(), Options{Reserve: -1})
	a, err := s.Reserve(9, nil)
	if err != nil {
		t.Fatal(err)
	}
	var d content.Digest
	err = a.Put(context.Background(), strings.NewReader("castpoint"), 9, func(m *content.Manifest) error {
		d = m.Digest
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	s.Settle([]content.Digest{d}, references(nil))
	if g, err := s.Collect(context.Background(), nil); err != nil || g != (Garbage{}) {
		t.Errorf("collected %+v, %v", g, err)
	}
	if size, err := s.Size(d); err != nil || size != 9 {
		t.Fatalf("an object of an unfinished addition is gone: %v", err)
	}
	files := []content.File{{Size: 9, Digest: d}}
	s.Settle(a.End(), references(files))
	consistent(t, s, files)
	s.Settle([]content.Digest{d}, References{})
	consistent(t, s, files)
	s.Settle([]content.Digest{d}, references(nil))
	consistent(t, s, nil)
	if _, err := s.Open(d); !errors.Is(err, content.ErrNotFound) {
		t.Error(err)
	}
}

// What is refused, ends early or does not fit leaves nothing.
func TestPutRefused(t *testing.T) {
	refused := errors.New("refused")
	faults := &Faults{}
	s := openStore(t, t.TempDir(), Options{Reserve: -1, Faults: faults})
	for name, tt := range map[string]struct {
		size   int64
		accept error
		want   error
	}{
		"refused": {9, refused, refused},
		"short":   {10, nil, ErrSource},
		"long":    {8, nil, ErrSource},
	} {
		a, err := s.Reserve(tt.size, nil)
		if err != nil {
			t.Fatal(err)
		}
		err = a.Put(context.Background(), strings.NewReader("castpoint"), tt.size, func(*content.Manifest) error { return tt.accept })
		if !errors.Is(err, tt.want) {
			t.Errorf("%s: %v", name, err)
		}
		if made := a.End(); len(made) > 0 {
			t.Errorf("%s: made %v", name, made)
		}
		consistent(t, s, nil)
	}
	faults.Free = func(string) (int64, error) { return 100, nil }
	if _, err := s.Reserve(101, nil); !errors.Is(err, content.ErrNoSpace) {
		t.Error(err)
	}
	consistent(t, s, nil)
}

// After a crash the objects of an addition go, unless something refers to them or
// that is not known.
func TestRecover(t *testing.T) {
	folder := t.TempDir()
	writeFile(t, filepath.Join(folder, "file"), []byte("castpoint"))
	for name, refs := range map[string]func([]content.File) References{
		"nothing": func([]content.File) References { return references(nil) },
		"unknown": func([]content.File) References { return References{} },
		"all":     references,
	} {
		dir := t.TempDir()
		s := openStore(t, dir, Options{Reserve: -1})
		files := add(t, s, folder)
		if err := errors.Join(s.MarkPending(files[0].Digest), s.Close()); err != nil {
			t.Fatal(err)
		}
		writeFile(t, filepath.Join(dir, dirTmp, "add-123"), []byte("half"))
		s, err := Open(dir, Options{Reserve: -1})
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Recover(refs(files)); err != nil {
			t.Fatal(err)
		}
		_, err = os.Stat(s.pendingPath(files[0].Digest))
		if pending := err == nil; pending != (name == "unknown") {
			t.Errorf("%s: marked as pending: %t", name, pending)
		}
		s.Settle([]content.Digest{files[0].Digest}, refs(files)) // once more changes nothing
		switch name {
		case "nothing":
			consistent(t, s, nil)
		case "all":
			consistent(t, s, files)
		default:
			if _, err := s.Size(files[0].Digest); err != nil {
				t.Error(err)
			}
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
}
