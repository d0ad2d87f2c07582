package e2e

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"castpoint/internal/lab"
	"castpoint/test/image"
	"castpoint/test/point"
)

// What cannot be an OS image is refused in one line, and nothing of it stays.
func TestContentAddRefusesBadInput(t *testing.T) {
	p := newPoint(t, lab.Config{})
	dir := p.Network.Dir
	good := filepath.Join(dir, "good.wim")
	if err := image.Make(t.Context(), good, "good", 4<<20); err != nil {
		t.Fatal(err)
	}
	whole, err := os.ReadFile(good)
	if err != nil {
		t.Fatal(err)
	}
	cut := filepath.Join(dir, "cut.wim")
	if err := os.WriteFile(cut, whole[:len(whole)-100_000], 0o644); err != nil {
		t.Fatal(err)
	}
	broken := filepath.Join(dir, "broken.wim") // its integrity table says so
	whole[len(whole)/2] ^= 1
	if err := os.WriteFile(broken, whole, 0o644); err != nil {
		t.Fatal(err)
	}
	text := filepath.Join(dir, "text.wim")
	if err := os.WriteFile(text, bytes.Repeat([]byte("not a WIM\n"), 1000), 0o644); err != nil {
		t.Fatal(err)
	}
	missing := filepath.Join(dir, "missing.wim")

	for _, c := range []struct {
		name, path string
		code       int
		words      []string
	}{
		{"not a WIM", text, 1, []string{text, "WIM"}},
		{"truncated", cut, 1, []string{cut}},
		{"corrupt", broken, 1, []string{broken}},
		{"missing", missing, 4, []string{missing}},
		{"folder", dir, 1, []string{dir}},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := p.Run(t.Context(), "content", "add", "os-image", c.path, "--data", p.Data)
			mustFail(t, err, c.code, c.words...)
		})
	}
	if left := filesOver(t, filepath.Join(p.Data, "library"), 4096); len(left) > 0 {
		t.Errorf("refused contents left files in the library: %v", left)
	}
}

// A library on a full disk: the error says how much is missing.
func TestContentAddOnFullDisk(t *testing.T) {
	p := newPoint(t, lab.Config{})
	wim := filepath.Join(p.Network.Dir, "big.wim")
	if err := image.Make(t.Context(), wim, "big", 8<<20); err != nil {
		t.Fatal(err)
	}
	// The mount belongs to the shell's own mount namespace and goes with it.
	disk := filepath.Join(p.Network.Dir, "disk")
	if err := os.Mkdir(disk, 0o755); err != nil {
		t.Fatal(err)
	}
	proc, err := p.Network.Server.Start(lab.Command{Args: []string{"/bin/sh", "-c",
		`mount -t tmpfs -o size=2m tmpfs "$1" && "$2" content add os-image "$3" --data "$1"; code=$?; find "$1/library" -size +4k; exit $code`,
		"sh", disk, p.Binary, wim}})
	if err != nil {
		t.Fatal(err)
	}
	if code := wait(t, proc); code != 1 {
		t.Errorf("exit code %d, want 1", code)
	}
	said := strings.TrimSpace(proc.Output.String())
	if strings.Count(said, "\n") > 0 || !strings.Contains(said, "space") {
		t.Errorf("want one line about space:\n%s", said)
	}
}

// A content can be added, listed, shown and removed, by a stopped and by a
// running server, and both agree.
func TestContentLifecycle(t *testing.T) {
	p := newPoint(t, lab.Config{})
	wim, c := addWIM(t, p, 4<<20)
	if c.Name != "e2e" {
		t.Errorf("the name is %q, want that of the WIM's XML, e2e", c.Name)
	}
	info, err := os.Stat(wim)
	if err != nil {
		t.Fatal(err)
	}
	if len(c.Files) != 1 || c.Files[0].Size != info.Size() {
		t.Errorf("files %+v, want one of %d bytes", c.Files, info.Size())
	}
	serve(t, p)
	list := func() []point.Content {
		out, err := p.Run(t.Context(), "content", "list", "--data", p.Data, "--json")
		if err != nil {
			t.Fatal(err)
		}
		var all []point.Content
		if err := json.Unmarshal([]byte(out), &all); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		return all
	}
	if all := list(); len(all) != 1 || all[0].ID != c.ID {
		t.Errorf("the running server lists %+v", all)
	}
	second, err := p.Add(t.Context(), "os-image", wim, "--name", "second")
	if err != nil {
		t.Fatalf("add while the server runs: %v", err)
	}
	if second.Files[0].SHA256 != c.Files[0].SHA256 {
		t.Error("the same file became two objects")
	}
	out, err := p.Run(t.Context(), "content", "show", "second", "--data", p.Data, "--json")
	if err != nil || !strings.Contains(out, second.ID) {
		t.Errorf("content show by name: %v: %s", err, out)
	}
	for _, id := range []string{second.ID, c.ID} {
		if _, err := p.Run(t.Context(), "content", "remove", id, "--data", p.Data); err != nil {
			t.Error(err)
		}
	}
	if all := list(); len(all) != 0 {
		t.Errorf("after remove the server lists %+v", all)
	}
	if left := filesOver(t, p.Data, 1<<20); len(left) > 0 {
		t.Errorf("removed contents left %v", left)
	}
	_, err = p.Run(t.Context(), "content", "show", "second", "--data", p.Data)
	mustFail(t, err, 4, "second")
}

// filesOver lists the files below dir that are bigger than size bytes.
func filesOver(t *testing.T, dir string, size int64) []string {
	t.Helper()
	var big []string
	err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		info, err := d.Info()
		if err == nil && info.Size() > size {
			big = append(big, path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return big
}
