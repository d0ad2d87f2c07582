package content

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strings"
)

// maxFiles bounds a content made of a folder; Windows setup media has about
// 1000 files, a large driver collection some 20 000. A wrong path (/) is found
// by it early.
const maxFiles = 100_000

// inspectFolder checks a folder and lists its files in lexical order. Empty
// folders are not kept.
func inspectFolder(ctx context.Context, dir string, c *Content) ([]source, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, err
	}
	var sources []source
	folded := map[string]string{} // lower case: Windows does not tell them apart
	err = filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err == nil {
			err = context.Cause(ctx)
		}
		if err != nil {
			return err
		}
		if path == dir {
			if !e.IsDir() {
				return fmt.Errorf("%w path %s: a %s is added as a folder", ErrInvalid, path, c.Kind)
			}
			return nil
		}
		rel, err := filepath.Rel(dir, path)
		if err != nil {
			return err
		}
		rel = filepath.ToSlash(rel)
		if err := checkPath(rel); err != nil {
			return fmt.Errorf("%w file name: %v", ErrInvalid, err)
		}
		if other, ok := folded[strings.ToLower(rel)]; ok {
			return fmt.Errorf("%w file names: %s and %s are the same on Windows", ErrInvalid, other, rel)
		}
		folded[strings.ToLower(rel)] = rel
		if e.IsDir() {
			return nil
		}
		if !e.Type().IsRegular() {
			return fmt.Errorf("%w file %s: it is a %s, only files and folders can be added", ErrInvalid, path, typeName(e.Type()))
		}
		info, err := e.Info()
		if err != nil {
			return err
		}
		if len(sources) == maxFiles {
			return fmt.Errorf("%w folder %s: more than %d files", ErrInvalid, dir, maxFiles)
		}
		sources = append(sources, source{role: RoleFile, name: rel, path: path, info: info})
		return nil
	})
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrPermission) {
		err = fmt.Errorf("%w folder: %w", ErrInvalid, err)
	}
	if err != nil {
		return nil, err
	}
	if len(sources) == 0 {
		return nil, fmt.Errorf("%w folder %s: no files in it", ErrInvalid, dir)
	}
	switch c.Kind {
	case KindDriverPackage:
		if !anyFile(sources, func(s string) bool { return strings.HasSuffix(s, ".inf") }) {
			return nil, fmt.Errorf("%w folder %s: no .inf file in it, so no driver: unpack the vendor's archive first", ErrInvalid, dir)
		}
	case KindOSUpgrade:
		if err := inspectSetup(sources, dir, c); err != nil {
			return nil, err
		}
	}
	if c.Name == "" {
		c.Name = printableText(filepath.Base(dir))
	}
	return sources, nil
}

// inspectSetup checks that the files are those of Windows setup media, and
// takes the description from the image inside.
func inspectSetup(sources []source, dir string, c *Content) error {
	if !anyFile(sources, func(s string) bool { return s == "setup.exe" }) {
		return fmt.Errorf("%w folder %s: not Windows setup media: no setup.exe at its top", ErrInvalid, dir)
	}
	for i, s := range sources {
		switch strings.ToLower(s.name) {
		case "sources/install.wim", "sources/install.esd", "sources/install.swm":
			w, _, err := describeWIM(s.path)
			if err != nil {
				return err
			}
			if len(w.Images) == 0 || c.Index < 0 || c.Index > len(w.Images) {
				return fmt.Errorf("%w index %d: %s has %d images", ErrInvalid, c.Index, s.path, len(w.Images))
			}
			sources[i].wim = true
			c.Images = w.Images
			if c.Index == 0 && len(w.Images) == 1 {
				c.Index = 1
			}
			return describeByImages(c, s.path)
		}
	}
	return fmt.Errorf("%w folder %s: not Windows setup media: no install.wim or install.esd in its folder sources", ErrInvalid, dir)
}

// anyFile says whether a name, in lower case, is wanted.
func anyFile(sources []source, want func(string) bool) bool {
	for _, s := range sources {
		if want(strings.ToLower(s.name)) {
			return true
		}
	}
	return false
}

func typeName(m fs.FileMode) string {
	switch {
	case m&fs.ModeSymlink != 0:
		return "symbolic link"
	case m&fs.ModeDevice != 0:
		return "device"
	case m&fs.ModeNamedPipe != 0:
		return "named pipe"
	case m&fs.ModeSocket != 0:
		return "socket"
	}
	return "special file"
}
