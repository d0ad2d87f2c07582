package main

import (
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"castpoint/internal/config"
)

// settingNames are the names that the file knows.
func settingNames() (names []string) {
	t := reflect.TypeFor[config.Config]()
	for i := range t.NumField() {
		names = append(names, t.Field(i).Tag.Get("yaml"))
	}
	return names
}

// TestEverySettingIsDescribed looks for each in docs/cli.md.
func TestEverySettingIsDescribed(t *testing.T) {
	b, err := os.ReadFile(filepath.Join("..", "..", "docs", "cli.md"))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range settingNames() {
		if name != "data" && !strings.Contains(string(b), "`"+name+"`") {
			t.Errorf("docs/cli.md does not have the setting %s", name)
		}
	}
}
