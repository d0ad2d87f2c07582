package bootenv

import (
	"debug/elf"
	"os"
	"path/filepath"
	"testing"
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
