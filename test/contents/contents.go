// Package contents makes content libraries for tests of what is above them.
package contents

import (
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"castpoint/content"
	"castpoint/content/library"
)

// New is a library with the content "image" of one file.
func New(t testing.TB, size int, d content.Distribution) (*library.Library, *content.Content, []byte) {
	t.Helper()
	lib, err := library.OpenOptions(filepath.Join(t.TempDir(), "library"), library.Options{Reserve: -1})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = lib.Close() })
	ct, data := AddImage(t, lib, "image", size, d)
	return lib, ct, data
}

// AddImage adds a content of one file with bytes of no pattern.
func AddImage(t testing.TB, lib *library.Library, name string, size int, d content.Distribution) (*content.Content, []byte) {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "src")
	data := make([]byte, size)
	r := rand.NewChaCha8([32]byte{byte(size), byte(len(name))})
	_, _ = r.Read(data)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "image.bin"), data, 0o644); err != nil {
		t.Fatal(err)
	}
	ct, err := lib.Add(t.Context(), content.AddRequest{Kind: content.KindPackage, Path: dir, Name: name, Distribution: d})
	if err != nil {
		t.Fatal(err)
	}
	return ct, data
}

// Free may be sent by multicast and in any other way.
var Free = content.Distribution{Multicast: true}

// AddFolder adds a package of the given files.
func AddFolder(t testing.TB, lib *library.Library, name string, files map[string]string) *content.Content {
	t.Helper()
	dir := t.TempDir()
	for path, data := range files {
		path = filepath.Join(dir, filepath.FromSlash(path))
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(data), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	ct, err := lib.Add(t.Context(), content.AddRequest{Kind: content.KindPackage, Path: dir, Name: name, Distribution: Free})
	if err != nil {
		t.Fatal(err)
	}
	return ct
}
