package main

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
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
	if b, err := exec.CommandContext(t.Context(), "go", "build", "-buildvcs=false", "-o", program, ".").CombinedOutput(); err != nil {
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
	if err := write(t.Context(), out, texts, table, "1.2.0", program, inner); err != nil {
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
		doc.Packages[0].Version != "1.2.0" || doc.Packages[1].Declared != "BSD-3-Clause" || len(doc.Packages[0].Checksums[0].Value) != 64 || doc.Packages[2].Name != "inner" || doc.Relationships[2].Type != "CONTAINS" {
		t.Errorf("%v:\n%s", err, b)
	}
	if err := os.WriteFile(table, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := write(t.Context(), out, "", table, "", program); err == nil || !strings.Contains(err.Error(), "no licence for stdlib") {
		t.Errorf("without a licence: %v", err)
	}
}

// The licences in the table are those that the modules bring with them.
func TestLicencesAreThose(t *testing.T) {
	f, err := os.Open("../../docs/dependencies.md")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	listed, err := readLicences(f)
	if err != nil {
		t.Fatal(err)
	}
	folders, err := moduleFolders(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for module, want := range listed {
		files, err := noticeFiles(folders[module])
		if err != nil {
			t.Errorf("%s: %v: go mod download fetches it", module, err)
			continue
		}
		var text strings.Builder
		for _, file := range files {
			b, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			text.Write(b)
			text.WriteString("\n")
		}
		got := licencesIn(text.String())
		if strings.HasPrefix(module, "kernel.org/pub/linux/libs/security/libcap/") {
			got = slices.DeleteFunc(got, func(l string) bool { return l == "GPL-2.0-only" }) // or
		}
		names := strings.Split(want, " AND ")
		slices.Sort(names)
		if !slices.Equal(got, names) {
			t.Errorf("%s: docs/dependencies.md says %s, its files say %s", module, want, strings.Join(got, " AND "))
		}
	}
}

// licencesIn knows licences by words that only they have, sorted.
func licencesIn(text string) (list []string) {
	text = strings.Join(strings.Fields(text), " ")
	for _, l := range []struct {
		name string
		says *regexp.Regexp
	}{
		{"AGPL-3.0", regexp.MustCompile(`GNU AFFERO GENERAL PUBLIC LICENSE Version 3`)},
		{"Apache-2.0", regexp.MustCompile(`Apache License,? Version 2\.0`)},
		{"BSD-3-Clause", regexp.MustCompile(`(?i)Redistribution and use in source and binary forms.*endorse or promote`)},
		{"CC0-1.0", regexp.MustCompile(`CC0 1\.0 Universal`)},
		{"GPL-2.0-only", regexp.MustCompile(`GNU GENERAL PUBLIC LICENSE Version 2`)},
		{"GPL-3.0", regexp.MustCompile(`GNU GENERAL PUBLIC LICENSE Version 3`)},
		{"ISC", regexp.MustCompile(`Permission to use, copy, modify, and(/or)? distribute this software for any purpose`)},
		{"LGPL", regexp.MustCompile(`GNU LESSER GENERAL PUBLIC LICENSE Version`)},
		{"MIT", regexp.MustCompile(`(?i)Permission is hereby granted, free of charge`)},
		{"MPL-2.0", regexp.MustCompile(`Mozilla Public License,? [Vv]ersion 2\.0`)},
	} {
		if l.says.MatchString(text) {
			list = append(list, l.name)
		}
	}
	if regexp.MustCompile(`(?i)Redistribution and use in source and binary forms`).MatchString(text) && !slices.Contains(list, "BSD-3-Clause") {
		list = append(list, "BSD-2-Clause")
	}
	slices.Sort(list)
	return list
}
