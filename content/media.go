package content

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"castpoint/content/iso"
	"castpoint/content/wim"
)

// source is one file to be added, as it was when it was inspected: a file of this
// host, or one inside an ISO image or a WIM.
type source struct {
	role Role
	name string // within the content
	path string // of the file, or of the ISO image
	info os.FileInfo
	size int64     // bytes
	from *iso.File // within the image; nil for the file itself
	pack []byte    // its bytes, out of a WIM; nil for others
	wim  bool      // check its integrity table while it is copied

	there int64 // bytes of it that an interrupted addition has left on the disk
}

// at is the source's bytes in the opened file.
func (s *source) at(f *os.File) io.ReaderAt {
	switch {
	case s.pack != nil:
		return bytes.NewReader(s.pack)
	case s.from != nil:
		return s.from.Open(f)
	}
	return f
}

// inside is where the source is in its file; "" for a whole file.
func (s *source) inside() string {
	switch {
	case s.pack != nil:
		return s.name
	case s.from != nil:
		return s.from.Path
	}
	return ""
}

// whole says whether the source is a file, and not a part of one.
func (s *source) whole() bool { return s.from == nil && s.pack == nil }

// sparse says whether the source has holes worth keeping.
func (s *source) sparse() bool { return s.whole() && diskBytes(s.info) < s.size/8*7 }

// need is the disk space that a copy still takes.
func (s *source) need() int64 {
	size := s.size
	if s.sparse() {
		size = diskBytes(s.info)
	}
	return max(size-s.there, 0)
}

// text names the source for people.
func (s *source) text() string {
	if inside := s.inside(); inside != "" {
		return s.path + ": " + inside
	}
	return s.path
}

// open opens a source that has been inspected a moment ago.
func (s *source) open() (*os.File, error) {
	f, _, err := openSource(s.path)
	return f, err
}

// fileSource makes a source of a file that is open.
func fileSource(role Role, path string, info os.FileInfo) source {
	return source{role: role, name: filepath.Base(path), path: path, info: info, size: info.Size()}
}

// openISO lists the files of an ISO image. ok is false when path is no such
// image, or cannot be opened, which whoever expects something else will find out.
func openISO(path string) (_ *iso.Image, _ os.FileInfo, ok bool, _ error) {
	f, info, err := openSource(path)
	if err != nil {
		return nil, nil, false, nil
	}
	defer f.Close()
	if !iso.Sniff(f) {
		return nil, nil, false, nil
	}
	img, err := iso.Open(f, info.Size())
	if errors.Is(err, iso.ErrNotISO) {
		return nil, nil, false, nil
	}
	if err != nil {
		return nil, nil, true, fmt.Errorf("%w file %s: %w", ErrFile, path, err)
	}
	return img, info, true, nil
}

// listISO lists the files of an ISO image as those of a folder.
func listISO(path string) (sources []source, ok bool, err error) {
	img, info, ok, err := openISO(path)
	if !ok || err != nil {
		return nil, ok, err
	}
	for i := range img.Files {
		f := &img.Files[i]
		if f.Special != "" {
			return nil, true, fmt.Errorf("%w file %s: %s is a %s, only files and folders can be added", ErrFile, path, f.Path, f.Special)
		}
		sources = append(sources, source{role: RoleFile, name: f.Path, path: path, info: info, size: f.Size, from: f})
	}
	return sources, true, nil
}

