package inbox

import (
	"errors"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"castpoint/tftp"
)

func TestUploads(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "uploads")
	u, err := Open(dir, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer u.Close()
	write := func(name, text string) (tftp.Upload, error) {
		up, err := u.Create(t.Context(), tftp.Request{Name: name, Path: name, Write: true, Peer: netip.MustParseAddrPort("192.0.2.7:1234")})
		if err == nil {
			_, err = up.Write([]byte(text))
		}
		return up, err
	}
	for _, text := range []string{"first", "second"} {
		up, err := write("logs/setup.log", text)
		if err != nil {
			t.Fatal(err)
		}
		if err := up.Commit(); err != nil {
			t.Fatal(err)
		}
	}
	for name, want := range map[string]string{"setup.log": "first", "setup.log.2": "second"} {
		if b, err := os.ReadFile(filepath.Join(dir, "192.0.2.7", "logs", name)); err != nil || string(b) != want {
			t.Errorf("%s: %q, %v", name, b, err)
		}
	}
	up, err := write("half.log", "half")
	if err != nil {
		t.Fatal(err)
	}
	up.Abort()
	if left, err := os.ReadDir(filepath.Join(dir, "192.0.2.7")); err != nil || len(left) != 1 {
		t.Errorf("an aborted upload left something: %v, %v", left, err)
	}
	if up, err = write("a/b/half.log", "half"); err != nil {
		t.Fatal(err)
	}
	up.Abort()
	if _, err := os.Stat(filepath.Join(dir, "192.0.2.7", "a")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("an aborted upload left its folders: %v", err)
	}
	// Whoever sends: the reserve of the disk stays free, and what has begun ends there.
	if up, err = write("long.log", "long"); err != nil {
		t.Fatal(err)
	}
	room := u.room
	u.room = func() error {
		return tooFull(dir, &syscall.Statfs_t{Bsize: 1 << 12, Blocks: 1 << 20, Bavail: 1 << 12}, 1<<30)
	}
	if _, err := write("more.log", "x"); !errors.Is(err, tftp.ErrNoSpace) || !strings.Contains(err.Error(), "disk-reserve") {
		t.Errorf("a full disk: %v", err)
	}
	if _, err := up.Write(make([]byte, roomEvery)); !errors.Is(err, tftp.ErrNoSpace) {
		t.Errorf("a disk that is full by now: %v", err)
	}
	up.Abort()
	u.room = room
	for _, c := range []struct {
		blocks, free, files, left uint64
		says                      string
	}{
		{1 << 30, 1 << 20, 100, 50, ""}, {1 << 10, 1 << 9, 100, 50, ""}, {1 << 10, 10, 100, 50, "disk-reserve"}, {1 << 30, 0, 0, 0, "disk-reserve"},
		{1 << 30, 1 << 20, 100, 4, "4 files only"}, {1 << 30, 1 << 20, 0, 0, ""},
	} {
		err := tooFull(dir, &syscall.Statfs_t{Bsize: 4096, Blocks: c.blocks, Bavail: c.free, Files: c.files, Ffree: c.left}, 1<<30)
		if (err == nil) != (c.says == "") || err != nil && !strings.Contains(err.Error(), c.says) {
			t.Errorf("%+v: %v", c, err)
		}
	}
	for _, name := range []string{"", "/", ".."} {
		if _, err := write(name, "x"); !errors.Is(err, tftp.ErrForbidden) {
			t.Errorf("upload as %q: %v", name, err)
		}
	}
	// A name that leads up stays in the machine's folder, and a link leads nowhere.
	if up, err := write("../../evil", "x"); err != nil {
		t.Error(err)
	} else if err := up.Commit(); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(filepath.Join(dir, "192.0.2.7", "evil")); err != nil {
		t.Error(err)
	}
	outside := t.TempDir()
	if err := os.Symlink(outside, filepath.Join(dir, "192.0.2.7", "out")); err != nil {
		t.Fatal(err)
	}
	if _, err := write("out/x", "x"); err == nil {
		t.Error("it wrote through a link")
	}
}
