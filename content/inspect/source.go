package inspect

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

	"castpoint/content"
	"castpoint/content/iso"
	"castpoint/content/wim"
)

// Source is one file to be added, as it was when it was inspected: a file of this
// host, or one inside an ISO image or a WIM.
type Source struct {
	Role content.Role
	Name string // within the content
	Path string // of the file, or of the ISO image
	Info os.FileInfo
	Size int64     // bytes
	from *iso.File // within the image; nil for the file itself
	pack []byte    // its bytes, out of a WIM; nil for others
	WIM  bool      // check its integrity table while it is copied

	There int64 // bytes of it that an interrupted addition has left on the disk
}

// At is the source's bytes in the opened file.
func (s *Source) At(f *os.File) io.ReaderAt {
	switch {
	case s.pack != nil:
		return bytes.NewReader(s.pack)
	case s.from != nil:
		return s.from.Open(f)
	}
	return f
}

// Inside is where the source is in its file; "" for a whole file.
func (s *Source) Inside() string {
	switch {
	case s.pack != nil:
		return s.Name
	case s.from != nil:
		return s.from.Path
	}
	return ""
}

// Whole says whether the source is a file, and not a part of one.
func (s *Source) Whole() bool { return s.from == nil && s.pack == nil }

// Sparse says whether the source has holes worth keeping.
func (s *Source) Sparse() bool { return s.Whole() && DiskBytes(s.Info) < s.Size/8*7 }

// Need is the disk space that a copy still takes.
func (s *Source) Need() int64 {
	size := s.Size
	if s.Sparse() {
		size = DiskBytes(s.Info)
	}
	return max(size-s.There, 0)
}

// Text names the source for people.
func (s *Source) Text() string {
	if inside := s.Inside(); inside != "" {
		return s.Path + ": " + inside
	}
	return s.Path
}

// Open opens a source that has been inspected a moment ago.
func (s *Source) Open() (*os.File, error) {
	f, _, err := OpenFile(s.Path)
	return f, err
}

// SourceOf makes a source of a file that is open.
func SourceOf(role content.Role, path string, info os.FileInfo) Source {
	return Source{Role: role, Name: filepath.Base(path), Path: path, Info: info, Size: info.Size()}
}

// openISO lists the files of an ISO image. ok is false when path is no such
// image, or cannot be opened, which whoever expects something else will find out.
func openISO(path string) (_ *iso.Image, _ os.FileInfo, ok bool, _ error) {
	f, info, err := OpenFile(path)
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
		return nil, nil, true, fmt.Errorf("%w file %s: %w", content.ErrFile, path, err)
	}
	return img, info, true, nil
}

// ListISO lists the files of an ISO image as those of a folder.
func ListISO(path string) (sources []Source, ok bool, err error) {
	img, info, ok, err := openISO(path)
	if !ok || err != nil {
		return nil, ok, err
	}
	for i := range img.Files {
		f := &img.Files[i]
		if f.Special != "" {
			return nil, true, fmt.Errorf("%w file %s: %s is a %s, only files and folders can be added", content.ErrFile, path, f.Path, f.Special)
		}
		sources = append(sources, Source{Role: content.RoleFile, Name: f.Path, Path: path, Info: info, Size: f.Size, from: f})
	}
	return sources, true, nil
}

// listFolder lists the files of a folder in lexical order.
func listFolder(ctx context.Context, dir string, kind content.Kind) (sources []Source, err error) {
	err = filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err == nil {
			err = context.Cause(ctx)
		}
		if err != nil {
			return err
		}
		if path == dir {
			if !e.IsDir() {
				return fmt.Errorf("%w path %s: contents of kind %s are added as a folder or an ISO image", content.ErrFile, path, kind)
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
			return fmt.Errorf("%w file %s: it is a %s, only files and folders can be added", content.ErrFile, path, typeName(e.Type()))
		}
		info, err := e.Info()
		if err != nil {
			return err
		}
		if len(sources) > MaxFiles {
			return nil // counted, and refused, by the caller
		}
		sources = append(sources, Source{Role: content.RoleFile, Name: rel, Path: path, Info: info, Size: info.Size()})
		return nil
	})
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrPermission) {
		err = fmt.Errorf("%w folder: %w", content.ErrFile, err)
	}
	return sources, err
}

// Files of Windows installation media.
var (
	mediaInstall = []string{"sources/install.wim", "sources/install.esd", "sources/install.swm"}
	mediaBoot    = []string{"sources/boot.wim"}
)

