package content

import (
	"context"
	"fmt"
	"io/fs"
	"path"
	"path/filepath"
	"slices"
	"strings"
)

// maxFiles bounds a content made of a folder; Windows setup media has about
// 1000 files, a large driver collection some 20 000. A wrong path (/) is found
// by it early.
const maxFiles = 100_000

// inspectFolder checks a folder, or an ISO image, and lists its files in lexical
// order. Empty folders are not kept.
func inspectFolder(ctx context.Context, dir string, c *Content) ([]source, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, err
	}
	sources, ok, err := listISO(dir)
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
	case KindDriverPackage:
		if !anyFile(sources, func(s string) bool { return strings.HasSuffix(s, ".inf") }) {
			return nil, fmt.Errorf("%w folder %s: no .inf file in it, so no driver: unpack the vendor's archive first", ErrFile, dir)
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

// checkFolder checks the names of files as a tree.
func checkFolder(sources []source, dir string) error {
	switch {
	case len(sources) == 0:
		return fmt.Errorf("%w folder %s: no files in it", ErrFile, dir)
	case len(sources) > maxFiles:
		return fmt.Errorf("%w folder %s: more than %d files", ErrFile, dir, maxFiles)
	}
	folded := map[string]string{} // lower case: Windows does not tell them apart
	for _, s := range sources {
		if err := checkFolderName(s.name); err != nil {
			return err
		}
		for p := s.name; p != "."; p = path.Dir(p) {
			other, ok := folded[strings.ToLower(p)]
			if ok && (p == s.name || other != p) {
				return fmt.Errorf("%w file names: %s and %s are the same on Windows", ErrFile, other, p)
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
	if err := checkPath(name); err != nil {
		return fmt.Errorf("%w file name: %v", ErrFile, err)
	}
	return nil
}

// inspectSetup checks that the files are those of Windows setup media, and
// takes the description from the image inside.
func inspectSetup(sources []source, dir string, c *Content) error {
	if !anyFile(sources, func(s string) bool { return s == "setup.exe" }) {
		return fmt.Errorf("%w folder %s: not Windows setup media: no setup.exe at its top", ErrFile, dir)
	}
	for _, s := range sources {
		switch strings.ToLower(s.name) {
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
				return fmt.Errorf("%w index %d: %s has %d images", ErrInvalid, c.Index, s.text(), len(w.Images))
			}
			for k := range sources {
				sources[k].wim = sources[k].wim || slices.ContainsFunc(parts, func(p source) bool { return p.name == sources[k].name })
			}
			c.Images = w.Images
			if c.Index == 0 && len(w.Images) == 1 {
				c.Index = 1
			}
			return describeByImages(c, s.text())
		}
	}
	return fmt.Errorf("%w folder %s: not Windows setup media: no install.wim or install.esd in its folder sources", ErrFile, dir)
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
