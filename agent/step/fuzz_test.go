package step

import (
	"os"
	"path/filepath"
	"testing"
)

// FuzzUnzip: whatever is in the ZIP file of a package, nothing is written outside its
// folder.
func FuzzUnzip(f *testing.F) {
	f.Add(zipWith("setup.exe", "a/b.inf"))
	f.Add(zipWith("../out", `..\out`))
	f.Add(zipWith("a", "a/b", "A"))
	f.Add(zipWith("CON", "c:/x", "a\x00b"))
	f.Add([]byte("PK\x05\x06"))
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) > 64<<10 {
			return // they unpack to a thousand times as much
		}
		dir := t.TempDir()
		file, into := filepath.Join(dir, "p.zip"), filepath.Join(dir, "in")
		if err := os.WriteFile(file, b, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Mkdir(into, 0o755); err != nil {
			t.Fatal(err)
		}
		_ = unzip(file, into) // an error, or files
		list, err := os.ReadDir(dir)
		if err != nil || len(list) != 2 {
			t.Fatalf("beside the folder: %v, %v", list, err)
		}
	})
}
