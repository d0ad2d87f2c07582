package wim_test

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

	"castpoint/content/wim"
	"castpoint/test/wimfile"
)

// TestSetAgainstWimlib reads split WIMs of all compressions, their parts in any
// order, and compares every file with the source and with what wimlib extracts.
func TestSetAgainstWimlib(t *testing.T) {
	tree := wimfile.RichTree(t)
	for _, v := range []struct{ name, size, args string }{
		{"none", "1", "--compress=none"},
		{"xpress", "0.5", "--compress=xpress"},
		{"lzx", "0.5", "--compress=lzx"},
		{"lzms", "0.5", "--compress=lzms"},
		{"pipable", "0.5", "--pipable"},
		{"integrity", "0.5", "--check"},
	} {
		t.Run(v.name, func(t *testing.T) {
			names := wimfile.SplitFile(t, tree, v.size, v.args)
			parts := wimfile.OpenParts(t, names)
			rand.Shuffle(len(parts), func(i, j int) { parts[i], parts[j] = parts[j], parts[i] })
			r, err := wim.OpenSet(parts)
			if err != nil {
				t.Fatal(err)
			}
			if i := r.Info(); i.Part != 0 || i.Parts != len(parts) || i.Integrity != (v.name == "integrity") {
				t.Errorf("%+v", i)
			}
			compareTree(t, wimfile.Image(t, r, 1), tree)
			compareExtracted(t, wimfile.Image(t, r, 1), names[0], 1, "--ref="+filepath.Join(filepath.Dir(names[0]), "*.swm"))
			if err := r.VerifyBlobs(context.Background(), 2, nil); err != nil {
				t.Error(err)
			}
			files, err := wim.OpenFiles(names[1])
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
	tree := wimfile.RichTree(t)
	names := wimfile.SplitFile(t, tree, "0.8", "--compress=none")
	parts := wimfile.OpenParts(t, names)
	foreign := wimfile.OpenParts(t, wimfile.SplitFile(t, tree, "0.8", "--compress=none"))
	whole := filepath.Join(t.TempDir(), "whole.wim")
	wimfile.Wimlib(t, "capture", tree, whole)
	n := len(parts)
	expect := func(what string, parts []wim.Part, want error, text string) {
		t.Helper()
		for _, open := range []func([]wim.Part) error{
			func(p []wim.Part) error { _, err := wim.OpenSet(p); return err },
			func(p []wim.Part) error { _, err := wim.DescribeSet(p); return err },
		} {
			if err := open(parts); want != nil && !errors.Is(err, want) || err == nil || !strings.Contains(err.Error(), text) {
				t.Errorf("%s: have %v, want %v with %q", what, err, want, text)
			}
		}
	}
	for i := range parts {
		expect("a part is missing", slices.Delete(slices.Clone(parts), i, i+1), wim.ErrTruncated, fmt.Sprintf("part %d of the %d parts of this split WIM is missing", i+1, n))
		expect("one part", parts[i:i+1], wim.ErrTruncated, "missing")
		if _, err := wim.Open(parts[i].R, parts[i].Size); !errors.Is(err, wim.ErrUnsupported) || !strings.Contains(err.Error(), fmt.Sprintf("part %d of the %d", i+1, n)) {
			t.Errorf("a part alone: %v", err)
		}
	}
	var missing *wim.MissingPartsError
	if _, err := wim.OpenSet(parts[:1]); !errors.As(err, &missing) || len(missing.Missing) != n-1 || missing.Total != n {
		t.Errorf("%+v", missing)
	}
	expect("none", nil, nil, "no parts")
	expect("twice", append(slices.Clone(parts), parts[1]), wim.ErrCorrupt, "as another of the files is")
	mixed := slices.Clone(parts)
	mixed[1] = foreign[1]
	expect("another WIM's part", mixed, wim.ErrCorrupt, "belongs to another WIM")
	expect("a WIM that is not split", append(wimfile.OpenParts(t, []string{whole}), parts...), wim.ErrCorrupt, "belongs to another WIM")
	// A part that lies about the number of parts.
	b := wimfile.ReadFile(t, names[1])
	b[0x2a]++
	lie := filepath.Join(t.TempDir(), "lie.swm")
	if err := os.WriteFile(lie, b, 0o600); err != nil {
		t.Fatal(err)
	}
	mixed[1] = wimfile.OpenParts(t, []string{lie})[0]
	expect("a lie", mixed, wim.ErrCorrupt, "says that the WIM has")
}
