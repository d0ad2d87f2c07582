package main

import (
	"bytes"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/spf13/pflag"

	"castpoint/internal/config"
)

// TestConfigExample: the example has every setting, and without its comment signs
// it is a file that changes nothing.
func TestConfigExample(t *testing.T) {
	var b bytes.Buffer
	if err := writeExample(&b); err != nil {
		t.Fatal(err)
	}
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
	for _, f := range documented() {
		if len(meaning(f)) < 8 {
			t.Errorf("%s is not explained: %q", f.Name, meaning(f))
		}
	}
}

func TestWhereSettingsComeFrom(t *testing.T) {
	path := filepath.Join(t.TempDir(), "castpoint.yaml")
	if err := os.WriteFile(path, []byte("# one\ndelay: 2s\ndeny: [52:54:00:aa, 52:54:00:bb]\nrate: 900mbit\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	given := pflag.NewFlagSet("", pflag.ContinueOnError)
	c := config.Default()
	serveFlags(given, &c)
	if err := given.Parse([]string{"--rate", "100mbit", "--menu-wait", "3m"}); err != nil {
		t.Fatal(err)
	}
	s, err := readSettings(path, given)
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]Setting{}
	for _, one := range s.list() {
		one.Means = ""
		got[one.Name] = one
	}
	for _, want := range []Setting{
		{Name: "delay", Value: []string{"2s"}, From: "file", Line: 2},
		{Name: "deny", Value: []string{"52:54:00:aa", "52:54:00:bb"}, From: "file", Line: 3},
		{Name: "rate", Value: []string{"100mbit"}, From: "flag"},
		{Name: "menu-wait", Value: []string{"3m"}, From: "flag"},
		{Name: "admin", Value: []string{"127.0.0.1:8069"}, From: "default", Restart: true},
		{Name: "validate-every", Value: []string{"168h"}, From: "default", Restart: true},
	} {
		if d := cmp.Diff(want, got[want.Name]); d != "" {
			t.Error(d)
		}
	}
	if len(got) != len(config.Names()) {
		t.Errorf("%d of %d settings", len(got), len(config.Names()))
	}
}

// TestReloadsAreSettings: what is said to change without a restart is there.
func TestReloadsAreSettings(t *testing.T) {
	n := 0
	for _, name := range config.Names() {
		if reloads(name) {
			n++
		}
	}
	if n < 30 {
		t.Errorf("%d settings", n)
	}
	merged := config.Merge(&config.Config{Delay: 1, Admin: "new", Deny: config.List{"x"}}, &config.Config{Admin: "old"}, func(name string) bool { return !reloads(name) })
	if merged.Delay != 1 || merged.Admin != "old" || !slices.Equal(merged.Deny, config.List{"x"}) {
		t.Errorf("%+v", merged)
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
