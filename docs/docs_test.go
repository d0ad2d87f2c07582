package docs

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// named are the tests that a page gives as its proof, with the last folder of their room
// where several have tests of that name.
var named = regexp.MustCompile(`\b(?:([a-z0-9]+)\.)?((?:Test|Fuzz)[A-Z][A-Za-z0-9]*)\b`)

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
	exist := map[string][]string{} // the last folders of their rooms
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
			exist[string(m[1])] = append(exist[string(m[1])], filepath.Base(filepath.Dir(path)))
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
		for _, m := range named.FindAllStringSubmatch(string(b), -1) {
			rooms := exist[m[2]]
			switch {
			case m[1] == "" && len(rooms) > 1 && page == "threat-model.md":
				t.Errorf("%s names %s, of which there are several, in %v", page, m[2], rooms)
			case len(rooms) == 0, m[1] != "" && !slices.Contains(rooms, m[1]):
				t.Errorf("%s names %s, and there is no such test", page, m[0])
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

// headings are those of a page, as they are written, without marks of code. Lines of
// code blocks may begin with # as well.
func headings(page string) (all []string) {
	code := false
	for line := range strings.SplitSeq(page, "\n") {
		if strings.HasPrefix(strings.TrimSpace(line), "```") {
			code = !code
		}
		if !code && strings.HasPrefix(line, "#") {
			all = append(all, strings.ReplaceAll(line, "`", ""))
		}
	}
	return all
}

// anchor is the name of a heading in a link.
func anchor(heading string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == ' ' || r == '-':
			return '-'
		case r >= 'a' && r <= 'z' || r >= '0' && r <= '9' || r == '_':
			return r
		}
		return -1
	}, strings.ToLower(strings.TrimLeft(heading, "# ")))
}

// Links between the pages lead somewhere, down to the heading.
func TestLinks(t *testing.T) {
	link := regexp.MustCompile(`\]\(([^):#]*)(?:#([^)]*))?\)`)
	anchors := func(path string) (names []string) {
		b, err := os.ReadFile(path)
		if err != nil {
			t.Error(err)
		}
		for _, h := range headings(string(b)) {
			names = append(names, anchor(h))
		}
		return names
	}
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
				to := page
				if m[1] != "" {
					to = filepath.Join(filepath.Dir(page), m[1])
				}
				if _, err := os.Stat(to); err != nil {
					t.Errorf("%s links to %s: %v", page, m[1], err)
				} else if m[2] != "" && !slices.Contains(anchors(to), m[2]) {
					t.Errorf("%s links to %s#%s: it has no such heading", page, m[1], m[2])
				}
			}
		}
	}
}

// A page of many parts says at its beginning which, all of them and in their order.
func TestLongPagesHaveContents(t *testing.T) {
	const many = 8
	for _, page := range allPages(t) {
		b, err := Pages.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		var parts []string
		for _, h := range headings(string(b)) {
			if name, ok := strings.CutPrefix(h, "## "); ok {
				parts = append(parts, "["+name+"](#"+anchor(name)+")")
			}
		}
		if want := "Contents: " + strings.Join(parts, ", ") + "."; len(parts) >= many && !strings.Contains(strings.ReplaceAll(string(b), "\n", " "), want) {
			t.Errorf("%s wants this before its first part:\n%s", page, want)
		}
	}
}

// The table of rooms has every folder with code in it, and no others.
func TestRooms(t *testing.T) {
	page, err := Pages.ReadFile("architecture.md")
	if err != nil {
		t.Fatal(err)
	}
	listed := map[string]bool{}
	for _, row := range regexp.MustCompile("(?m)^\\| (`[^|]+`) \\|").FindAllStringSubmatch(string(page), -1) {
		for _, m := range regexp.MustCompile("`([^`]+)`").FindAllStringSubmatch(row[1], -1) {
			listed[m[1]] = true
		}
	}
	rooms := map[string]bool{}
	err = filepath.WalkDir("..", func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name := strings.TrimPrefix(filepath.ToSlash(path), "../")
		if d.IsDir() && (d.Name() == ".git" || d.Name() == "testdata" || name == "bin" || strings.HasPrefix(name, "test/bench/")) {
			return fs.SkipDir // what make bench consists of is one room
		}
		if strings.HasSuffix(name, ".go") {
			rooms[filepath.ToSlash(filepath.Dir(name))] = true
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for room := range rooms {
		if !listed[room] {
			t.Errorf("architecture.md does not have the room %s", room)
		}
	}
	for room := range listed {
		if !rooms[room] {
			t.Errorf("architecture.md has the room %s, and there is no such folder", room)
		}
	}
	if len(rooms) < 60 {
		t.Errorf("only %d rooms were found", len(rooms))
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

// shown are messages that a person meets only together with a text of their own: the
// name of what was not found, the setting that is wrong.
var shown = map[string]string{
	"not found": "says what", "exists already": "says what", "already exists": "says what", "is in use": "says by what", "more than one has that name": "lists them",
	"more than one device": "lists them", "no such device": "says which", "another device has it": "says which", "not usable": "says why", "not valid": "says why",
	"invalid": "says why", "refused": "says why", "name is not unique": "lists them", "no such asset": "lists them", "is not empty": "says which folder",
	"not a boot configuration store": "says which file", "not a registry hive": "says which file", "no space left for the upload": "says how much is free",
	"file exists already": "is for TFTP clients, and says which", "server is shutting down": "is what it does",
	"datagram is too short": "is counted only", "datagram has another protocol version": "is counted only", "datagram is of another type": "is counted only", "datagram is malformed": "is counted only",
	"source cannot be used": "says why", "not a read or write request": "is for the listener only", "interrupted": "gives way to the reason",
	"no key for this epoch": "becomes \"the session's key has changed\"",
}

// Whoever searches the documentation for a message of the program finds it.
func TestMessagesAreExplained(t *testing.T) {
	page, err := Pages.ReadFile("troubleshooting.md")
	if err != nil {
		t.Fatal(err)
	}
	api, err := Pages.ReadFile("api.md")
	if err != nil {
		t.Fatal(err)
	}
	message := regexp.MustCompile(`\bErr[A-Z][A-Za-z]* += errors\.New\("([^"]+)"\)`)
	code := regexp.MustCompile(`(?m)^\tCode[A-Z][A-Za-z]* += "([^"]+)"`)
	seen := map[string]bool{}
	err = filepath.WalkDir("..", func(path string, d fs.DirEntry, err error) error {
		if err != nil || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return err
		}
		b, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		for _, m := range message.FindAllStringSubmatch(string(b), -1) {
			text, _, _ := strings.Cut(m[1], ":")
			seen[text] = true
			if shown[text] == "" && !strings.Contains(string(page), `"`+text) {
				t.Errorf("troubleshooting.md does not have %q of %s", text, path)
			}
		}
		if filepath.ToSlash(path) == "../agent/protocol/protocol.go" {
			for _, m := range code.FindAllStringSubmatch(string(b), -1) {
				if !strings.Contains(string(api), "`"+m[1]+"`") {
					t.Errorf("api.md does not have the code %s", m[1])
				}
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(seen) < 60 {
		t.Errorf("only %d messages were found", len(seen))
	}
	for text := range shown {
		if !seen[text] {
			t.Errorf("nothing says %q any more", text)
		}
	}
}
