package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestExitCodes(t *testing.T) {
	dir := t.TempDir()
	file := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		return path
	}
	empty := file("empty", "quiet splash\n")
	nobody := file("nobody", "castpoint.server=https://127.0.0.1:1 castpoint.pin=sha256:"+strings.Repeat("00", 32)+" castpoint.token=ab castpoint.mac=52:54:00:00:00:01\n")
	for _, c := range []struct {
		args string
		code int
		says string
	}{
		{"version", 0, ""},
		{"run --help", 0, ""},
		{"", 0, ""},
		{"frobnicate", 2, `unknown command "frobnicate"`},
		{"run", 2, "--from-cmdline"},
		{"run --from-cmdline --cmdline " + empty, 2, "castpoint.server"},
		{"run --from-cmdline --cmdline " + filepath.Join(dir, "none"), 1, "kernel command line"},
		{"run --reach -1s --from-cmdline --cmdline " + nobody, 1, "connection refused"},
		{"continue --from " + filepath.Join(dir, "none"), 1, "settings of the run"},
		{"continue --from " + file("run.json", `{"server": "https://127.0.0.1:1"}`), 1, "have no "},
		{"receive --server 127.0.0.1:1", 2, "--out"},
		{"receive a b", 2, "accepts at most 1 arg"},
	} {
		var out, errs bytes.Buffer
		code := execute(t.Context(), strings.Fields(c.args), &out, &errs)
		if code != c.code || !strings.Contains(errs.String(), c.says) {
			t.Errorf("castagent %s: exit code %d, %q; want %d and %q", c.args, code, errs.String(), c.code, c.says)
		}
	}
}

// TestLinksNoServerCode keeps the agent small enough for a boot environment.
func TestLinksNoServerCode(t *testing.T) {
	for _, pkg := range serverPackages(t) {
		t.Errorf("castagent links %s", pkg)
	}
}
