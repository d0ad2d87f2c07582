package library

import (
	"archive/tar"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"castpoint/content"
	"castpoint/test/image"
)

// exported makes a library with a driver package (several files, two of them the
// same, one empty, one of more than a block) and returns it and its export.
func exported(t testing.TB) (*content.Content, []byte) {
	t.Helper()
	dir := t.TempDir()
	writeFile(t, filepath.Join(dir, "net", "e1000.inf"), []byte("[Version]"))
	writeFile(t, filepath.Join(dir, "net", "same.inf"), []byte("[Version]"))
	writeFile(t, filepath.Join(dir, "net", "e1000.sys"), bytes.Repeat([]byte("x"), content.BlockSize+1000))
	writeFile(t, filepath.Join(dir, "empty"), nil)
	l := openLibrary(t, t.TempDir())
	c := add(t, l, content.AddRequest{Kind: content.KindDriverPackage, Path: dir, Name: "NIC drivers", Comment: "für alle", Distribution: content.Distribution{Multicast: true}})
	var b bytes.Buffer
	var last, total int64
	if err := l.Export(context.Background(), c.ID, &b, func(done, all int64) { last, total = done, all }); err != nil {
		t.Fatal(err)
	}
	if last != total || total != content.BlockSize+1000+9 {
		t.Errorf("progress ended at %d of %d", last, total)
	}
	return c, b.Bytes()
}

func TestExportImport(t *testing.T) {
	c, b := exported(t)
	l := openLibrary(t, t.TempDir())
	var last, total int64
	got, err := l.Import(context.Background(), bytes.NewReader(b), func(done, all int64) { last, total = done, all })
	if err != nil {
		t.Fatal(err)
	}
	if last != total {
		t.Errorf("progress ended at %d of %d", last, total)
	}
	got.Updated = c.Updated
	if got.Source != "" || c.Source == "" {
		t.Errorf("the source was %q and is %q: it is a path of another host", c.Source, got.Source)
	}
	c.Source = ""
	if fmt.Sprint(got) != fmt.Sprint(c) {
		t.Errorf("imported\n%+v, exported\n%+v", got, c)
	}
	consistent(t, l)
	if _, err := l.Import(context.Background(), bytes.NewReader(b), nil); !errors.Is(err, content.ErrExists) {
		t.Errorf("imported twice: %v", err)
	}
	if _, err := l.Set(c.ID, SetRequest{Name: ptr("other")}); err != nil {
		t.Fatal(err)
	}
	if got, err := l.Import(context.Background(), bytes.NewReader(b), nil); err != nil || got.ID != c.ID+"-2" {
		t.Errorf("beside one with its ID: %+v, %v", got, err)
	}
	consistent(t, l)
	if err := l.Export(context.Background(), "absent", io.Discard, nil); !errors.Is(err, content.ErrNotFound) {
		t.Error(err)
	}
}

// TestExportForeign reads an export with tar and sha256sum.
func TestExportForeign(t *testing.T) {
	c, b := exported(t)
	dir := t.TempDir()
	cmd := exec.Command("tar", "-x", "-C", dir)
	cmd.Stdin = bytes.NewReader(b)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("tar: %v: install tar\n%s", err, out)
	}
	for _, f := range c.Files {
		out, err := exec.Command("sha256sum", filepath.Join(dir, "objects", f.Digest.String())).Output()
		if err != nil || strings.Fields(string(out))[0] != f.Digest.String() {
			t.Errorf("%s: %s, %v", f.Name, out, err)
		}
	}
	var have contentFile
	if err := json.Unmarshal(readFile(t, filepath.Join(dir, exportContent)), &have); err != nil || have.ID != c.ID {
		t.Errorf("%+v, %v", have, err)
	}
}

// TestImportCut cuts an export at many places.
func TestImportCut(t *testing.T) {
	_, b := exported(t)
	l := openLibrary(t, t.TempDir())
	end := len(b) - 1024 // two empty records end a tar archive and may be missing
	for cut := 0; cut < end-600; cut += 1 + len(b)/150 {
		if _, err := l.Import(context.Background(), bytes.NewReader(b[:cut]), nil); !errors.Is(err, ErrExport) {
			t.Fatalf("cut at %d of %d: %v", cut, len(b), err)
		}
	}
	consistent(t, l)
	if list, _ := l.List(); len(list) != 0 {
		t.Errorf("%v", list)
	}
}

