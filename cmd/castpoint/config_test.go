package main

import (
	"bytes"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"castpoint/internal/config"
	"castpoint/point/settings"
)

// TestConfigExample: the example has every setting, and without its comment signs
// it is a file that changes nothing.
func TestConfigExample(t *testing.T) {
	var b bytes.Buffer
	b.WriteString(succeeds(t, "config", "example"))
	path := filepath.Join(t.TempDir(), "castpoint.yaml")
	text := regexp.MustCompile(`(?m)^#([a-z])`).ReplaceAllString(b.String(), "$1")
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	got, err := config.Load(path)
	if err != nil {
		t.Fatal(err)
	}
	defaults := config.Default()
	if changed := config.Changed(&defaults, &got); len(changed) > 0 {
		t.Errorf("%v are not what they are without a file", changed)
	}
	if err := got.Validate(); err != nil {
		t.Error(err)
	}
	lines, err := config.Lines(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range config.Names() {
		if _, ok := lines[name]; !ok {
			t.Errorf("the example has no %s", name)
		}
	}
	for _, f := range settings.Documented() {
		if len(settings.Meaning(f)) < 8 {
			t.Errorf("%s is not explained: %q", f.Name, settings.Meaning(f))
		}
	}
}

func TestConfigCheck(t *testing.T) {
	dir := t.TempDir()
	for text, want := range map[string]string{
		"delay: 2s\n":                "0 is good: 1 settings",
		"log_level: debug\n":         `2 there is no setting "log_level": did you mean log-level?`,
		"colour: red\n":              `2 there is no setting "colour"`,
		"delay: soon\n":              "2 line 1",
		"log-levels: [dhpc=debug]\n": `2 there is no logger "dhpc"`,
		"oidc-issuer: x\n":           "2 oidc-",
		"rate: 1gbit\nttl: -5\n":     "2 castpoint.yaml: line 2: ttl",
		"dhcp:\n\tx: 1\n":            "2 line 2: found",
		"admin-cert: x\n":            "2 admin-cert and admin-key go together",
	} {
		path := filepath.Join(dir, "castpoint.yaml")
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		var out, errs bytes.Buffer
		code := run(t.Context(), []string{"config", "check", path}, &out, &errs)
		wantCode, words, _ := strings.Cut(want, " ")
		if got := out.String() + errs.String(); string(rune('0'+code)) != wantCode || !strings.Contains(got, words) {
			t.Errorf("%q: %d %s", text, code, got)
		}
	}
	if code := run(t.Context(), []string{"config", "check", filepath.Join(dir, "none.yaml")}, &bytes.Buffer{}, &bytes.Buffer{}); code != 4 {
		t.Errorf("a missing file: %d", code)
	}
}
