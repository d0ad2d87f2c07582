package backup

import (
	"archive/tar"
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"
)

// packed is a backup with these members: names and texts.
func packed(tb testing.TB, files ...string) []byte {
	tb.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for i := 0; i+1 < len(files); i += 2 {
		h := &tar.Header{Name: files[i], Mode: 0o644, Size: int64(len(files[i+1])), Typeflag: tar.TypeReg}
		if to, ok := strings.CutPrefix(files[i+1], "->"); ok {
			h.Typeflag, h.Linkname, h.Size = tar.TypeSymlink, to, 0
		}
		if err := w.WriteHeader(h); err != nil {
			tb.Fatal(err)
		}
		if h.Size > 0 {
			if _, err := w.Write([]byte(files[i+1])); err != nil {
				tb.Fatal(err)
			}
		}
	}
	if err := w.Close(); err != nil {
		tb.Fatal(err)
	}
	return b.Bytes()
}

// FuzzRestore: a backup that somebody has changed puts nothing outside the data
// folder, and what it refuses leaves nothing. The input is the archive before its
// compression, which is a library's.
func FuzzRestore(f *testing.F) {
	good, err := json.Marshal(Description{Format: Format})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(packed(f, nameDescription, string(good), nameSettings, "rate: 1gbit\n", nameData+"/leases", "x", nameData+"/library/contents/a.json", "{}"))
	f.Add(packed(f, nameDescription, string(good), nameData+"/../../escape", "x"))
	f.Add(packed(f, nameDescription, string(good), nameData+"/link", "->/etc", nameData+"/link/escape", "x"))
	f.Add(packed(f, nameDescription, `{"format":1,"objects":[{"sha256":"../../../../etc/passwd","size":1}]}`))
	f.Add(packed(f, "x", "y"))
	compress, err := zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1), zstd.WithEncoderLevel(zstd.SpeedFastest))
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		dir := t.TempDir()
		from, data := filepath.Join(dir, "backup"), filepath.Join(dir, "deep", "data")
		objects := filepath.Join(dir, "objects")
		for _, d := range []string{filepath.Dir(data), objects} {
			if err := os.MkdirAll(d, 0o755); err != nil {
				t.Fatal(err)
			}
		}
		if err := os.WriteFile(from, compress.EncodeAll(b, nil), 0o644); err != nil {
			t.Fatal(err)
		}
		_, err := Restore(t.Context(), from, data, filepath.Join(dir, "settings.yaml"), objects)
		inside, readErr := os.ReadDir(filepath.Dir(data))
		if readErr != nil {
			t.Fatal(readErr)
		}
		for _, e := range inside {
			if e.Name() != "data" || err != nil {
				t.Fatalf("%s is left (%v)", e.Name(), err)
			}
		}
		outside, readErr := os.ReadDir(dir)
		if readErr != nil || len(outside) > 4 {
			t.Fatalf("outside are %v (%v)", outside, readErr)
		}
	})
}
