package target

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"castpoint/multicast"
	"castpoint/multicast/block"
)

// FuzzFolder: whatever names a server sends, nothing is made outside the folder.
func FuzzFolder(f *testing.F) {
	f.Add("a/b.inf", "c.cat")
	f.Add("../x", "a")
	f.Add("/etc/passwd", "a//b")
	f.Add("a", "a/b")
	f.Add("CON", "a\x00b")
	f.Fuzz(func(t *testing.T, one, two string) {
		text, err := json.Marshal(multicast.Admission{Folder: true,
			Objects: []block.Object{{SHA256: strings.Repeat("00", 32), Size: 1, BlockSize: 180224, Hashes: make([]byte, 32)}},
			Files:   []multicast.File{{Name: one}, {Name: two}}})
		if err != nil {
			t.Skip(err)
		}
		var adm multicast.Admission
		if err := json.Unmarshal(text, &adm); err != nil {
			t.Fatal(err)
		}
		if adm.Complete() != nil {
			return
		}
		dir := t.TempDir()
		inside := filepath.Join(dir, "deep", "inside")
		if err := os.MkdirAll(inside, 0o755); err != nil {
			t.Fatal(err)
		}
		folder, err := OpenFolder(filepath.Join(inside, "out"))
		if err != nil {
			t.Fatal(err)
		}
		targets, err := folder.Targets(&adm)
		if err == nil {
			for _, target := range targets {
				_, _ = target.WriteAt([]byte{1}, 0) // one name may be another's folder
			}
		}
		for _, m := range folder.files {
			if m.file != nil {
				m.file.Close()
			}
		}
		if err := errors.Join(folder.root.Close(), folder.unlock()); err != nil {
			t.Fatal(err)
		}
		for _, d := range []struct {
			dir  string
			most int
		}{{dir, 1}, {filepath.Join(dir, "deep"), 1}, {inside, 3}} {
			list, err := os.ReadDir(d.dir)
			if err != nil || len(list) > d.most {
				t.Fatalf("%s has %v (%v)", d.dir, list, err)
			}
		}
	})
}
