package iso

import (
	"errors"
	"io"
	"sort"
)

// Open returns a reader of the file's bytes in the image, which must be the one
// that the File came from. It may be used from many goroutines if image may.
func (f *File) Open(image io.ReaderAt) *io.SectionReader {
	return io.NewSectionReader(f.at(image), 0, f.Size)
}

// at is Open without the bounds.
func (f *File) at(image io.ReaderAt) io.ReaderAt {
	p := &pieces{image: image, inline: f.inline, extents: f.extents, size: f.Size, starts: make([]int64, len(f.extents))}
	var at int64
	for i, e := range f.extents {
		p.starts[i] = at
		at += e.length
	}
	return p
}

// Run says where the file's bytes lie in the image when they lie in one run.
func (f *File) Run() (offset int64, ok bool) {
	if f.inline == nil && len(f.extents) == 1 && f.extents[0].offset >= 0 {
		return f.extents[0].offset, true
	}
	return 0, false
}

// pieces reads a file that lies in pieces.
type pieces struct {
	image   io.ReaderAt
	inline  []byte
	extents []extent
	starts  []int64 // of each extent, in the file
	size    int64
}

func (p *pieces) ReadAt(b []byte, off int64) (n int, err error) {
	if off < 0 {
		return 0, errors.New("negative offset")
	}
	if p.inline != nil {
		if off >= int64(len(p.inline)) {
			return 0, io.EOF
		}
		if n = copy(b, p.inline[off:]); n < len(b) {
			err = io.EOF
		}
		return n, err
	}
	i := sort.Search(len(p.starts), func(i int) bool { return p.starts[i] > off }) - 1
	for n < len(b) {
		if off >= p.size || i >= len(p.extents) {
			return n, io.EOF
		}
		e, skip := p.extents[i], off-p.starts[i]
		part := b[n:min(int64(len(b)), int64(n)+e.length-skip)]
		if e.offset < 0 {
			clear(part)
		} else if got, err := p.image.ReadAt(part, e.offset+skip); got < len(part) {
			if errors.Is(err, io.EOF) {
				err = io.ErrUnexpectedEOF // the image was shortened since
			}
			return n + got, err
		}
		n += len(part)
		off += int64(len(part))
		i++
	}
	return n, nil
}
