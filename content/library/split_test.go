package library

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"castpoint/content"
	"castpoint/content/wim"
	"castpoint/test/image"
)

// splitWIM makes a split WIM of three parts, with integrity tables.
func splitWIM(t testing.TB) []string {
	t.Helper()
	tree := t.TempDir()
	rng := rand.NewChaCha8([32]byte{5})
	for i := range 5 {
		data := make([]byte, 100_000)
		_, _ = rng.Read(data)
		writeFile(t, filepath.Join(tree, fmt.Sprintf("file%d", i)), data)
	}
	dir := t.TempDir()
	whole := filepath.Join(t.TempDir(), "whole.wim")
	for _, args := range [][]string{
		{"capture", tree, whole, "Split Image", "--check", "--image-property=WINDOWS/ARCH=9"},
		{"split", whole, filepath.Join(dir, "install.swm"), "0.25", "--check"},
	} {
		if out, err := exec.Command("wimlib-imagex", args...).CombinedOutput(); err != nil {
			t.Fatalf("wimlib-imagex %v: %v\n%s", args, err, out)
		}
	}
	parts := []string{filepath.Join(dir, "install.swm"), filepath.Join(dir, "install2.swm"), filepath.Join(dir, "install3.swm")}
	if files, err := os.ReadDir(dir); err != nil || len(files) != len(parts) {
		t.Fatalf("the WIM has %d parts: %v", len(files), err)
	}
	return parts
}

// A split WIM is one content, whichever part is named, from a folder, an ISO
// image or setup media, and is repaired part by part.
func TestAddSplit(t *testing.T) {
	parts := splitWIM(t)
	writeFile(t, filepath.Join(filepath.Dir(parts[0]), "other.swm"), []byte("no WIM"))
	l := openLibrary(t, t.TempDir())
	media := t.TempDir()
	writeFile(t, filepath.Join(media, "setup.exe"), []byte("MZ"))
	for _, p := range parts {
		writeFile(t, filepath.Join(media, "sources", filepath.Base(p)), readFile(t, p))
	}
	iso := image.ISO(t, media, "-udf", "-allow-limited-size")
	for name, path := range map[string]string{"first": parts[0], "second": parts[1], "third": parts[2], "ISO": iso} {
		c := add(t, l, content.AddRequest{Kind: content.KindOSImage, Path: path, Name: name})
		if len(c.Files) != 3 || c.Files[0].Role != content.RoleImage || c.Files[1].Role != content.RolePart || c.Files[2].Role != content.RolePart {
			t.Fatalf("%s: %+v", name, c.Files)
		}
		for i, f := range c.Files {
			if f.Name != filepath.Base(parts[i]) {
				t.Errorf("%s: file %d is %s", name, i, f.Name)
			}
		}
		if !c.Integrity || c.Arch != "amd64" || len(c.Images) != 1 || c.Images[0].Name != "Split Image" || !strings.Contains(strings.Join(c.Unusual, ""), "3 parts") {
			t.Errorf("%s: %+v", name, c)
		}
		// What is stored is the WIM.
		var stored []wim.Part
		for _, f := range c.Files {
			b := readFile(t, objectPath(l, f.Digest))
			stored = append(stored, wim.Part{Name: f.Name, R: bytes.NewReader(b), Size: int64(len(b))})
		}
		r, err := wim.OpenSet(stored)
		if err != nil {
			t.Fatal(err)
		}
		if err := r.VerifyBlobs(context.Background(), 2, nil); err != nil {
			t.Error(err)
		}
		spoil(t, objectPath(l, c.Files[1].Digest), 1000)
		from, err := OriginalsAt(c, c.Source, "")
		if err != nil {
			t.Fatal(err)
		}
		if v, err := l.Repair(context.Background(), c.ID, from, nil); err != nil || v.Err() != nil {
			t.Errorf("%s: repair: %v %v", name, err, v)
		}
	}
	for name, path := range map[string]string{"folder": media, "media": iso} {
		c := add(t, l, content.AddRequest{Kind: content.KindOSUpgrade, Path: path, Name: name})
		if len(c.Files) != 4 || !c.Integrity || len(c.Images) != 1 {
			t.Errorf("%s: %+v", name, c)
		}
	}
	consistent(t, l)
	if err := os.Remove(filepath.Join(media, "sources", "install2.swm")); err != nil {
		t.Fatal(err)
	}
	if _, err := l.Add(context.Background(), content.AddRequest{Kind: content.KindOSUpgrade, Path: media, Name: "gap"}); err == nil || !strings.Contains(err.Error(), "part 2 of the 3") {
		t.Errorf("a missing part: %v", err)
	}
}

// What is unusual about a WIM is said when it is added.
func TestUnusual(t *testing.T) {
	l := openLibrary(t, t.TempDir())
	for name, c := range map[string]struct {
		args []string
		want []string
	}{
		"usual":   {[]string{"--check"}, nil},
		"table":   {nil, []string{"no integrity table"}},
		"pipable": {[]string{"--check", "--pipable"}, []string{"pipable"}},
		"solid":   {[]string{"--check", "--solid"}, []string{"solid lzms"}},
		"LZMS":    {[]string{"--check", "--compress=lzms"}, []string{"lzms"}},
		"chunks":  {[]string{"--check", "--chunk-size=1M"}, []string{"1024 KiB"}},
	} {
		ct := add(t, l, content.AddRequest{Kind: content.KindOSImage, Path: image.Capture(t, 1000+len(name), c.args, name)})
		if len(ct.Unusual) != len(c.want) {
			t.Errorf("%s: %q", name, ct.Unusual)
			continue
		}
		for i, w := range c.want {
			if !strings.Contains(ct.Unusual[i], w) {
				t.Errorf("%s: %q", name, ct.Unusual)
			}
		}
	}
}
