package iso

import (
	"io"
	"io/fs"
	"path"
	"time"
)

// FS gives the files of the image by path, without regard to letter case, as
// Windows finds them. There are no folders to be listed.
func (i *Image) FS(image io.ReaderAt) fs.FS { return imageFS{i, image} }

type imageFS struct {
	*Image
	r io.ReaderAt
}

func (i imageFS) Open(name string) (fs.File, error) {
	if f, ok := i.Find(name); ok && fs.ValidPath(name) && f.Special == "" {
		return &openFile{f.Open(i.r), f}, nil
	}
	return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
}

// openFile is a file that is open, and what is known of it.
type openFile struct {
	*io.SectionReader
	file *File
}

func (o *openFile) Close() error               { return nil }
func (o *openFile) Stat() (fs.FileInfo, error) { return o, nil }
func (o *openFile) Name() string               { return path.Base(o.file.Path) }
func (o *openFile) Mode() fs.FileMode          { return 0o444 }
func (o *openFile) ModTime() time.Time         { return time.Time{} }
func (o *openFile) IsDir() bool                { return false }
func (o *openFile) Sys() any                   { return nil }
