package bootenv

import (
	"bytes"
	"compress/gzip"
	"debug/elf"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/klauspost/compress/zstd"
)

// FuzzProgram: programs of a package, whose ELF says what libraries they need.
func FuzzProgram(f *testing.F) {
	f.Add(elfFile(elf.EM_X86_64, "/lib64/ld-linux-x86-64.so.2"))
	f.Add(elfFile(elf.EM_AARCH64, ""))
	f.Add([]byte("\x7fELF\x02\x01\x01"))
	f.Add([]byte("#!/bin/sh\n"))
	path := filepath.Join(f.TempDir(), "program")
	f.Fuzz(func(t *testing.T, data []byte) {
		if err := os.WriteFile(path, data, 0o755); err != nil {
			t.Fatal(err)
		}
		p, err := readProgram(path)
		if err == nil && len(p.interp) > 4096 {
			t.Fatalf("a dynamic linker whose name has %d bytes", len(p.interp))
		}
	})
}

// FuzzModules: the lists that depmod has written name no file outside the folder of
// the kernel's modules.
func FuzzModules(f *testing.F) {
	f.Add([]byte("kernel/a.ko: kernel/b.ko.xz\nkernel/b.ko.xz:\n"), []byte("alias pci:v* a\n"), []byte("softdep a pre: b post: c\n"))
	f.Add([]byte("../../x.ko:\n"), []byte("alias\n"), []byte("softdep\n"))
	f.Add([]byte("kernel/a.ko: kernel/a.ko\n"), []byte("alias [ a\nalias * a\n"), []byte("softdep a pre: a"))
	dir := f.TempDir()
	f.Fuzz(func(t *testing.T, dep, alias, soft []byte) {
		for name, b := range map[string][]byte{"modules.dep": dep, "modules.alias": alias, "modules.softdep": soft} {
			if err := os.WriteFile(filepath.Join(dir, name), b, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		m, err := readModules(t.Context(), dir)
		if err != nil {
			return
		}
		for file, needs := range m.deps {
			for _, one := range append([]string{file}, needs...) {
				if !filepath.IsLocal(one) {
					t.Fatalf("%q", one)
				}
			}
		}
	})
}

// FuzzReadModule: packed modules of a kernel unpack to so much and no more.
func FuzzReadModule(f *testing.F) {
	var gz, zst bytes.Buffer
	g := gzip.NewWriter(&gz)
	_, err := g.Write(make([]byte, 4096))
	z, errZ := zstd.NewWriter(&zst)
	if err := errors.Join(err, g.Close(), errZ); err != nil {
		f.Fatal(err)
	}
	_, err = z.Write(make([]byte, 4096))
	if err := errors.Join(err, z.Close()); err != nil {
		f.Fatal(err)
	}
	f.Add(gz.Bytes(), true)
	f.Add(zst.Bytes(), false)
	f.Add(zst.Bytes()[:9], false)
	f.Add([]byte("\x1f\x8b"), true)
	dir := f.TempDir()
	f.Fuzz(func(t *testing.T, packed []byte, gz bool) {
		path := filepath.Join(dir, "a.ko.zst")
		if gz {
			path = filepath.Join(dir, "a.ko.gz")
		}
		if err := os.WriteFile(path, packed, 0o600); err != nil {
			t.Fatal(err)
		}
		b, err := readModule(t.Context(), path)
		if err != nil {
			return
		}
		if len(b) > 64<<20 {
			t.Fatalf("%d bytes", len(b))
		}
		_, _ = modinfo(b, "depends") // an error, or names
	})
}
