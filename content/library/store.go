package library

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"castpoint/content"
	"castpoint/content/inspect"
	"castpoint/content/wim/integrity"
)

// addition is an unfinished add: what it has stored, to be taken back when it
// fails, and what it has been promised.
type addition struct {
	l      *Library
	claim  *claim
	pinned []content.Digest
	left   int64 // bytes of the sources that are not stored yet
	done   int64
	total  int64
	report func(done, total int64)
	link   bool // take hard links of sources where that is possible

	stored []stored // what is not an object yet
	resume bool     // it was interrupted: leave what is stored for the next try
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
	for _, s := range a.stored {
		if a.resume {
			a.l.leave(s.temporary)
		} else {
			a.l.discard(s.temporary)
		}
	}
	a.l.disk.Lock()
	defer a.l.disk.Unlock()
	for _, d := range a.pinned {
		if a.l.pins[d]--; a.l.pins[d] == 0 {
			delete(a.l.pins, d)
		}
	}
	a.l.settle(a.pinned)
}

// stored is a source in tmp, hashed and on the disk, that has no name as an
// object yet.
type stored struct {
	temporary *temporary
	manifest  *content.Manifest
}

// store copies or clones a source into a temporary file, which is on the disk
// when it returns. checked says that it is a WIM whose integrity table was right.
func (a *addition) store(ctx context.Context, s inspect.Source) (_ *content.Manifest, checked bool, err error) {
	src, err := reopen(s)
	if err != nil {
		return nil, false, err
	}
	defer src.Close()
	t, err := a.l.makeTemporary(&s)
	if err != nil {
		return nil, false, err
	}
	if a.link && s.Whole() && linkOver(t.path, src) {
		_ = t.file.Close() // nothing was written
		t.dropJournal()
		t.file = src
	}
	m, checked, err := a.fill(ctx, t, src, s)
	if err == nil {
		err = unchanged(src, s)
	}
	if err == nil {
		err = seal(t.file)
	}
	if err == nil {
		err = a.l.replaced.step("temporary")
	}
	if err != nil {
		return nil, false, a.giveUp(ctx, t, err)
	}
	_ = t.file.Close()
	a.stored = append(a.stored, stored{t, m})
	return m, checked, nil
}

// giveUp takes back a temporary file, or leaves it to the next try when the
// source is not to blame.
func (a *addition) giveUp(ctx context.Context, t *temporary, err error) error {
	if _, ok := errors.AsType[*sourceError](err); ok || context.Cause(ctx) != nil {
		a.resume = true
		a.l.leave(t)
		return t.leftBy(err)
	}
	a.l.discard(t)
	return err
}

// fill makes t hold the bytes of src and hashes what it holds.
func (a *addition) fill(ctx context.Context, t *temporary, src *os.File, s inspect.Source) (*content.Manifest, bool, error) {
	size, need := s.Size, s.Need()
	defer func() { a.left -= need }()
	var from io.ReaderAt = t.file // a clone is hashed, not the source, which may change meanwhile
	var r io.Reader = io.NewSectionReader(t.file, 0, 1<<62)
	var to []io.Writer
	copying, err := a.mustCopy(t, src, s)
	if err != nil {
		return nil, false, err
	}
	if copying {
		if a.claim == nil {
			if a.claim, err = a.l.claimSpace(a.left + manifestRoom(a.left)); err != nil {
				return nil, false, err
			}
		}
		from = s.At(src)
		r = &resumeReader{source: from, size: size, copy: t, hashes: t.hashes}
		to = append(to, &resumeWriter{copy: t, begin: func(at int64) (io.Writer, error) { return a.beginWriting(t.file, at, s) }})
	} else {
		t.dropJournal()
		a.claim.release(need)
	}
	var checker *integrity.Checker
	if s.WIM {
		checker, err = integrity.NewChecker(from, size)
		switch {
		case errors.Is(err, integrity.ErrNoIntegrity):
		case err != nil:
			return nil, false, fmt.Errorf("%w file %s: %w", content.ErrFile, s.Text(), err)
		default:
			to = append(to, checker)
		}
	}
	m, err := digestReader(ctx, r, size, pass{written: t.record, advance: func(n int64) error {
		a.advance(n)
		return a.l.replaced.step("copy")
	}}, to...)
	if err != nil {
		return nil, false, readError(ctx, fmt.Errorf("copy %s: %w", s.Text(), err))
	}
	if checker == nil {
		return m, false, nil
	}
	if err := checker.Close(); err != nil {
		return nil, false, fmt.Errorf("%w file %s: %w", content.ErrFile, s.Text(), err)
	}
	return m, true, nil
}

// mustCopy says whether the source has to be copied; else t has its bytes
// already, as a hard link or a clone.
func (a *addition) mustCopy(t *temporary, src *os.File, s inspect.Source) (bool, error) {
	if t.file == src {
		return false, nil
	}
	if !s.Whole() || len(t.hashes) > 0 { // a part of a file rarely begins where a block of the file system does
		return true, nil
	}
	cloned, err := a.l.replaced.clone(t.file, src)
	if err != nil {
		return false, spaceError(fmt.Errorf("clone %s: %w", s.Text(), err))
	}
	return !cloned, nil
}

