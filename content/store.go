package content

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"castpoint/content/wim"
)

// addition is an unfinished add: what it has stored, to be taken back when it
// fails, and what it has been promised.
type addition struct {
	l      *Library
	claim  *claim
	pinned []Digest
	left   int64 // bytes of the sources that are not stored yet
	done   int64
	total  int64
	report func(done, total int64)
	link   bool // take hard links of sources where that is possible
}

// advance counts n more bytes as read.
func (a *addition) advance(n int64) {
	a.done += n
	if a.report != nil {
		a.report(a.done, a.total)
	}
}

// end gives back the promise and the pins; objects that no content refers to
// by then are deleted.
func (a *addition) end() {
	a.claim.end()
	a.l.disk.Lock()
	defer a.l.disk.Unlock()
	for _, d := range a.pinned {
		if a.l.pins[d]--; a.l.pins[d] == 0 {
			delete(a.l.pins, d)
		}
	}
	a.l.settle(a.pinned)
}

// store copies or clones a source into the library and returns it as a file of
// a content. checked says that it is a WIM whose integrity table was right.
//
// Order: temporary file, bytes, fsync, then (holding disk) the pending mark,
// the object, the manifest. A crash at any point leaves a temporary file or a
// pending mark, and Open removes what they stand for.
func (a *addition) store(ctx context.Context, s source) (_ File, checked bool, err error) {
	src, err := reopen(s)
	if err != nil {
		return File{}, false, err
	}
	defer src.Close()
	tmp, err := os.CreateTemp(filepath.Join(a.l.dir, dirTmp), "add-*")
	if err != nil {
		return File{}, false, fmt.Errorf("make temporary file: %w", err)
	}
	name := tmp.Name()
	defer func() {
		_ = tmp.Close()
		if err != nil {
			_ = os.Remove(name)
		}
	}()
	if a.link && s.from == nil && linkOver(name, src) {
		_ = tmp.Close() // nothing was written
		tmp = src
	}

	m, checked, err := a.fill(ctx, tmp, src, s)
	if err != nil {
		return File{}, false, err
	}
	if err := unchanged(src, s); err != nil {
		return File{}, false, err
	}
	if err := seal(tmp); err != nil {
		return File{}, false, err
	}
	if err := a.l.replaced.step("temporary"); err != nil {
		return File{}, false, err
	}
	if err := a.place(name, m); err != nil {
		return File{}, false, err
	}
	return File{Role: s.role, Name: s.name, Size: m.Size, Digest: m.Digest}, checked, nil
}

// fill makes tmp hold the bytes of src and hashes what it holds.
func (a *addition) fill(ctx context.Context, tmp, src *os.File, s source) (*Manifest, bool, error) {
	size, need := s.size, s.need()
	defer func() { a.left -= need }()
	from, to := s.at(src), []io.Writer{tmp}
	cloned, err := false, error(nil)
	if s.from == nil && tmp != src { // a part of a file rarely begins where a block of the file system does
		cloned, err = a.l.replaced.clone(tmp, src)
	}
	switch {
	case err != nil:
		return nil, false, spaceError(fmt.Errorf("clone %s: %w", s.text(), err))
	case cloned:
		// The clone is hashed, not the source, which may change meanwhile.
		from, to = tmp, nil
		a.claim.release(need)
	case tmp == src: // a hard link
		to = nil
		a.claim.release(need)
	default:
		if a.claim == nil {
			if a.claim, err = a.l.claimSpace(a.left + manifestRoom(a.left)); err != nil {
				return nil, false, err
			}
		}
		if s.sparse() {
			to[0] = &sparseWriter{file: tmp}
			if err := tmp.Truncate(size); err != nil {
				return nil, false, err
			}
			break
		}
		to[0] = &earlyWriter{file: tmp}
		ok, err := allocate(tmp, size)
		if err != nil {
			return nil, false, spaceError(fmt.Errorf("reserve space for %s: %w", s.text(), err))
		}
		if ok {
			a.claim.release(size)
		}
	}
	var checker *wim.Checker
	if s.wim {
		checker, err = wim.NewChecker(from, size)
		switch {
		case errors.Is(err, wim.ErrNoIntegrity):
		case err != nil:
			return nil, false, fmt.Errorf("%w file %s: %w", ErrFile, s.text(), err)
		default:
			to = append(to, checker)
		}
	}
	m, err := digestReader(ctx, io.NewSectionReader(from, 0, 1<<62), size, pass{advance: func(n int64) error {
		a.advance(n)
		return a.l.replaced.step("copy")
	}}, to...)
	if err != nil {
		return nil, false, readError(ctx, fmt.Errorf("copy %s: %w", s.text(), err))
	}
	if checker == nil {
		return m, false, nil
	}
	if err := checker.Close(); err != nil {
		return nil, false, fmt.Errorf("%w file %s: %w", ErrFile, s.text(), err)
	}
	return m, true, nil
}