// listFolder lists the files of a folder in lexical order.
func listFolder(ctx context.Context, dir string, kind Kind) (sources []source, err error) {
	err = filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err == nil {
			err = context.Cause(ctx)
		}
		if err != nil {
			return err
		}
		if path == dir {
			if !e.IsDir() {
				return fmt.Errorf("%w path %s: contents of kind %s are added as a folder or an ISO image", ErrFile, path, kind)
			}
			return nil
		}
		rel, err := filepath.Rel(dir, path)
		if err != nil {
			return err
		}
		rel = filepath.ToSlash(rel)
		if e.IsDir() {
			return checkFolderName(rel)
		}
		if !e.Type().IsRegular() {
			return fmt.Errorf("%w file %s: it is a %s, only files and folders can be added", ErrFile, path, typeName(e.Type()))
		}
		info, err := e.Info()
		if err != nil {
			return err
		}
		if len(sources) > maxFiles {
			return nil // counted, and refused, by the caller
		}
		sources = append(sources, source{role: RoleFile, name: rel, path: path, info: info, size: info.Size()})
		return nil
	})
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrPermission) {
		err = fmt.Errorf("%w folder: %w", ErrFile, err)
	}
	return sources, err
}

// Files of Windows installation media.
var (
	mediaInstall = []string{"sources/install.wim", "sources/install.esd", "sources/install.swm"}
	mediaBoot    = []string{"sources/boot.wim"}
)

// imageSource finds the WIM of an OS image or boot image: the file itself, or
// the one inside installation media. More are the boot files beside a boot
// image, which its WIM need not have, or the other parts of a split WIM.
func imageSource(path string, kind Kind) (s source, more []source, err error) {
	img, info, ok, err := openISO(path)
	if err != nil {
		return s, nil, err
	}
	if !ok {
		f, info, err := openSource(path)
		if err != nil {
			return s, nil, err
		}
		defer f.Close()
		s = fileSource(RoleImage, path, info)
		if kind == KindOSImage {
			return splitSources(s, f, func(take func(source, *os.File) error) error { return beside(path, take) })
		}
		return s, nil, nil
	}
	names := mediaInstall
	if kind == KindBootImage {
		names = mediaBoot
	}
	for _, name := range names {
		f, ok := img.Find(name)
		if !ok || f.Special != "" {
			continue
		}
		s = source{role: RoleImage, name: baseOf(f.Path), path: path, info: info, size: f.Size, from: f}
		if kind == KindBootImage {
			return s, bootFiles(img, path, info), nil
		}
		file, _, err := openSource(path)
		if err != nil {
			return s, nil, err
		}
		defer file.Close()
		return splitSources(s, file, func(take func(source, *os.File) error) error {
			for i := range img.Files {
				o := &img.Files[i]
				if o.Path == f.Path || o.Special != "" || !sameFolder(o.Path, f.Path) {
					continue
				}
				part := source{role: RolePart, name: baseOf(o.Path), path: path, info: info, size: o.Size, from: o}
				if err := take(part, file); err != nil {
					return err
				}
			}
			return nil
		})
	}
	return s, nil, fmt.Errorf("%w file %s: the ISO image is not of Windows installation media: no %s in it", ErrFile, path, strings.Join(names, ", "))
}

// bootFiles are the boot managers, boot.sdi, fonts and policies of installation
// media: everything in the folders boot and efi, and the boot managers at the top.
func bootFiles(img *iso.Image, path string, info os.FileInfo) (sources []source) {
	for i := range img.Files {
		f := &img.Files[i]
		top, _, deeper := strings.Cut(strings.ToLower(f.Path), "/")
		wanted := deeper && (top == "boot" || top == "efi") || !deeper && strings.HasPrefix(top, "bootmgr")
		if wanted && f.Special == "" {
			sources = append(sources, source{role: RoleFile, name: f.Path, path: path, info: info, size: f.Size, from: f})
		}
	}
	return sources
}

func baseOf(p string) string { return p[strings.LastIndexByte(p, '/')+1:] }

// maxLoader is the largest boot file that is kept beside a boot image, in bytes.
const maxLoader = 64 << 20