// beginWriting prepares a copy of s for being written from an offset to its end.
func (a *addition) beginWriting(f *os.File, at int64, s inspect.Source) (io.Writer, error) {
	if err := f.Truncate(at); err != nil { // what an earlier addition has left behind it is wrong
		return nil, err
	}
	if s.Sparse() {
		return &sparseWriter{file: f, at: at}, f.Truncate(s.Size)
	}
	ok, err := allocate(f, s.Size)
	if err != nil {
		return nil, spaceError(fmt.Errorf("reserve space for %s: %w", s.Text(), err))
	}
	if ok {
		a.claim.release(s.Need())
	}
	return &earlyWriter{file: f, at: at, sent: at}, nil
}

// manifestRoom is about what the manifests of n bytes take, with a page for
// each of the small files beside.
func manifestRoom(n int64) int64 { return content.BlockCount(n)*content.HashSize + 64<<10 }

// reopen opens a source and makes sure that it is what was inspected.
func reopen(s inspect.Source) (*os.File, error) {
	f, err := os.Open(s.Path)
	if err != nil {
		return nil, err
	}
	if info, err := f.Stat(); err != nil || !os.SameFile(info, s.Info) {
		_ = f.Close()
		return nil, fmt.Errorf("copy %s: another file has taken its place: add it again when nothing writes there", s.Path)
	}
	if err := unchanged(f, s); err != nil {
		_ = f.Close()
		return nil, err
	}
	return f, nil
}

// unchanged compares size and time of an open source with the inspected ones.
func unchanged(f *os.File, s inspect.Source) error {
	info, err := f.Stat()
	if err != nil {
		return fmt.Errorf("copy %s: %w", s.Path, err)
	}
	if info.Size() != s.Info.Size() || !info.ModTime().Equal(s.Info.ModTime()) {
		return fmt.Errorf("copy %s: another program is writing it: add it again when it is complete", s.Path)
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

// placeAll makes objects of all that is stored.
//
// Order for each: pending mark, object, manifest. A crash leaves pending marks,
// and Open removes what they stand for. The folders are synced once: until the
// content is there, nothing depends on them.
func (a *addition) placeAll() error {
	folders := map[string]bool{}
	for _, s := range a.stored {
		if err := a.place(s.temporary.path, s.manifest, folders); err != nil {
			return err
		}
		s.temporary.dropJournal()
		a.l.freeCopy(s.temporary)
	}
	a.stored = nil
	return syncFolders(folders)
}

// placeOne makes an object of a temporary file.
func (a *addition) placeOne(tmp string, m *content.Manifest) error {
	folders := map[string]bool{}
	if err := a.place(tmp, m, folders); err != nil {
		return err
	}
	return syncFolders(folders)
}

func syncFolders(folders map[string]bool) error {
	for dir := range folders {
		if err := syncDir(dir); err != nil {
			return err
		}
	}
	return nil
}

// place gives the temporary file its name as an object, and writes its
// manifest. An object that is already there is replaced by these freshly hashed
// bytes, which repairs it if it was damaged; whoever has it open keeps it. The
// folders that have to be synced are noted.
func (a *addition) place(tmp string, m *content.Manifest, folders map[string]bool) error {
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
		folders[filepath.Join(l.dir, dirObjects)] = true
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
	folders[filepath.Dir(object)] = true
	folders[filepath.Join(l.dir, dirManifests)] = true
	if err := l.replaced.step("object"); err != nil {
		return err
	}
	if err := l.putManifest(m); err != nil {
		return err
	}
	l.mended(m.Digest)
	return nil
}

// putManifest puts a manifest into its place, in a folder that is not synced yet.
func (l *Library) putManifest(m *content.Manifest) error {
	b, err := m.MarshalBinary()
	if err != nil {
		return fmt.Errorf("write manifest: %w", err)
	}
	if err := l.put(l.manifestPath(m.Digest), b, 0o444); err != nil {
		return fmt.Errorf("write manifest: %w", err)
	}
	return l.replaced.step("manifest")
}

// writeManifest puts a manifest into its place.
func (l *Library) writeManifest(m *content.Manifest) error {
	if err := l.putManifest(m); err != nil {
		return err
	}
	return syncDir(filepath.Join(l.dir, dirManifests))
}

// replace writes a file whole or not at all: temporary file, fsync, rename,
// fsync of the folder.
func (l *Library) replace(path string, b []byte, mode os.FileMode) error {
	if err := l.put(path, b, mode); err != nil {
		return err
	}
	if err := syncDir(filepath.Dir(path)); err != nil {
		return fmt.Errorf("%w: %w", errUnsynced, err)
	}
	return nil
}

// put is replace without the sync of the folder.
func (l *Library) put(path string, b []byte, mode os.FileMode) (err error) {
	tmp, err := os.CreateTemp(filepath.Join(l.dir, dirTmp), "replace-*")
	if err != nil {
		return spaceError(err)
	}
	defer func() {
		if err != nil {
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
	return spaceError(os.Rename(tmp.Name(), path))
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
	if noSpace(err) && !errors.Is(err, content.ErrNoSpace) {
		return fmt.Errorf("%w: %w", content.ErrNoSpace, err)
	}
	return err
}
