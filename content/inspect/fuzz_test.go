package inspect

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unicode"

	"castpoint/content"
	"castpoint/test/image"
)

// FuzzKernel: a file that is said to be a kernel.
func FuzzKernel(f *testing.F) {
	f.Add(image.Kernel(1))
	f.Add(bytes.Repeat([]byte("MZ\x00\x00"), 200))
	arm := make([]byte, 0x300)
	copy(arm[0x38:], "ARM\x64")
	f.Add(arm)
	pe := make([]byte, 0x400)
	copy(pe, "MZ")
	pe[0x3c] = 0x80
	copy(pe[0x80:], "PE\x00\x00\x64\x86")
	pe[0x80+24+68] = 10
	f.Add(pe)
	pe = bytes.Clone(pe)
	copy(pe[0x3c:], "\xff\xff\xff\xff")
	f.Add(pe)
	f.Fuzz(func(t *testing.T, head []byte) {
		k, ok := describeKernel(head)
		if !ok {
			return
		}
		for _, r := range k.version {
			if r < ' ' || r > '~' {
				t.Fatalf("version %q", k.version)
			}
		}
	})
}

// FuzzInspect: a file that is said to be an image, a package or the loaders of one: an
// ISO image with a WIM in it, a WIM, or nothing of the kind. It is described, or refused,
// and nothing that it says of itself can move a cursor.
func FuzzInspect(f *testing.F) {
	small := image.Capture(f, 100, []string{"--compress=none"}, "Windows")
	packed := image.Capture(f, 100, nil, "One", "Two")
	media := f.TempDir()
	for _, file := range []string{small, packed} {
		b, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(uint8(0), b)
		f.Add(uint8(1), b)
		put(f, filepath.Join(media, "sources", "install.wim"), b)
	}
	for _, args := range [][]string{{"-udf", "-allow-limited-size"}, {"-J", "-R"}} {
		b, err := os.ReadFile(image.ISO(f, media, append(args, "-no-pad")...))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(uint8(2), b)
		f.Add(uint8(6), b)
	}
	f.Add(uint8(3), []byte("MZ"))
	dir := f.TempDir()
	f.Fuzz(func(t *testing.T, kind uint8, b []byte) {
		path := filepath.Join(dir, []string{"image.wim", "media.iso"}[kind>>1&1])
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
		req := content.AddRequest{Kind: []content.Kind{content.KindOSImage, content.KindBootImage}[kind&1], Path: path}
		if kind&4 != 0 {
			req.Kind = content.KindDriverPackage
		}
		c, err := Inspect(t.Context(), req)
		if err != nil {
			return
		}
		for _, text := range []string{c.Name, c.Version, c.Language, c.Arch} {
			if strings.ContainsFunc(text, unicode.IsControl) {
				t.Fatalf("%q", text)
			}
		}
	})
}
