package library

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"castpoint/content"
)

// FuzzContent: the file of a content, which may have come from another library, or
// from a disk with bad sectors.
func FuzzContent(f *testing.F) {
	good, err := json.Marshal(content.Content{ID: "win11", Kind: content.KindOSImage, Name: "Windows 11", Files: []content.File{{Role: content.RoleImage, Name: "install.wim", Size: 5}}})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good)
	f.Add([]byte(`{"id":"../x","kind":"package","files":[{"name":"../../etc/passwd","sha256":"zz"}]}`))
	f.Add([]byte(`{`))
	path := filepath.Join(f.TempDir(), "content.json")
	f.Fuzz(func(t *testing.T, b []byte) {
		if err := os.WriteFile(path, b, 0o644); err != nil {
			t.Fatal(err)
		}
		c, err := readContent(path)
		if err != nil {
			return
		}
		again, err := json.Marshal(c)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, again, 0o644); err != nil {
			t.Fatal(err)
		}
		if _, err := readContent(path); err != nil {
			t.Fatalf("what was read cannot be read again: %v\n%s", err, again)
		}
	})
}
