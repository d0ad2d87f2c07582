package upload

import (
	"archive/tar"
	"bytes"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"
)

// FuzzUnpack: whatever archive is sent, what is kept of it are files and folders below a
// folder of its own, no larger than the archive, and nothing once the upload has ended.
func FuzzUnpack(f *testing.F) {
	archive := func(members ...tar.Header) []byte {
		var b bytes.Buffer
		w := tar.NewWriter(&b)
		for i := range members {
			h := &members[i]
			body := bytes.Repeat([]byte("x"), int(h.Size))
			if err := w.WriteHeader(h); err != nil {
				f.Fatal(err)
			}
			if _, err := w.Write(body); err != nil {
				f.Fatal(err)
			}
		}
		if err := w.Close(); err != nil {
			f.Fatal(err)
		}
		return b.Bytes()
	}
	f.Add([]byte("no archive"))
	f.Add(archive(tar.Header{Name: "boot.wim", Size: 700, Mode: 0o644}, tar.Header{Name: "EFI/Boot/", Typeflag: tar.TypeDir}, tar.Header{Name: "EFI/Boot/bootx64.efi", Size: 3}))
	f.Add(archive(tar.Header{Name: "../out", Size: 1}))
	f.Add(archive(tar.Header{Name: "a", Typeflag: tar.TypeSymlink, Linkname: "/etc"}, tar.Header{Name: "a/passwd", Size: 1}))
	f.Add(archive(tar.Header{Name: "dev", Typeflag: tar.TypeChar, Devmajor: 1, Devminor: 3}))
	f.Add(archive(tar.Header{Name: "a", Size: 1}, tar.Header{Name: "a", Size: 2}))
	f.Add(archive(tar.Header{Name: "a", Size: 1}, tar.Header{Name: "a/b", Size: 2}))
	for _, sparse := range sparseArchives(f) {
		f.Add(sparse)
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		dir := t.TempDir()
		u, err := Open(dir, Limits{Size: 1 << 20}, func(int64) error { return nil })
		if err != nil {
			t.Fatal(err)
		}
		up, err := u.Begin(httptest.NewRecorder(), httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/", bytes.NewReader(body)), "ann", "")
		if err != nil {
			return // too long
		}
		kept, err := up.Unpack()
		if err == nil && filepath.Dir(kept) != dir {
			t.Errorf("kept in %s", kept)
		}
		total := int64(0)
		walk := filepath.WalkDir(dir, func(name string, e fs.DirEntry, err error) error {
			if err != nil {
				return err
			}
			info, err := e.Info()
			if err != nil {
				return err
			}
			switch {
			case info.Mode().IsRegular():
				total += info.Size()
			case !info.IsDir():
				t.Errorf("%s is %s", name, info.Mode())
			}
			if info.Mode().Perm()&0o077 != 0 && name != dir {
				t.Errorf("%s is open to others: %s", name, info.Mode())
			}
			return nil
		})
		if walk != nil {
			t.Fatal(walk)
		}
		if total > int64(len(body)) {
			t.Errorf("%d bytes out of %d", total, len(body))
		}
		if err := up.End(); err != nil {
			t.Fatal(err)
		}
		if left, err := os.ReadDir(dir); err != nil || len(left) != 0 {
			t.Errorf("%v is left, %v", left, err)
		}
	})
}