// addLoaders adds the boot files of req.Loaders to the sources of a boot image, in
// place of those of the same name: boot managers, boot.sdi, fonts and policies. A
// folder may hold much else.
func addLoaders(ctx context.Context, sources []source, req AddRequest) ([]source, error) {
	if req.Kind != KindBootImage {
		return nil, fmt.Errorf("%w request: only a boot image has loaders", ErrInvalid)
	}
	info, err := os.Stat(req.Loaders)
	if err != nil {
		return nil, fmt.Errorf("%w loaders: %w", ErrFile, err)
	}
	var more []source
	img, isoInfo, isISO, err := openISO(req.Loaders)
	switch {
	case err != nil:
		return nil, err
	case isISO:
		more = bootFiles(img, req.Loaders, isoInfo)
	case info.IsDir():
		if more, err = listFolder(ctx, req.Loaders, req.Kind); err != nil {
			return nil, err
		}
	default:
		if more, err = packedLoaders(req.Loaders); err != nil {
			return nil, err
		}
		if more == nil {
			more = []source{fileSource(RoleFile, req.Loaders, info)}
		}
	}
	more = slices.DeleteFunc(more, func(s source) bool { return !bootFile(s.name) || s.size > maxLoader })
	if len(more) == 0 {
		return nil, fmt.Errorf("%w loaders %s: no boot files in it: want bootmgfw.efi, boot.sdi, fonts and so on, by these names", ErrFile, req.Loaders)
	}
	sources = slices.DeleteFunc(sources, func(s source) bool {
		return s.role == RoleFile && slices.ContainsFunc(more, func(m source) bool { return strings.EqualFold(m.name, s.name) })
	})
	return append(sources, more...), nil
}

// maxPacked bounds what is taken out of a WIM in all, in bytes: boot managers,
// fonts and messages of an image are 40 MB.
const maxPacked = 256 << 20

// packedLoaders are the boot files in a WIM: what its first image has below
// Windows/Boot. It returns none for a file that is no WIM.
func packedLoaders(path string) (sources []source, err error) {
	f, info, err := openSource(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	fail := func(err error) error { return fmt.Errorf("%w loaders %s: %w", ErrFile, path, err) }
	r, err := wim.Open(f, info.Size())
	if errors.Is(err, wim.ErrNotWIM) {
		return nil, nil
	}
	if err != nil {
		return nil, fail(err)
	}
	tree, err := r.Image(1)
	if err != nil {
		return nil, fail(err)
	}
	var total int64
	err = tree.Walk(func(name string, e wim.Entry) error {
		name = strings.TrimPrefix(name, "/")
		if e.IsDir() {
			if lower := strings.ToLower(name); name == "" || name == "/" || lower == "windows" || lower == "windows/boot" || strings.HasPrefix(lower, "windows/boot/") {
				return nil
			}
			return fs.SkipDir
		}
		if !strings.HasPrefix(strings.ToLower(name), "windows/boot/") || !bootFile(name) {
			return nil
		}
		b, err := tree.Open(name)
		if err != nil {
			return err
		}
		if b.Size() > maxLoader {
			return nil
		}
		if total += b.Size(); total > maxPacked {
			return fmt.Errorf("its boot files are more than %d MiB", maxPacked>>20)
		}
		pack, err := io.ReadAll(b.Reader())
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		sources = append(sources, source{role: RoleFile, name: name, path: path, info: info, size: b.Size(), pack: pack})
		return nil
	})
	if err != nil {
		return nil, fail(err)
	}
	if sources == nil {
		return nil, fail(errors.New("its first image has no boot files (Windows/Boot)"))
	}
	return sources, nil
}

// bootFile tells the names of boot files from others that lie beside them.
func bootFile(name string) bool {
	name = strings.ToLower(name)
	if base := baseOf(name); strings.HasPrefix(base, "bootmgr") || strings.HasPrefix(base, "pxeboot.") {
		return true
	}
	for _, top := range []string{"sources/", "support/"} {
		if strings.HasPrefix(name, top) {
			return false
		}
	}
	return slices.Contains([]string{".efi", ".sdi", ".stl", ".ttf", ".p7b", ".pol", ".com", ".n12", ".mui"}, filepath.Ext(name))
}
