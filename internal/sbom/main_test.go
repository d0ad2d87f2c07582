package main

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// The table names what go.mod requires, and nothing else.
func TestDependenciesAreListed(t *testing.T) {
	f, err := os.Open("../../docs/dependencies.md")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	listed, err := readLicences(f)
	if err != nil {
		t.Fatal(err)
	}
	mod, err := os.ReadFile("../../go.mod")
	if err != nil {
		t.Fatal(err)
	}
	required := map[string]bool{"stdlib": true}
	for _, m := range regexp.MustCompile(`(?m)^\t(\S+) v\S+`).FindAllStringSubmatch(string(mod), -1) {
		required[m[1]] = true
		if listed[m[1]] == "" {
			t.Errorf("docs/dependencies.md does not list %s: add its licence and the reason", m[1])
		}
	}
	for m := range listed {
		if !required[m] {
			t.Errorf("docs/dependencies.md lists %s, which go.mod does not require", m)
		}
	}
}

func TestWrite(t *testing.T) {
	dir := t.TempDir()
	program, out := filepath.Join(dir, "program"), filepath.Join(dir, "sbom.json")
	if b, err := exec.CommandContext(t.Context(), "go", "build", "-o", program, ".").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, b)
	}
	table := filepath.Join(dir, "table.md")
	if err := os.WriteFile(table, []byte("| module | licence |\n|---|---|\n| `stdlib` | BSD-3-Clause | Go itself |\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	inner := filepath.Join(dir, "inner.exe")
	build := exec.CommandContext(t.Context(), "go", "build", "-o", inner, ".")
	build.Env = append(os.Environ(), "GOOS=windows")
	if b, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, b)
	}
	texts := filepath.Join(dir, "texts")
	if err := write(t.Context(), out, texts, table, program, inner); err != nil {
		t.Fatal(err)
	}
	if b, err := os.ReadFile(texts); err != nil || !strings.Contains(string(b), "stdlib go1.") || !strings.Contains(string(b), "Redistributions in binary form must reproduce the above") {
		t.Errorf("%v: %.500s", err, b)
	}
	b, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	var doc document
	if err := json.Unmarshal(b, &doc); err != nil || doc.Version != "SPDX-2.3" || len(doc.Packages) != 3 || len(doc.Relationships) != 4 ||
		doc.Packages[1].Declared != "BSD-3-Clause" || len(doc.Packages[0].Checksums[0].Value) != 64 || doc.Packages[2].Name != "inner" || doc.Relationships[2].Type != "CONTAINS" {
		t.Errorf("%v:\n%s", err, b)
	}
	if err := os.WriteFile(table, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := write(t.Context(), out, "", table, program); err == nil || !strings.Contains(err.Error(), "no licence for stdlib") {
		t.Errorf("without a licence: %v", err)
	}
}
