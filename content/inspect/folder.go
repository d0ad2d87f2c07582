package inspect

import (
	"context"
	"fmt"
	"io/fs"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"castpoint/content"
)

// MaxFiles bounds a content made of a folder; Windows setup media has about
// 1000 files, a large driver collection some 20 000. A wrong path (/) is found
// by it early.
const MaxFiles = 100_000

// Folder checks a folder, or an ISO image, and lists its files in lexical
// order. Empty folders are not kept.
func Folder(ctx context.Context, dir string, c *content.Content) ([]Source, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, err
	}
	sources, ok, err := ListISO(dir)
	if !ok {
		sources, err = listFolder(ctx, dir, c.Kind)
	}
	if err == nil {
		err = checkFolder(sources, dir)
	}
	if err != nil {
		return nil, err
	}
	switch c.Kind {
	case content.KindDriverPackage:
		if !anyFile(sources, func(s string) bool { return strings.HasSuffix(s, ".inf") }) {
			return nil, fmt.Errorf("%w folder %s: no .inf file in it, so no driver: unpack the vendor's archive first", content.ErrFile, dir)
		}
	case content.KindOSUpgrade:
		if err := inspectSetup(sources, dir, c); err != nil {
			return nil, err
		}
	}
	if c.Name == "" {
		c.Name = content.Printable(filepath.Base(dir))
	}
	return sources, nil
}

// checkFolder checks the names of files as a tree.
func checkFolder(sources []Source, dir string) error {
	switch {
	case len(sources) == 0:
		return fmt.Errorf("%w folder %s: no files in it", content.ErrFile, dir)
	case len(sources) > MaxFiles:
		return fmt.Errorf("%w folder %s: more than %d files", content.ErrFile, dir, MaxFiles)
	}
	folded := map[string]string{} // lower case: Windows does not tell them apart
	for _, s := range sources {
		if err := checkFolderName(s.Name); err != nil {
			return err
		}
		for p := s.Name; p != "."; p = path.Dir(p) {
			other, ok := folded[strings.ToLower(p)]
			if ok && (p == s.Name || other != p) {
				return fmt.Errorf("%w file names: %s and %s are the same on Windows", content.ErrFile, other, p)
			}
			if ok {
				break // and so are the folders above
			}
			folded[strings.ToLower(p)] = p
		}
	}
	return nil
}

func checkFolderName(name string) error {
	if err := content.CheckPath(name); err != nil {
		return fmt.Errorf("%w file name: %v", content.ErrFile, err)
	}
	return nil
}

// inspectSetup checks that the files are those of Windows setup media, and
// takes the description from the image inside.
func inspectSetup(sources []Source, dir string, c *content.Content) error {
	if !anyFile(sources, func(s string) bool { return s == "setup.exe" }) {
		return fmt.Errorf("%w folder %s: not Windows setup media: no setup.exe at its top", content.ErrFile, dir)
	}
	for _, s := range sources {
		switch strings.ToLower(s.Name) {
		case "sources/install.wim", "sources/install.esd", "sources/install.swm":
			parts, err := splitMedia(s, sources)
			if err != nil {
				return err
			}
			w, err := describeWIM(parts)
			if err != nil {
				return err
			}
			c.Unusual = unusual(w)
			if len(w.Images) == 0 || c.Index < 0 || c.Index > len(w.Images) {
				return fmt.Errorf("%w index %d: %s has %d images", content.ErrInvalid, c.Index, s.Text(), len(w.Images))
			}
			for k := range sources {
				sources[k].WIM = sources[k].WIM || slices.ContainsFunc(parts, func(p Source) bool { return p.Name == sources[k].Name })
			}
			c.Images = w.Images
			if c.Index == 0 && len(w.Images) == 1 {
				c.Index = 1
			}
			return describeByImages(c, s.Text())
		}
	}
	return fmt.Errorf("%w folder %s: not Windows setup media: no install.wim or install.esd in its folder sources", content.ErrFile, dir)
}

// anyFile says whether a name, in lower case, is wanted.
func anyFile(sources []Source, want func(string) bool) bool {
	for _, s := range sources {
		if want(strings.ToLower(s.Name)) {
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
