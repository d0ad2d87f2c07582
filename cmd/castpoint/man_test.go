package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// Every command has a manual page, in which nothing is hyphenated.
func TestMan(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "man1")
	succeeds(t, "man", dir)
	for _, page := range []string{"castpoint.1", "castpoint-serve.1", "castpoint-content-add.1"} {
		b, err := os.ReadFile(filepath.Join(dir, page))
		if err != nil {
			t.Fatal(err)
		}
		_, after, ok := strings.Cut(string(b), "\n.TH ")
		_, after, _ = strings.Cut(after, "\n")
		if !ok || !strings.HasPrefix(after, ".nh\n.ad l\n") {
			t.Errorf("%s begins with %.200s", page, b)
		}
	}
}
