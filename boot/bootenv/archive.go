package bootenv

import (
	"bytes"
	"fmt"
	"io"
	"maps"
	"os"
	"path"
	"slices"
	"strings"

	"github.com/cavaliergopher/cpio"
)

// tree is the file system of the initramfs before it is written: names without
// leading slash, folders made as needed.
type tree struct {
	entries map[string]entry
}

type entry struct {
	mode cpio.FileMode
	data []byte
	disk string // path on this machine; instead of data
}

func newTree() *tree { return &tree{entries: map[string]entry{}} }

func (t *tree) add(name string, e entry) {
	name = strings.TrimPrefix(path.Clean(name), "/")
	t.entries[name] = e
	for dir := path.Dir(name); dir != "."; dir = path.Dir(dir) {
		if _, ok := t.entries[dir]; ok {
			return
		}
		t.entries[dir] = entry{mode: cpio.TypeDir | 0o755}
	}
}

func (t *tree) has(name string) bool {
	_, ok := t.entries[strings.TrimPrefix(path.Clean(name), "/")]
	return ok
}

func (t *tree) dir(name string) { t.add(name, entry{mode: cpio.TypeDir | 0o755}) }

func (t *tree) text(name string, mode cpio.FileMode, data []byte) {
	t.add(name, entry{mode: cpio.TypeReg | mode, data: data})
}

func (t *tree) file(name string, mode cpio.FileMode, disk string) {
	t.add(name, entry{mode: cpio.TypeReg | mode, disk: disk})
}

func (t *tree) symlink(name, target string) {
	// The format keeps the target where a file keeps its bytes, and the cpio
	// package leaves writing it to the caller.
	t.add(name, entry{mode: cpio.TypeSymlink | 0o777, data: []byte(target)})
}

// write writes the archive: sorted by name, owned by root, without times, with
// inode numbers by position.
func (t *tree) write(w io.Writer) error {
	out := cpio.NewWriter(w)
	for i, name := range slices.Sorted(maps.Keys(t.entries)) {
		if err := t.entries[name].write(out, name, int64(i+1)); err != nil {
			return fmt.Errorf("add /%s to the initramfs: %w", name, err)
		}
	}
	if err := out.Close(); err != nil {
		return fmt.Errorf("end the initramfs: %w", err)
	}
	return nil
}

func (e entry) write(out *cpio.Writer, name string, inode int64) error {
	h := &cpio.Header{Name: name, Mode: e.mode, Inode: inode, Links: 1, Size: int64(len(e.data))}
	var body io.Reader = bytes.NewReader(e.data)
	if e.disk != "" {
		f, err := os.Open(e.disk)
		if err != nil {
			return err
		}
		defer f.Close()
		st, err := f.Stat()
		if err != nil {
			return err
		}
		body, h.Size = io.LimitReader(f, st.Size()), st.Size()
	}
	if err := out.WriteHeader(h); err != nil {
		return err
	}
	if h.Size == 0 {
		return nil
	}
	n, err := io.Copy(out, body)
	if err == nil && n != h.Size {
		err = fmt.Errorf("%s shrank while it was read: %d of %d bytes", e.disk, n, h.Size)
	}
	return err
}