// repack changes the entries of an export.
func repack(t testing.TB, b []byte, change func(i int, h *tar.Header, data []byte) []byte) []byte {
	t.Helper()
	var out bytes.Buffer
	w := tar.NewWriter(&out)
	r := tar.NewReader(bytes.NewReader(b))
	for i := 0; ; i++ {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		data, rerr := io.ReadAll(r)
		if err != nil || rerr != nil {
			t.Fatal(err, rerr)
		}
		data = change(i, h, data)
		if h.Name == "" {
			continue
		}
		h.Size = int64(len(data))
		if h.Typeflag != tar.TypeReg {
			h.Size, data = 0, nil
		}
		if err := w.WriteHeader(h); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write(data); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// TestImportAttacks imports exports that were made to do harm. Entry 0 is the
// content, then come manifest and object in turn: empty (1, 2), e1000.inf
// (3, 4), e1000.sys (5, 6).
func TestImportAttacks(t *testing.T) {
	_, good := exported(t)
	edit := func(old, replacement string) func(int, *tar.Header, []byte) []byte {
		return func(i int, _ *tar.Header, b []byte) []byte {
			if i != 0 {
				return b
			}
			n := strings.Replace(string(b), old, replacement, 1)
			if n == string(b) {
				t.Errorf("%q is not in the content file", old)
			}
			return []byte(n)
		}
	}
	on := func(entry int, change func(h *tar.Header, b []byte) []byte) func(int, *tar.Header, []byte) []byte {
		return func(i int, h *tar.Header, b []byte) []byte {
			if i == entry {
				return change(h, b)
			}
			return b
		}
	}
	for name, c := range map[string]struct {
		change func(int, *tar.Header, []byte) []byte
		Text   string
	}{
		"path out of the folder": {edit("net/e1000.inf", "../../etc/cron.d/x"), "does not stay"},
		"absolute path":          {edit("net/e1000.inf", "/etc/passwd"), "does not stay"},
		"Windows path":           {edit("net/e1000.inf", `c:\\x`), "Windows"},
		"device of Windows":      {edit("net/e1000.inf", "net/nul.inf"), "device name"},
		"another device":         {edit("net/e1000.inf", "LPT9 /x"), "ends with a dot or space"},
		"a port":                 {edit("net/e1000.inf", "com7.tar/x"), "device name"},
		"same name twice":        {edit("net/same.inf", "NET/E1000.inf"), "occurs twice"},
		"negative size":          {edit(`"size": 9`, `"size": -9`), "size"},
		"huge size":              {edit(`"size": 9`, `"size": 9000000000000000000`), "size"},
		"other size":             {edit(`"size": 9`, `"size": 10`), "two sizes"},
		"unknown role":           {edit(`"role": "file"`, `"role": "x"`), "role"},
		"unknown kind":           {edit(`driver-package`, `virus`), "kind"},
		"bad name":               {edit(`NIC drivers`, `\u001b[31m`), "printable"},
		"other format":           {edit(`"format": 1`, `"format": 7`), "format 7"},
		"no files":               {on(0, func(*tar.Header, []byte) []byte { return []byte(`{"format":1,"kind":"package","name":"x"}`) }), "0 files"},
		"not JSON":               {on(0, func(*tar.Header, []byte) []byte { return []byte("{") }), "JSON"},
		"content missing":        {on(0, func(h *tar.Header, b []byte) []byte { h.Name = ""; return b }), "does not begin"},
		"manifest missing":       {on(3, func(h *tar.Header, b []byte) []byte { h.Name = ""; return b }), "unexpected entry"},
		"object missing":         {on(4, func(h *tar.Header, b []byte) []byte { h.Name = ""; return b }), "unexpected entry"},
		"last object missing":    {on(6, func(h *tar.Header, b []byte) []byte { h.Name = ""; return b }), "ends before"},
		"object changed":         {on(6, func(_ *tar.Header, b []byte) []byte { b[content.BlockSize+1] ^= 1; return b }), "not those of its name"},
		"object shorter":         {on(6, func(_ *tar.Header, b []byte) []byte { return b[1:] }), "follows the manifest"},
		"object longer":          {on(6, func(_ *tar.Header, b []byte) []byte { return append(b, 0) }), "follows the manifest"},
		"object is a link": {on(6, func(h *tar.Header, b []byte) []byte {
			h.Typeflag, h.Linkname = tar.TypeSymlink, "/etc/shadow"
			return b
		}), "unexpected entry"},
		"object is a folder":  {on(6, func(h *tar.Header, b []byte) []byte { h.Typeflag = tar.TypeDir; return b }), "unexpected entry"},
		"object elsewhere":    {on(6, func(h *tar.Header, b []byte) []byte { h.Name = "objects/../" + h.Name; return b }), "unexpected entry"},
		"manifest changed":    {on(5, func(_ *tar.Header, b []byte) []byte { b[0x40] ^= 1; return b }), "not the manifest"},
		"manifest of another": {on(5, func(*tar.Header, []byte) []byte { b, _ := manifestOf(t, []byte("y")).MarshalBinary(); return b }), "not the manifest"},
		"manifest endless":    {on(5, func(_ *tar.Header, b []byte) []byte { return append(b, make([]byte, 10<<20)...) }), "not the manifest"},
		"manifest lies about blocks": {on(5, func(_ *tar.Header, b []byte) []byte {
			var m content.Manifest
			if err := m.UnmarshalBinary(b); err != nil {
				t.Fatal(err)
			}
			m.Hashes[0] ^= 1
			b, _ = m.MarshalBinary()
			return b
		}), "not those of its name"},
		"same object twice": {on(5, func(h *tar.Header, b []byte) []byte {
			h.Name = "manifests/" + fmt.Sprintf("%x", [32]byte{0xe3}) // not of the content
			return b
		}), "not an object of the content"},
	} {
		t.Run(name, func(t *testing.T) {
			l := openLibrary(t, t.TempDir())
			_, err := l.Import(context.Background(), bytes.NewReader(repack(t, good, c.change)), nil)
			if !errors.Is(err, ErrExport) || !strings.Contains(err.Error(), c.Text) {
				t.Errorf("have %v, want %q", err, c.Text)
			}
			nothingPromised(t, l)
			consistent(t, l)
		})
	}
	t.Run("bad ID", func(t *testing.T) {
		l := openLibrary(t, t.TempDir())
		b := repack(t, good, edit(`"id": "nic-drivers"`, `"id": "../../x"`))
		if c, err := l.Import(context.Background(), bytes.NewReader(b), nil); err != nil || c.ID != "nic-drivers" {
			t.Errorf("%+v, %v", c, err)
		}
		consistent(t, l)
	})
	t.Run("no space", func(t *testing.T) {
		l := openLibrary(t, t.TempDir())
		l.faults.Free = func(string) (int64, error) { return 1000, nil }
		if _, err := l.Import(context.Background(), bytes.NewReader(good), nil); !errors.Is(err, content.ErrNoSpace) {
			t.Error(err)
		}
		consistent(t, l)
	})
	t.Run("canceled", func(t *testing.T) {
		l := openLibrary(t, t.TempDir())
		ctx, cancel := context.WithCancel(context.Background())
		_, err := l.Import(ctx, bytes.NewReader(good), func(done, _ int64) {
			if done > 0 {
				cancel()
			}
		})
		if !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
		consistent(t, l)
	})
}

// TestExportDamaged demands that damage does not travel.
func TestExportDamaged(t *testing.T) {
	l := openLibrary(t, t.TempDir())
	c := add(t, l, content.AddRequest{Kind: content.KindOSImage, Path: image.Capture(t, 1000, nil, "x")})
	path := objectPath(l, c.Files[0].Digest)
	b := readFile(t, path)
	b[len(b)/2] ^= 1
	if err := os.Chmod(path, 0o644); err != nil {
		t.Fatal(err)
	}
	writeFile(t, path, b)
	if err := l.Export(context.Background(), "x", io.Discard, nil); !errors.Is(err, content.ErrDamaged) {
		t.Errorf("damaged: %v", err)
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if err := l.Export(context.Background(), "x", io.Discard, nil); !errors.Is(err, content.ErrDamaged) {
		t.Errorf("missing: %v", err)
	}
}

// FuzzImport demands that whatever is imported leaves the library consistent.
func FuzzImport(f *testing.F) {
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	m := manifestOf(f, []byte("castpoint"))
	raw, _ := m.MarshalBinary()
	c, _ := json.Marshal(contentFile{Format: contentFormat, Content: content.Content{ID: "x", Kind: content.KindPackage, Name: "X",
		Files: []content.File{{Role: content.RoleFile, Name: "a", Size: 9, Digest: m.Digest}}}})
	_ = writeEntry(w, exportContent, time.Unix(0, 0), c)
	_ = writeEntry(w, "manifests/"+m.Digest.String(), time.Unix(0, 0), raw)
	_ = writeEntry(w, "objects/"+m.Digest.String(), time.Unix(0, 0), []byte("castpoint"))
	_ = w.Close()
	f.Add(b.Bytes())
	f.Add(b.Bytes()[:1024])
	l := openLibrary(f, f.TempDir())
	f.Fuzz(func(t *testing.T, b []byte) {
		c, err := l.Import(context.Background(), bytes.NewReader(b), nil)
		if err == nil {
			if err := l.Remove(c.ID); err != nil {
				t.Error(err)
			}
		}
		consistent(t, l)
	})
}
