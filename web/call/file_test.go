package call

import (
	"os"
	"path/filepath"
	"testing"
)

func TestFile(t *testing.T) {
	dir := t.TempDir()
	if _, ok, err := ReadFile(dir); ok || err != nil {
		t.Fatal(ok, err)
	}
	want := File{Address: "127.0.0.1:8069", Token: NewToken(), PID: 7}
	if err := WriteFile(dir, want); err != nil {
		t.Fatal(err)
	}
	if st, err := os.Stat(filepath.Join(dir, fileAdmin)); err != nil || st.Mode().Perm() != 0o600 {
		t.Error(st.Mode(), err)
	}
	if got, ok, err := ReadFile(dir); got != want || !ok || err != nil {
		t.Error(got, ok, err)
	}
	for range 2 {
		if err := RemoveFile(dir); err != nil {
			t.Fatal(err)
		}
	}
}

// FuzzFile: a file of any bytes is an error, or an address that is asked and does not
// answer.
func FuzzFile(f *testing.F) {
	f.Add([]byte(`{"address":"127.0.0.1:8069","token":"00","pid":7}`))
	f.Add([]byte(`{"address":"[::1]:8069","pin":"sha256:00"}`))
	f.Add([]byte(`[`))
	dir := f.TempDir()
	f.Fuzz(func(t *testing.T, b []byte) {
		if err := os.WriteFile(filepath.Join(dir, fileAdmin), b, 0o600); err != nil {
			t.Fatal(err)
		}
		_, _, _ = ReadFile(dir)
	})
}
