package asset

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"castpoint/boot/winpe"
	"castpoint/internal/atomicfile"
)

// Limits of what is imported. iPXE's archive has 12 MB and some hundred files.
const (
	maxFile  = 64 << 20 // bytes
	maxTotal = 256 << 20
	maxFiles = 1000
)

// Options say what to import.
type Options struct {
	Path string // file, iPXE's archive, or folder
	Name string // of an asset that is not known; "" is made of the path
	// Trust are the SHA-256 hashes, in hexadecimal, of files that are taken although
	// they are not known. "all" takes everything.
	Trust []string
	Now   time.Time
}

// UnknownError names the files whose hash is neither known nor trusted.
type UnknownError struct {
	Files []File
}

func (e *UnknownError) Error() string {
	var lines []string
	for _, f := range e.Files {
		lines = append(lines, fmt.Sprintf("%s (sha256 %s)", f.Name, f.SHA256))
	}
	return fmt.Sprintf("not known by hash: %s. Compare with what its maker publishes, then say --trust HASH (or --trust all)", strings.Join(lines, ", "))
}

// member is a file that was read.
type member struct {
	name  string
	data  []byte
	known bool // with its archive
}

// Import takes boot programs into a folder of assets. Errors: *UnknownError; those
// of reading; an asset that is there already.
func Import(dir string, o Options) (*Asset, error) {
	st, err := os.Stat(o.Path)
	if err != nil {
		return nil, fmt.Errorf("import: %w", err)
	}
	a := &Asset{Source: filepath.Base(o.Path), Imported: o.Now.UTC()}
	var members []member
	if st.IsDir() {
		members, err = readFolder(o.Path)
	} else {
		members, err = readFile(o.Path, a)
	}
	if err != nil {
		return nil, fmt.Errorf("import %s: %w", o.Path, err)
	}
	if len(members) == 0 {
		return nil, fmt.Errorf("import %s: no boot program in it: want iPXE (.efi, .kpxe), wimboot, shim or GRUB (.efi, .efi.signed), or iPXE's ipxeboot.tar.gz", o.Path)
	}
	unknown := &UnknownError{}
	for i := range members {
		f, k := describe(&members[i])
		if !st.IsDir() && len(members) == 1 && f.Known && k.File != "" {
			f.Name, members[i].name = k.File, k.File // whatever it was called when it was fetched
		}
		switch {
		case f.Known && a.Name == "" && k.Name != "":
			a.Name, a.Version = k.Name, k.Version
		case !f.Known && !slices.Contains(o.Trust, "all") && !slices.ContainsFunc(o.Trust, func(t string) bool { return strings.EqualFold(t, f.SHA256) }):
			unknown.Files = append(unknown.Files, f)
		}
		a.Files = append(a.Files, f)
	}
	if len(unknown.Files) > 0 {
		return nil, fmt.Errorf("import %s: %w", o.Path, unknown)
	}
	a.ID = strings.ToLower(a.Name + "-" + a.Version)
	if !a.Known() || a.Version == "" {
		// Nothing that is only trusted bears the name of what is known.
		if a.Version = ""; o.Name != "" {
			a.Name = o.Name
		} else {
			a.Name, _, _ = strings.Cut(a.Source, ".")
		}
		a.ID = strings.ToLower(a.Name) + "-" + a.Files[0].SHA256[:8]
	}
	if !idText.MatchString(a.ID) {
		return nil, fmt.Errorf("import %s: %q cannot be its name: want letters, digits and .+~_-; give another with --name", o.Path, a.Name)
	}
	return a, a.write(dir, members)
}

// describe hashes a file and looks at who signed it.
func describe(m *member) (File, Known) {
	sum := sha256.Sum256(m.data)
	k, ok := known(sum[:])
	f := File{Name: m.name, Size: int64(len(m.data)), SHA256: hex.EncodeToString(sum[:]), Known: ok || m.known}
	// Most iPXE binaries are not signed, and BIOS programs never are.
	f.Signers, _ = winpe.ReadSigners(bytes.NewReader(m.data), f.Size)
	return f, k
}

// readFile reads a single program, or iPXE's archive.
func readFile(name string, a *Asset) ([]member, error) {
	data, err := readLimited(name)
	if err != nil {
		return nil, err
	}
	lower := strings.ToLower(name)
	switch {
	case strings.HasSuffix(lower, ".tar.gz"), strings.HasSuffix(lower, ".tgz"):
		sum := sha256.Sum256(data)
		k, ok := known(sum[:])
		a.Name, a.Version = k.Name, k.Version
		return readArchive(data, ok)
	case strings.HasSuffix(lower, ".deb"):
		return nil, fmt.Errorf("it is a Debian package: install it, or unpack it and import the files (dpkg-deb -x %s FOLDER)", filepath.Base(name))
	}
	base := filepath.Base(name)
	if !program(data) {
		return nil, errors.New("it is no boot program: neither an EFI program nor one for PXE BIOS")
	}
	return []member{{name: base, data: data}}, nil
}

func readLimited(name string) ([]byte, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err == nil && len(data) > maxFile {
		err = fmt.Errorf("%s has more than %d MiB: no boot program has", name, maxFile>>20)
	}
	return data, err
}

