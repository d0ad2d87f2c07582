package wim

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"castpoint/content/wim/format"
)

// Files is the file that a WIM lies in, or all files of a split one, open.
type Files struct {
	Parts []Part
	files []*os.File
}

// OpenFiles opens a WIM file. Of a split WIM any part may be named: the others
// are those files in the same folder, with the same extension, that say they
// belong to it. Errors: those of opening the file; ErrNotWIM, ErrTruncated and
// ErrCorrupt for its header. Whether the parts are complete is said by
// DescribeSet and OpenSet.
func OpenFiles(path string) (_ *Files, err error) {
	f := &Files{}
	defer func() {
		if err != nil {
			f.Close()
		}
	}()
	first, err := f.add(path)
	if err != nil {
		return nil, err
	}
	h, err := format.ReadHeader(first.R, first.Size)
	if err != nil {
		return nil, first.Wrap(err)
	}
	if h.Parts == 1 {
		return f, nil
	}
	entries, err := os.ReadDir(filepath.Dir(path))
	if err != nil {
		return nil, fmt.Errorf("look for the parts of a split WIM: %w", err)
	}
	for _, e := range entries {
		other := filepath.Join(filepath.Dir(path), e.Name())
		if e.Name() == filepath.Base(path) || !strings.EqualFold(filepath.Ext(other), filepath.Ext(path)) || !e.Type().IsRegular() {
			continue
		}
		p, err := f.add(other)
		if err != nil {
			return nil, err
		}
		if !IsPartOf(p.R, p.Size, fmt.Sprintf("%x", h.GUID)) {
			f.dropLast()
		}
	}
	return f, nil
}

// IsPartOf says that a file is a part of the split WIM with the given GUID,
// which is that of Info.
func IsPartOf(r io.ReaderAt, size int64, guid string) bool {
	var b [format.HeaderSize]byte
	if size < format.HeaderSize || format.ReadFull(r, b[:], 0, "header") != nil || string(b[:8]) != format.MagicWIM && string(b[:8]) != format.MagicPipable {
		return false
	}
	d, err := format.ParseHeader(b[:])
	return err == nil && fmt.Sprintf("%x", d.GUID) == guid && d.Parts > 1
}

func (f *Files) add(path string) (Part, error) {
	file, err := os.Open(path)
	if err != nil {
		return Part{}, err
	}
	st, err := file.Stat()
	if err != nil {
		return Part{}, errors.Join(err, file.Close())
	}
	if st.IsDir() {
		return Part{}, errors.Join(fmt.Errorf("%s: it is a folder, not a WIM file", path), file.Close())
	}
	p := Part{Name: path, R: file, Size: st.Size()}
	f.files = append(f.files, file)
	f.Parts = append(f.Parts, p)
	return p, nil
}

func (f *Files) dropLast() {
	last := len(f.files) - 1
	_ = f.files[last].Close()
	f.files, f.Parts = f.files[:last], f.Parts[:last]
}

// Close closes the files.
func (f *Files) Close() {
	for _, file := range f.files {
		_ = file.Close() // only read
	}
}
