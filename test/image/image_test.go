package image

import (
	"os"
	"path/filepath"
	"testing"
)

// A WIM is as big as asked for, verifies, and no longer does when one of its
// bytes is changed.
func TestMakeAndVerify(t *testing.T) {
	path := filepath.Join(t.TempDir(), "small.wim")
	const size = 8 << 20
	if err := Make(t.Context(), path, "small", size); err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if info.Size() < size || info.Size() > 3*size {
		t.Errorf("the WIM has %d bytes, %d were asked for", info.Size(), size)
	}
	if err := Verify(t.Context(), path); err != nil {
		t.Fatal(err)
	}
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	b := make([]byte, 1)
	if _, err := f.ReadAt(b, size/2); err != nil {
		t.Fatal(err)
	}
	b[0] ^= 1
	if _, err := f.WriteAt(b, size/2); err != nil {
		t.Fatal(err)
	}
	if err := Verify(t.Context(), path); err == nil {
		t.Error("a changed WIM verifies")
	}
}
