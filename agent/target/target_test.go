package target

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"castpoint/agent"
)

// The way of a target from nothing to the complete file, on every system.
func TestTarget(t *testing.T) {
	dir := scratch(t)
	out := filepath.Join(dir, "x.wim")
	if device, err := Check(out, false); device || err != nil {
		t.Fatal(device, err)
	}
	a, err := OpenFile(out, false)
	if err != nil || !a.fresh {
		t.Fatal(a, err)
	}
	if _, err := OpenFile(out, false); agent.ExitCode(err) != agent.ExitRefused {
		t.Errorf("a second receiver of the same file: %v", err)
	}
	data := bytes.Repeat([]byte("0123456789abcdef"), 20_000)
	if err := a.Reserve(int64(len(data))); err != nil {
		t.Fatal(err)
	}
	half := len(data) / 2
	for _, at := range []int{half, 0} { // not in order
		if _, err := a.WriteAt(data[at:at+half], int64(at)); err != nil {
			t.Fatal(err)
		}
	}
	got := make([]byte, len(data))
	if _, err := a.ReadAt(got, 0); err != nil || !bytes.Equal(got, data) {
		t.Errorf("what was written is not read back: %v", err)
	}
	if err := a.Sync(); err != nil {
		t.Error(err)
	}
	if err := a.Finish(); err != nil {
		t.Fatal(err)
	}
	if got, err := os.ReadFile(out); err != nil || !bytes.Equal(got, data) {
		t.Errorf("the complete file: %d bytes, %v", len(got), err)
	}
	if _, err := os.Stat(out + PartSuffix); err == nil {
		t.Error("the part is still there")
	}
	if _, err := Check(out, false); agent.ExitCode(err) != agent.ExitRefused {
		t.Errorf("a file that is there: %v", err)
	}
	if free, err := freeSpace(dir); err != nil || free <= 0 {
		t.Errorf("free space: %d, %v", free, err)
	}
	b, err := OpenFile(filepath.Join(dir, "y.wim"), false)
	if err != nil {
		t.Fatal(err)
	}
	if err := b.Discard(); err != nil {
		t.Error(err)
	}
}