// manifestRoom is about what the manifests of n bytes take, with a page for
// each of the small files beside.
func manifestRoom(n int64) int64 { return BlockCount(n)*HashSize + 64<<10 }

// reopen opens a source and makes sure that it is what was inspected.
func reopen(s source) (*os.File, error) {
	f, err := os.Open(s.path)
	if err != nil {
		return nil, err
	}
	if info, err := f.Stat(); err != nil || !os.SameFile(info, s.info) {
		_ = f.Close()
		return nil, fmt.Errorf("copy %s: another file has taken its place: add it again when nothing writes there", s.path)
	}
	if err := unchanged(f, s); err != nil {
		_ = f.Close()
		return nil, err
	}
	return f, nil
}

// unchanged compares size and time of an open source with the inspected ones.
func unchanged(f *os.File, s source) error {
	info, err := f.Stat()
	if err != nil {
		return fmt.Errorf("copy %s: %w", s.path, err)
	}
	if info.Size() != s.info.Size() || !info.ModTime().Equal(s.info.ModTime()) {
		return fmt.Errorf("copy %s: another program is writing it: add it again when it is complete", s.path)
	}
	return nil
}

// seal makes a temporary file read-only and durable.
func seal(f *os.File) error {
	if err := f.Chmod(0o444); err != nil {
		return fmt.Errorf("make object read-only: %w", err)
	}
	if err := f.Sync(); err != nil {
		return spaceError(fmt.Errorf("write object to disk: %w", err))
	}
	return nil
}

// place gives the temporary file its name as an object, and writes its
// manifest. An object that is already there is replaced by these freshly hashed
// bytes, which repairs it if it was damaged; whoever has it open keeps it.
func (a *addition) place(tmp string, m *Manifest) error {
	l := a.l
	l.disk.Lock()
	defer l.disk.Unlock()
	if err := l.markPending(m.Digest); err != nil {
		return err
	}
	l.pins[m.Digest]++
	a.pinned = append(a.pinned, m.Digest)
	if err := l.replaced.step("pending"); err != nil {
		return err
	}
	object := l.objectPath(m.Digest)
	switch err := os.Mkdir(filepath.Dir(object), 0o750); {
	case err == nil:
		if err := syncDir(filepath.Join(l.dir, dirObjects)); err != nil {
			return err
		}
	case !errors.Is(err, os.ErrExist):
		return spaceError(fmt.Errorf("make folder for object: %w", err))
	}
	if err := os.Rename(tmp, object); err != nil {
		return spaceError(fmt.Errorf("name object: %w", err))
	}
	// Where both are hard links of one file, rename leaves both.
	if err := os.Remove(tmp); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	if err := syncDir(filepath.Dir(object)); err != nil {
		return err
	}
	if err := l.replaced.step("object"); err != nil {
		return err
	}
	return l.writeManifest(m)
}

// writeManifest puts a manifest into its place.
func (l *Library) writeManifest(m *Manifest) error {
	b, err := m.MarshalBinary()
	if err != nil {
		return fmt.Errorf("write manifest: %w", err)
	}
	if err := l.replace(l.manifestPath(m.Digest), b, 0o444); err != nil {
		return fmt.Errorf("write manifest: %w", err)
	}
	return l.replaced.step("manifest")
}

// replace writes a file whole or not at all: temporary file, fsync, rename,
// fsync of the folder.
func (l *Library) replace(path string, b []byte, mode os.FileMode) (err error) {
	tmp, err := os.CreateTemp(filepath.Join(l.dir, dirTmp), "replace-*")
	if err != nil {
		return spaceError(err)
	}
	defer func() {
		if err != nil && !errors.Is(err, errUnsynced) {
			_ = tmp.Close()
			_ = os.Remove(tmp.Name())
		}
	}()
	if _, err := tmp.Write(b); err != nil {
		return spaceError(err)
	}
	if err := tmp.Chmod(mode); err != nil {
		return err
	}
	if err := tmp.Sync(); err != nil {
		return spaceError(err)
	}
	if err := tmp.Close(); err != nil {
		return spaceError(err)
	}
	if err := os.Rename(tmp.Name(), path); err != nil {
		return spaceError(err)
	}
	if err := syncDir(filepath.Dir(path)); err != nil {
		return fmt.Errorf("%w: %w", errUnsynced, err)
	}
	return nil
}

// errUnsynced says that a file has been replaced and the disk would not confirm
// it: what memory says of the library must follow the new file all the same.
var errUnsynced = errors.New("change may not survive a power failure")

// syncDir makes the names in a folder durable.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	if err := d.Sync(); err != nil {
		return fmt.Errorf("write folder %s to disk: %w", dir, err)
	}
	return nil
}

// spaceError adds ErrNoSpace to an error that means the disk is full.
func spaceError(err error) error {
	if noSpace(err) && !errors.Is(err, ErrNoSpace) {
		return fmt.Errorf("%w: %w", ErrNoSpace, err)
	}
	return err
}
