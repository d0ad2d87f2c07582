package point

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// TestLoggers: every logger that the server makes is in the list.
func TestLoggers(t *testing.T) {
	named := regexp.MustCompile(`\.Named\("([^"]+)"\)`)
	found := map[string]bool{}
	err := filepath.WalkDir("..", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() && (d.Name() == "test" || d.Name() == "agent" || d.Name() == ".git" || d.Name() == "bin") {
			if d != nil && d.IsDir() && err == nil {
				return fs.SkipDir
			}
			return err
		}
		if !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return nil
		}
		text, err := os.ReadFile(path)
		for _, m := range named.FindAllStringSubmatch(string(text), -1) {
			found[m[1]] = true
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	for name := range found {
		if !slices.Contains(Loggers(), name) {
			t.Errorf("logger %s is not in the list of log.go", name)
		}
	}
	for _, name := range Loggers() {
		if !found[name] {
			t.Errorf("there is no logger %s", name)
		}
	}
}
