package logging

import (
	"bytes"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"unicode"

	"go.uber.org/zap"

	"castpoint/internal/config"
)

// TestLoggers: every logger that the server makes is in the list.
func TestLoggers(t *testing.T) {
	named := regexp.MustCompile(`\.Named\("([^"]+)"\)`)
	found := map[string]bool{}
	err := filepath.WalkDir(filepath.Join("..", ".."), func(path string, d fs.DirEntry, err error) error {
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
		if !slices.Contains(Names(), name) {
			t.Errorf("logger %s is not in the list of logging.go", name)
		}
	}
	for _, name := range Names() {
		if !found[name] {
			t.Errorf("there is no logger %s", name)
		}
	}
}

// Whatever a machine calls itself, its line of the log is one line, and moves no cursor.
func TestLogIsOnlyShown(t *testing.T) {
	const name = "a\n\x1b[2J\u009b31m\u0085\x7f\u202egnp.exe\u2028\xffé漢"
	for _, format := range []string{"json", "console"} {
		var b bytes.Buffer
		log, _, err := New(config.Config{LogLevel: "info", LogFormat: format}, &b)
		if err != nil {
			t.Fatal(err)
		}
		log.Info("boot file by http", zap.String("file", name), zap.Error(errors.New(name)), zap.Strings("names", []string{name}))
		text := b.String()
		if strings.Count(text, "\n") != 1 || !strings.HasSuffix(text, "\n") || !strings.Contains(text, `\u009b31m\u0085\u007f\u202egnp.exe`) || !strings.Contains(text, "é漢") {
			t.Errorf("%s: %q", format, text)
		}
		for _, r := range strings.TrimSuffix(text, "\n") {
			if unicode.IsControl(r) && r != '\t' || unicode.In(r, unicode.Bidi_Control, unicode.Zl, unicode.Zp) {
				t.Errorf("%s: %q is in the log", format, r)
			}
		}
		var fields struct{ File string }
		if err := json.Unmarshal([]byte(text[strings.Index(text, "{"):]), &fields); err != nil || !strings.Contains(fields.File, "\u009b31m\u0085\x7f\u202e") {
			t.Errorf("%s: %q, %v", format, fields.File, err)
		}
	}
}
