package winpe

import (
	"io/fs"
	"path"
	"strings"
)

// foldFS finds files without regard to letter case, as Windows does. A name
// that matches exactly goes first.
type foldFS struct{ fs.FS }

// FoldCase makes an extra folder out of any file system, such as os.DirFS of a
// mounted installation medium.
func FoldCase(fsys fs.FS) fs.FS { return foldFS{fsys} }

func (f foldFS) Open(name string) (fs.File, error) {
	if file, err := f.FS.Open(name); err == nil {
		return file, nil
	}
	if !fs.ValidPath(name) {
		return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrInvalid}
	}
	real := "."
	for part := range strings.SplitSeq(name, "/") {
		entries, err := fs.ReadDir(f.FS, real)
		if err != nil {
			return nil, err
		}
		found := ""
		for _, e := range entries {
			if e.Name() == part || found == "" && strings.EqualFold(e.Name(), part) {
				found = e.Name()
			}
		}
		if found == "" {
			return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
		}
		real = path.Join(real, found)
	}
	return f.FS.Open(real)
}