// ImageSource finds the WIM of an OS image or boot image: the file itself, or
// the one inside installation media. More are the boot files beside a boot
// image, which its WIM need not have, or the other parts of a split WIM.
func ImageSource(path string, kind content.Kind) (s Source, more []Source, err error) {
	img, info, ok, err := openISO(path)
	if err != nil {
		return s, nil, err
	}
	if !ok {
		f, info, err := OpenFile(path)
		if err != nil {
			return s, nil, err
		}
		defer f.Close()
		s = SourceOf(content.RoleImage, path, info)
		if kind == content.KindOSImage {
			return splitSources(s, f, func(take func(Source, *os.File) error) error { return beside(path, take) })
		}
		return s, nil, nil
	}
	names := mediaInstall
	if kind == content.KindBootImage {
		names = mediaBoot
	}
	for _, name := range names {
		f, ok := img.Find(name)
		if !ok || f.Special != "" {
			continue
		}
		s = Source{Role: content.RoleImage, Name: baseOf(f.Path), Path: path, Info: info, Size: f.Size, from: f}
		if kind == content.KindBootImage {
			return s, bootFiles(img, path, info), nil
		}
		file, _, err := OpenFile(path)
		if err != nil {
			return s, nil, err
		}
		defer file.Close()
		return splitSources(s, file, func(take func(Source, *os.File) error) error {
			for i := range img.Files {
				o := &img.Files[i]
				if o.Path == f.Path || o.Special != "" || !sameFolder(o.Path, f.Path) {
					continue
				}
				part := Source{Role: content.RolePart, Name: baseOf(o.Path), Path: path, Info: info, Size: o.Size, from: o}
				if err := take(part, file); err != nil {
					return err
				}
			}
			return nil
		})
	}
	return s, nil, fmt.Errorf("%w file %s: the ISO image is not of Windows installation media: no %s in it", content.ErrFile, path, strings.Join(names, ", "))
}

// bootFiles are the boot managers, boot.sdi, fonts and policies of installation
// media: everything in the folders boot and efi, and the boot managers at the top.
func bootFiles(img *iso.Image, path string, info os.FileInfo) (sources []Source) {
	for i := range img.Files {
		f := &img.Files[i]
		top, _, deeper := strings.Cut(strings.ToLower(f.Path), "/")
		wanted := deeper && (top == "boot" || top == "efi") || !deeper && strings.HasPrefix(top, "bootmgr")
		if wanted && f.Special == "" {
			sources = append(sources, Source{Role: content.RoleFile, Name: f.Path, Path: path, Info: info, Size: f.Size, from: f})
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
func addLoaders(ctx context.Context, sources []Source, req content.AddRequest) ([]Source, error) {
	if req.Kind != content.KindBootImage {
		return nil, fmt.Errorf("%w request: only a boot image has loaders", content.ErrInvalid)
	}
	info, err := os.Stat(req.Loaders)
	if err != nil {
		return nil, fmt.Errorf("%w loaders: %w", content.ErrFile, err)
	}
	var more []Source
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
			more = []Source{SourceOf(content.RoleFile, req.Loaders, info)}
		}
	}
	more = slices.DeleteFunc(more, func(s Source) bool { return !bootFile(s.Name) || s.Size > maxLoader })
	if len(more) == 0 {
		return nil, fmt.Errorf("%w loaders %s: no boot files in it: want bootmgfw.efi, boot.sdi, fonts and so on, by these names", content.ErrFile, req.Loaders)
	}
	sources = slices.DeleteFunc(sources, func(s Source) bool {
		return s.Role == content.RoleFile && slices.ContainsFunc(more, func(m Source) bool { return strings.EqualFold(m.Name, s.Name) })
	})
	return append(sources, more...), nil
}

// maxPacked bounds what is taken out of a WIM in all, in bytes: boot managers,
// fonts and messages of an image are 40 MB.
const maxPacked = 256 << 20

// packedLoaders are the boot files in a WIM: what its first image has below
// Windows/Boot. It returns none for a file that is no WIM.
func packedLoaders(path string) (sources []Source, err error) {
	f, info, err := OpenFile(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	fail := func(err error) error { return fmt.Errorf("%w loaders %s: %w", content.ErrFile, path, err) }
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
		sources = append(sources, Source{Role: content.RoleFile, Name: name, Path: path, Info: info, Size: b.Size(), pack: pack})
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
