package wim_test

import (
	"bytes"
	"context"
	"crypto/sha1"
	"errors"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"castpoint/content/wim"
	"castpoint/content/wim/metadata"
	"castpoint/test/wimfile"
)

// readVariants are the kinds of WIM whose files Open reads.
var readVariants = []struct {
	name string
	args []string
}{
	{"none", []string{"--compress=none"}},
	{"xpress", []string{"--compress=xpress"}},
	{"xpress-4k", []string{"--compress=xpress", "--chunk-size=4096"}},
	{"xpress-64k", []string{"--compress=xpress", "--chunk-size=65536"}},
	{"xpress-best", []string{"--compress=xpress:100"}},
	{"lzx", []string{"--compress=lzx"}},
	{"lzx-fast", []string{"--compress=lzx:20"}},
	{"lzx-64k", []string{"--compress=lzx", "--chunk-size=65536"}},
	{"lzx-256k", []string{"--compress=lzx", "--chunk-size=262144"}},
	{"lzx-2m", []string{"--compress=lzx", "--chunk-size=2097152"}},
	{"pipable-lzx", []string{"--pipable"}},
	{"pipable-xpress", []string{"--pipable", "--compress=xpress"}},
	{"pipable-none", []string{"--pipable", "--compress=none"}},
	{"boot-lzx", []string{"--compress=lzx", "--boot", "--check"}},
	{"lzms", []string{"--compress=lzms"}},
	{"lzms-32k", []string{"--compress=lzms", "--chunk-size=32768"}},
	{"lzms-1m", []string{"--compress=lzms:20", "--chunk-size=1048576"}},
	{"lzms-64m", []string{"--compress=lzms:60", "--chunk-size=67108864"}},
	{"solid", []string{"--solid"}},
	{"solid-fast", []string{"--solid", "--solid-compress=lzms:20", "--compress=none"}},
	{"solid-64k", []string{"--solid", "--solid-chunk-size=65536"}},
	{"solid-1m", []string{"--solid", "--solid-chunk-size=1048576", "--check"}},
	{"solid-lzx", []string{"--solid", "--solid-compress=lzx", "--compress=lzx"}},
	{"solid-lzx-32k", []string{"--solid", "--solid-compress=lzx", "--solid-chunk-size=32768", "--compress=xpress"}},
	{"solid-xpress", []string{"--solid", "--solid-compress=xpress", "--solid-chunk-size=4096"}},
}

// TestReadAgainstWimlib reads every file of every variant and compares it with
// the source and with what wimlib says of it.
func TestReadAgainstWimlib(t *testing.T) {
	tree := wimfile.RichTree(t)
	for _, v := range readVariants {
		t.Run(v.name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "image.wim")
			wimfile.Wimlib(t, append([]string{"capture", tree, file, "image"}, v.args...)...)
			r := wimfile.OpenFile(t, file)
			compareTree(t, wimfile.Image(t, r, 1), tree)
			wimfile.CompareDir(t, wimfile.Image(t, r, 1), file, 1)
			compareExtracted(t, wimfile.Image(t, r, 1), file, 1)
			var last, total int64
			err := r.VerifyBlobs(context.Background(), 2, func(done, all int64) {
				if done < last || done > all {
					t.Errorf("progress went from %d to %d of %d", last, done, all)
				}
				last, total = done, all
			})
			if err != nil || last != total || total < 3_500_000 {
				t.Errorf("verify: %v, %d of %d", err, last, total)
			}
		})
	}
}

// compareTree compares an image with the folder that it was made of.
func compareTree(t *testing.T, tree *wim.Tree, dir string) {
	t.Helper()
	want := map[string]bool{}
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		rel, _ := filepath.Rel(dir, path)
		want["/"+strings.TrimPrefix(rel, ".")] = true
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	err = tree.Walk(func(path string, e wim.Entry) error {
		if !want[path] {
			t.Errorf("%s is not in the source", path)
		}
		delete(want, path)
		st, err := os.Lstat(filepath.Join(dir, path))
		if err != nil {
			return err
		}
		if st.IsDir() != e.IsDir() {
			t.Errorf("%s: attributes %#x", path, e.Attributes)
		}
		// The image has 100 ns.
		if want := st.ModTime().Truncate(100 * time.Nanosecond); !e.Modified.Equal(want) {
			t.Errorf("%s: modified %v, want %v", path, e.Modified, want)
		}
		if st.Mode()&fs.ModeSymlink != 0 {
			if e.ReparseTag != metadata.ReparseSymlink || len(e.Streams) == 0 || e.Streams[0].Kind != metadata.StreamReparsePoint {
				t.Errorf("%s: %+v", path, e)
			}
			if _, err := tree.Open(path); !errors.Is(err, fs.ErrInvalid) {
				t.Errorf("%s: open gives %v", path, err)
			}
			return nil
		}
		if !st.Mode().IsRegular() {
			return nil
		}
		data, err := os.ReadFile(filepath.Join(dir, path))
		if err != nil {
			return err
		}
		compareFile(t, tree, path, data)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for path := range want {
		t.Errorf("%s is missing", path)
	}
}

// compareFile reads a file as a whole, in order with the check, and at random.
func compareFile(t *testing.T, tree *wim.Tree, path string, want []byte) {
	t.Helper()
	b, err := tree.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	if b.Size() != int64(len(want)) {
		t.Fatalf("%s: size %d, want %d", path, b.Size(), len(want))
	}
	if len(want) > 0 && b.Hash() != sha1.Sum(want) || len(want) == 0 && b.Hash() != (wim.Hash{}) {
		t.Errorf("%s: hash %v", path, b.Hash())
	}
	have, err := io.ReadAll(b.Reader())
	if err != nil || !bytes.Equal(have, want) {
		t.Fatalf("%s: %v, same %v", path, err, bytes.Equal(have, want))
	}
	have, err = tree.ReadFile(path, int64(len(want)))
	if err != nil || !bytes.Equal(have, want) {
		t.Fatalf("%s: ReadFile: %v", path, err)
	}
	rng := rand.New(rand.NewPCG(3, 4))
	for range 5 {
		off := rng.Int64N(int64(len(want)) + 10)
		p := make([]byte, rng.IntN(100_000))
		n, err := b.ReadAt(p, off)
		rest := want[min(off, int64(len(want))):]
		rest = rest[:min(len(rest), len(p))]
		if !bytes.Equal(p[:n], rest) || n < len(p) && !errors.Is(err, io.EOF) || err != nil && !errors.Is(err, io.EOF) {
			t.Fatalf("%s: %d bytes at %d: %d, %v", path, len(p), off, n, err)
		}
	}
}
