package settings

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/spf13/pflag"

	"castpoint/internal/config"
)

// TestEverySettingIsDescribed looks for each in docs/cli.md.
func TestEverySettingIsDescribed(t *testing.T) {
	b, err := os.ReadFile(filepath.Join("..", "..", "docs", "cli.md"))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range config.Names() {
		if name != "data" && !strings.Contains(string(b), "`"+name+"`") {
			t.Errorf("docs/cli.md does not have the setting %s", name)
		}
	}
}

func TestWhereSettingsComeFrom(t *testing.T) {
	path := filepath.Join(t.TempDir(), "castyaml")
	if err := os.WriteFile(path, []byte("# one\ndelay: 2s\ndeny: [52:54:00:aa, 52:54:00:bb]\nrate: 900mbit\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	given := pflag.NewFlagSet("", pflag.ContinueOnError)
	c := config.Default()
	Flags(given, &c)
	if err := given.Parse([]string{"--rate", "100mbit", "--menu-wait", "3m"}); err != nil {
		t.Fatal(err)
	}
	s, err := Read(path, given)
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]Setting{}
	for _, one := range s.List() {
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
		if Reloads(name) {
			n++
		}
	}
	if n < 30 {
		t.Errorf("%d settings", n)
	}
	merged := config.Merge(&config.Config{Delay: 1, Admin: "new", Deny: config.List{"x"}}, &config.Config{Admin: "old"}, func(name string) bool { return !Reloads(name) })
	if merged.Delay != 1 || merged.Admin != "old" || !slices.Equal(merged.Deny, config.List{"x"}) {
		t.Errorf("%+v", merged)
	}
}
