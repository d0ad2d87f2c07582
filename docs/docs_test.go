package docs

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// named are the tests that a page gives as its proof.
var named = regexp.MustCompile(`\b(?:Test|Fuzz)[A-Z][A-Za-z0-9]*\b`)

// allPages are the names of all pages.
func allPages(t *testing.T) []string {
	t.Helper()
	pages, err := fs.Glob(Pages, "*.md")
	if err != nil {
		t.Fatal(err)
	}
	more, err := fs.Glob(Pages, "adr/*.md")
	if err != nil || len(more) == 0 {
		t.Fatalf("%d decisions, %v", len(more), err)
	}
	return append(pages, more...)
}

// A promise whose test was renamed or removed is a promise that nothing holds.
func TestNamedTestsExist(t *testing.T) {
	exist := map[string]bool{}
	declared := regexp.MustCompile(`(?m)^func ((?:Test|Fuzz)[A-Z][A-Za-z0-9]*)\(`)
	err := filepath.WalkDir("..", func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && (d.Name() == ".git" || path == "../bin") {
			return fs.SkipDir
		}
		if !strings.HasSuffix(path, "_test.go") {
			return nil
		}
		b, err := os.ReadFile(path)
		for _, m := range declared.FindAllSubmatch(b, -1) {
			exist[string(m[1])] = true
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, page := range allPages(t) {
		b, err := Pages.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range named.FindAllString(string(b), -1) {
			if !exist[name] {
				t.Errorf("%s names %s, and there is no such test", page, name)
			}
		}
	}
}

// Messages that the page on troubleshooting explains are the program's own words.
func TestMessagesExist(t *testing.T) {
	page, err := Pages.ReadFile("troubleshooting.md")
	if err != nil {
		t.Fatal(err)
	}
	var source strings.Builder
	err = filepath.WalkDir("..", func(path string, d fs.DirEntry, err error) error {
		if err != nil || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return err
		}
		b, err := os.ReadFile(path)
		source.Write(b)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	messages := regexp.MustCompile(`(?m)^\| "([^"]+)"`).FindAllSubmatch(page, -1)
	if len(messages) < 8 {
		t.Errorf("only %d messages were found", len(messages))
	}
	for _, m := range messages {
		if !strings.Contains(source.String(), string(m[1])) {
			t.Errorf("no program says %q", m[1])
		}
	}
}

// Links between the pages lead somewhere.
func TestLinks(t *testing.T) {
	link := regexp.MustCompile(`\]\(([^):#]+)(?:#[^)]*)?\)`)
	for _, pattern := range []string{"*.md", "../README.md", "adr/*.md"} {
		pages, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		for _, page := range pages {
			b, err := os.ReadFile(page)
			if err != nil {
				t.Fatal(err)
			}
			for _, m := range link.FindAllStringSubmatch(string(b), -1) {
				if _, err := os.Stat(filepath.Join(filepath.Dir(page), m[1])); err != nil {
					t.Errorf("%s links to %s: %v", page, m[1], err)
				}
			}
		}
	}
}

// The table of fuzz tests has each of them, in the row of its room.
func TestFuzzTargets(t *testing.T) {
	page, err := Pages.ReadFile("fuzzing.md")
	if err != nil {
		t.Fatal(err)
	}
	listed := map[string]bool{}
	for _, row := range regexp.MustCompile("(?m)^\\|[^|]+\\|[^|]+\\| `([^`]+)` \\| ([^|]+) \\|$").FindAllStringSubmatch(string(page), -1) {
		for name := range strings.SplitSeq(row[2], ", ") {
			listed[row[1]+" "+name] = true
		}
	}
	declared := regexp.MustCompile(`(?m)^func (Fuzz[A-Z][A-Za-z0-9]*)\(`)
	found := map[string]bool{}
	err = filepath.WalkDir("..", func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && (d.Name() == ".git" || path == "../bin") {
			return fs.SkipDir
		}
		if !strings.HasSuffix(path, "_test.go") {
			return nil
		}
		b, err := os.ReadFile(path)
		for _, m := range declared.FindAllSubmatch(b, -1) {
			room := strings.TrimPrefix(filepath.ToSlash(filepath.Dir(path)), "../")
			found[room+" "+string(m[1])] = true
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(found) < 60 {
		t.Errorf("only %d targets were found", len(found))
	}
	for name := range found {
		if !listed[name] {
			t.Errorf("fuzzing.md does not list %s", name)
		}
	}
	for name := range listed {
		if !found[name] {
			t.Errorf("fuzzing.md lists %s, and there is no such target", name)
		}
	}
}
