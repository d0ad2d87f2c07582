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
	if real := f.find(".", strings.Split(name, "/")); real != "" {
		return f.FS.Open(real)
	}
	return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
}

// find looks for a path below dir; "" when there is none. Several folders may
// have the same name but for letter case.
func (f foldFS) find(dir string, parts []string) string {
	if len(parts) == 0 {
		return dir
	}
	entries, err := fs.ReadDir(f.FS, dir)
	if err != nil {
		return "" // a file, or one that may not be read
	}
	for _, e := range entries {
		if !strings.EqualFold(e.Name(), parts[0]) {
			continue
		}
		if real := f.find(path.Join(dir, e.Name()), parts[1:]); real != "" {
			return real
		}
	}
	return ""
}
