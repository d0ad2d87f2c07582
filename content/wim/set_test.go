package wim

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// splitFile makes the parts of a split WIM of richTree.
func splitFile(t testing.TB, tree, size string, args ...string) []string {
	t.Helper()
	dir := t.TempDir()
	whole := filepath.Join(t.TempDir(), "whole.wim")
	wimlib(t, append([]string{"capture", tree, whole, "image"}, args...)...)
	wimlib(t, "split", whole, filepath.Join(dir, "part.swm"), size)
	names, err := filepath.Glob(filepath.Join(dir, "*.swm"))
	if err != nil || len(names) < 3 {
		t.Fatalf("split made %v, %v", names, err)
	}
	return names
}

func openParts(t testing.TB, names []string) []Part {
	t.Helper()
	var parts []Part
	for _, n := range names {
		f, err := os.Open(n)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { f.Close() })
		st, err := f.Stat()
		if err != nil {
			t.Fatal(err)
		}
		parts = append(parts, Part{Name: filepath.Base(n), R: f, Size: st.Size()})
	}
	return parts
}

// TestSetAgainstWimlib reads split WIMs of all compressions, their parts in any
// order, and compares every file with the source and with what wimlib extracts.
func TestSetAgainstWimlib(t *testing.T) {
	tree := richTree(t)
	for _, v := range []struct{ name, size, args string }{
		{"none", "1", "--compress=none"},
		{"xpress", "0.5", "--compress=xpress"},
		{"lzx", "0.5", "--compress=lzx"},
		{"lzms", "0.5", "--compress=lzms"},
		{"pipable", "0.5", "--pipable"},
		{"integrity", "0.5", "--check"},
	} {
		t.Run(v.name, func(t *testing.T) {
			names := splitFile(t, tree, v.size, v.args)
			parts := openParts(t, names)
			rand.Shuffle(len(parts), func(i, j int) { parts[i], parts[j] = parts[j], parts[i] })
			r, err := OpenSet(parts)
			if err != nil {
				t.Fatal(err)
			}
			if i := r.Info(); i.Part != 0 || i.Parts != len(parts) || i.Integrity != (v.name == "integrity") {
				t.Errorf("%+v", i)
			}
			compareTree(t, image(t, r, 1), tree)
			compareExtracted(t, image(t, r, 1), names[0], 1, "--ref="+filepath.Join(filepath.Dir(names[0]), "*.swm"))
			if err := r.VerifyBlobs(context.Background(), 2, nil); err != nil {
				t.Error(err)
			}
			err = VerifySet(context.Background(), parts, 2, nil)
			if v.name == "integrity" && err != nil || v.name != "integrity" && !errors.Is(err, ErrNoIntegrity) {
				t.Error(err)
			}
			files, err := OpenFiles(names[1])
			if err != nil {
				t.Fatal(err)
			}
			defer files.Close()
			if len(files.Parts) != len(parts) {
				t.Errorf("%d of the %d parts were found", len(files.Parts), len(parts))
			}
		})
	}
}

// TestSetAttacks leaves parts out, gives them twice, and mixes two WIMs.
func TestSetAttacks(t *testing.T) {
	tree := richTree(t)
	names := splitFile(t, tree, "0.8", "--compress=none")
	parts := openParts(t, names)
	foreign := openParts(t, splitFile(t, tree, "0.8", "--compress=none"))
	whole := filepath.Join(t.TempDir(), "whole.wim")
	wimlib(t, "capture", tree, whole)
	n := len(parts)
	expect := func(what string, parts []Part, want error, text string) {
		t.Helper()
		for _, open := range []func([]Part) error{
			func(p []Part) error { _, err := OpenSet(p); return err },
			func(p []Part) error { _, err := DescribeSet(p); return err },
		} {
			if err := open(parts); want != nil && !errors.Is(err, want) || err == nil || !strings.Contains(err.Error(), text) {
				t.Errorf("%s: have %v, want %v with %q", what, err, want, text)
			}
		}
	}
	for i := range parts {
		expect("a part is missing", slices.Delete(slices.Clone(parts), i, i+1), ErrTruncated, fmt.Sprintf("part %d of the %d parts of this split WIM is missing", i+1, n))
		expect("one part", parts[i:i+1], ErrTruncated, "missing")
		if _, err := Open(parts[i].R, parts[i].Size); !errors.Is(err, ErrUnsupported) || !strings.Contains(err.Error(), fmt.Sprintf("part %d of the %d", i+1, n)) {
			t.Errorf("a part alone: %v", err)
		}
	}
	var missing *MissingPartsError
	if _, err := OpenSet(parts[:1]); !errors.As(err, &missing) || len(missing.Missing) != n-1 || missing.Total != n {
		t.Errorf("%+v", missing)
	}
	expect("none", nil, nil, "no parts")
	expect("twice", append(slices.Clone(parts), parts[1]), ErrCorrupt, "as another of the files is")
	mixed := slices.Clone(parts)
	mixed[1] = foreign[1]
	expect("another WIM's part", mixed, ErrCorrupt, "belongs to another WIM")
	expect("a WIM that is not split", append(openParts(t, []string{whole}), parts...), ErrCorrupt, "belongs to another WIM")
	// A part that lies about the number of parts.
	b := readFile(t, names[1])
	b[0x2a]++
	lie := filepath.Join(t.TempDir(), "lie.swm")
	if err := os.WriteFile(lie, b, 0o600); err != nil {
		t.Fatal(err)
	}
	mixed[1] = openParts(t, []string{lie})[0]
	expect("a lie", mixed, ErrCorrupt, "says that the WIM has")
}
