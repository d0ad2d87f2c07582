package bootenv

import (
	"debug/elf"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"
)

// machines are the ELF machine numbers of the architectures a boot environment
// is built for.
var machines = map[string]elf.Machine{
	"amd64": elf.EM_X86_64,
	"arm64": elf.EM_AARCH64,
}

// program is what an ELF file says of itself.
type program struct {
	path    string
	machine elf.Machine
	interp  string   // the dynamic linker; "" when static
	needed  []string // DT_NEEDED: names of shared libraries
	runpath []string // DT_RUNPATH, else DT_RPATH, with $ORIGIN put in
}

// readProgram reads a program or a shared library.
func readProgram(path string) (*program, error) {
	f, err := elf.Open(path)
	if err != nil {
		var disk *fs.PathError
		if errors.As(err, &disk) {
			return nil, err
		}
		return nil, fmt.Errorf("%s is not a Linux program (ELF): %w", path, err)
	}
	defer f.Close()
	p := &program{path: path, machine: f.Machine}
	for _, ph := range f.Progs {
		if ph.Type != elf.PT_INTERP {
			continue
		}
		if ph.Filesz > 4096 {
			return nil, fmt.Errorf("%s: name of the dynamic linker is %d bytes long", path, ph.Filesz)
		}
		buf := make([]byte, ph.Filesz)
		if _, err := ph.ReadAt(buf, 0); err != nil {
			return nil, fmt.Errorf("%s: read the name of the dynamic linker: %w", path, err)
		}
		p.interp = strings.TrimRight(string(buf), "\x00")
	}
	if p.needed, err = f.ImportedLibraries(); err != nil {
		return nil, fmt.Errorf("%s: read the list of libraries: %w", path, err)
	}
	run, err := f.DynString(elf.DT_RUNPATH)
	if err == nil && len(run) == 0 {
		run, err = f.DynString(elf.DT_RPATH)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: read the library path: %w", path, err)
	}
	for _, dir := range strings.FieldsFunc(strings.Join(run, ":"), func(r rune) bool { return r == ':' }) {
		dir = strings.NewReplacer("${ORIGIN}", filepath.Dir(path), "$ORIGIN", filepath.Dir(path)).Replace(dir)
		p.runpath = append(p.runpath, dir)
	}
	return p, nil
}

// libraries finds every shared library that a program needs, those of its
// libraries too: name -> path on this machine. dirs are searched after each
// file's own path.
func libraries(p *program, dirs []string) (map[string]string, error) {
	found := map[string]string{}
	queue := []*program{p}
	for len(queue) > 0 {
		cur := queue[0]
		queue = queue[1:]
		for _, name := range cur.needed {
			if _, ok := found[name]; ok {
				continue
			}
			lib, err := findLibrary(name, slices.Concat(cur.runpath, dirs), p.machine)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", cur.path, err)
			}
			found[name] = lib.path
			queue = append(queue, lib)
		}
	}
	return found, nil
}

func findLibrary(name string, dirs []string, machine elf.Machine) (*program, error) {
	if strings.ContainsRune(name, '/') {
		dirs, name = []string{filepath.Dir(name)}, filepath.Base(name)
	}
	for _, dir := range dirs {
		lib, err := readProgram(filepath.Join(dir, name))
		if err != nil || lib.machine != machine {
			continue // not there, a linker script, or for another processor
		}
		return lib, nil
	}
	return nil, fmt.Errorf("shared library %s not found in %s", name, strings.Join(dirs, ", "))
}

// libraryDirs are the folders the dynamic linker of this machine searches:
// those of /etc/ld.so.conf, then the ones built in.
func libraryDirs() []string {
	dirs := ldConf("/etc/ld.so.conf", 0)
	for _, triplet := range []string{"x86_64-linux-gnu", "aarch64-linux-gnu"} {
		dirs = append(dirs, "/lib/"+triplet, "/usr/lib/"+triplet)
	}
	return append(dirs, "/lib64", "/usr/lib64", "/lib", "/usr/lib")
}

// ldConf reads one file of ld.so.conf's format: a folder or "include PATTERN"
// on a line.
func ldConf(name string, depth int) []string {
	lines, err := readLines(name)
	if err != nil || depth > 4 {
		return nil
	}
	var dirs []string
	for _, line := range lines {
		pattern, isInclude := strings.CutPrefix(line, "include ")
		if !isInclude {
			if filepath.IsAbs(line) {
				dirs = append(dirs, line)
			}
			continue
		}
		pattern = strings.TrimSpace(pattern)
		if !filepath.IsAbs(pattern) {
			pattern = filepath.Join(filepath.Dir(name), pattern)
		}
		files, err := filepath.Glob(pattern)
		if err != nil {
			continue // a broken pattern names no files
		}
		for _, f := range files {
			dirs = append(dirs, ldConf(f, depth+1)...)
		}
	}
	return dirs
}

// addTool puts a program below a root file system into the tree at its own path,
// with the dynamic linker at the path the program names and its libraries beside
// the C library, where that linker looks without being told.
func addTool(t *tree, root, path string, machine elf.Machine, dirs []string) error {
	real, err := inRoot(root, path)
	if err != nil {
		return fmt.Errorf("tool: %w", err)
	}
	p, err := readProgram(real)
	if err != nil {
		return fmt.Errorf("tool: %w", err)
	}
	if p.machine != machine {
		return fmt.Errorf("tool %s is for %s, the boot environment for %s", path, p.machine, machine)
	}
	t.file(path, 0o755, real)
	if p.interp == "" && len(p.needed) == 0 {
		return nil
	}
	libs, err := libraries(p, dirs)
	if err != nil {
		return fmt.Errorf("tool: %w", err)
	}
	if p.interp != "" {
		linker, err := inRoot(root, p.interp)
		if errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("tool %s: its dynamic linker %s is not in %s", path, p.interp, root)
		}
		if err != nil {
			return fmt.Errorf("tool %s: %w", path, err)
		}
		t.file(p.interp, 0o755, linker)
	}
	into := "/lib"
	if libc, ok := libs["libc.so.6"]; ok {
		into = filepath.Join("/", strings.TrimPrefix(filepath.Dir(libc), filepath.Clean(root)))
	}
	for name, lib := range libs {
		if dest := filepath.Join(into, filepath.Base(name)); !t.has(dest) {
			t.file(dest, 0o755, lib)
		}
	}
	return nil
}