// program tells boot programs from texts and archives: EFI programs, wimboot and
// kernels begin with MZ, PXE programs with machine code, which no text has.
func program(data []byte) bool {
	if len(data) < 64 {
		return false
	}
	if data[0] == 'M' && data[1] == 'Z' {
		return true
	}
	return bytes.IndexByte(data[:64], 0) >= 0 && data[0] != 0x7f && data[0] != 'P' && data[0] != 0x1f && data[0] != '!'
}

// readFolder takes the boot programs of a folder and its sub-folders.
func readFolder(dir string) ([]member, error) {
	var list []member
	total := 0
	err := filepath.WalkDir(dir, func(p string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() || !wanted(p) {
			return err
		}
		if len(list) == maxFiles {
			return fmt.Errorf("more than %d files", maxFiles)
		}
		data, err := readLimited(p)
		if err != nil {
			return err
		}
		if total += len(data); total > maxTotal {
			return fmt.Errorf("more than %d MiB", maxTotal>>20)
		}
		rel, err := filepath.Rel(dir, p)
		if err == nil && program(data) {
			list = append(list, member{name: filepath.ToSlash(rel), data: data})
		}
		return err
	})
	return list, err
}

// wanted tells the names of boot programs.
func wanted(name string) bool {
	base := strings.ToLower(path.Base(filepath.ToSlash(name)))
	for _, end := range []string{".efi", ".efi.signed", ".kpxe", ".kkpxe", ".kkkpxe", ".pxe", ".lkrn"} {
		if strings.HasSuffix(base, end) {
			return true
		}
	}
	return strings.HasPrefix(base, "wimboot")
}

// readArchive reads iPXE's ipxeboot.tar.gz: ipxeboot/ARCH/FILE, and ARCH-sb for
// what is signed, with links such as snponly-shim.efi -> shimx64.efi. The shim
// takes the name of what it loads out of its own, so links become files.
func readArchive(data []byte, known bool) ([]member, error) {
	z, err := gzip.NewReader(bytes.NewReader(data))
	if err != nil {
		return nil, fmt.Errorf("it cannot be unpacked by gzip: %w", err)
	}
	files, links := map[string][]byte{}, map[string]string{}
	total := 0
	for r := tar.NewReader(io.LimitReader(z, maxTotal)); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, err
		}
		name := path.Clean(h.Name)
		if !fs.ValidPath(name) || !wanted(name) {
			continue
		}
		if _, rest, ok := strings.Cut(name, "/"); ok {
			name = rest // without ipxeboot/
		}
		switch h.Typeflag {
		case tar.TypeReg:
			b, err := io.ReadAll(io.LimitReader(r, maxFile))
			if err != nil {
				return nil, err
			}
			if total += len(b); len(files) == maxFiles || total > maxTotal {
				return nil, errors.New("it has too much in it for a boot archive")
			}
			files[name] = b
		case tar.TypeSymlink, tar.TypeLink:
			links[name] = path.Join(path.Dir(name), path.Base(h.Linkname))
		}
	}
	for name, to := range links {
		if b, ok := files[to]; ok {
			files[name] = b
		}
	}
	for _, as := range archiveNames {
		if b, ok := files[as[1]]; ok && files[as[0]] == nil {
			files[as[0]] = b
		}
	}
	var list []member
	for name, b := range files {
		if program(b) {
			list = append(list, member{name: name, data: b, known: known})
		}
	}
	slices.SortFunc(list, func(a, b member) int { return strings.Compare(a.name, b.name) })
	return list, nil
}

// archiveNames are the names by which machines ask for files of iPXE's archive.
// Some firmware loses the name of the shim, which then loads ipxe.efi from the root:
// that has to be the signed one, which starts without Secure Boot as well.
var archiveNames = [][2]string{
	{"undionly.kpxe", "x86_64/undionly.kpxe"},
	{"snponly.efi", "x86_64/snponly.efi"},
	{"ipxe.efi", "x86_64-sb/ipxe.efi"},
	{"ipxe.efi", "x86_64-sb/snponly.efi"},
	{"ipxe.efi", "x86_64/ipxe.efi"},
}

// write makes the asset's folder, whole or not at all.
func (a *Asset) write(dir string, members []member) (err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("import asset %s: %w", a.ID, err)
		}
	}()
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	final := filepath.Join(dir, a.ID)
	if _, err := os.Stat(final); err == nil {
		return fmt.Errorf("%w: remove it first (castpoint assets remove %s)", fs.ErrExist, a.ID)
	}
	temp, err := os.MkdirTemp(dir, tempPrefix)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(temp)) }()
	whole := filepath.Join(temp, a.ID)
	for _, m := range members {
		p := filepath.Join(whole, filesName, filepath.FromSlash(m.name))
		if err := os.MkdirAll(filepath.Dir(p), 0o755); err != nil {
			return err
		}
		if err := atomicfile.Write(p, m.data); err != nil {
			return err
		}
		if err := os.Chmod(p, 0o644); err != nil {
			return err
		}
	}
	record, err := json.MarshalIndent(a, "", "  ")
	if err != nil {
		return err
	}
	if err := atomicfile.Write(filepath.Join(whole, recordName), append(record, '\n')); err != nil {
		return err
	}
	if err := os.Rename(whole, final); err != nil {
		return err
	}
	return atomicfile.SyncDir(dir)
}
