package object

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"castpoint/content"
	"castpoint/content/inspect"
)

// Addition makes objects: what it has stored is to be taken back when it fails, and so
// is what it has been promised. It is used by one goroutine at a time.
type Addition struct {
	s      *Store
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

// stored is a source in tmp, hashed and on the disk, that has no name as an
// object yet.
type stored struct {
	temporary *temporary
	manifest  *content.Manifest
}

// NewAddition begins an addition of sources, which notes how much of each an interrupted
// one has left. Space is promised to it when the first of them has to be copied. report,
// which may be nil, is called with bytes read and in total; link asks for hard links of
// the sources where that is possible. End must be called.
func (s *Store) NewAddition(sources []inspect.Source, link bool, report func(done, total int64)) *Addition {
	a := &Addition{s: s, report: report, link: link}
	for i := range sources {
		from := &sources[i]
		from.There = s.copied(from)
		a.total += from.Size
		a.left += from.Need()
	}
	a.advance(0)
	return a
}

// Reserve begins an addition of total bytes that Put is going to store, and has the
// space for them promised. End must be called. Errors: ErrNoSpace.
func (s *Store) Reserve(total int64, report func(done, total int64)) (*Addition, error) {
	a := &Addition{s: s, total: total, report: report}
	var err error
	if a.claim, err = s.claim(total + manifestRoom(total)); err != nil {
		return nil, err
	}
	a.advance(0)
	return a, nil
}

// manifestRoom is about what the manifests of n bytes take, with a page for
// each of the small files beside.
func manifestRoom(n int64) int64 { return content.BlockCount(n)*content.HashSize + 64<<10 }

// Total is the number of bytes of all sources.
func (a *Addition) Total() int64 { return a.total }

// advance counts n more bytes as read.
func (a *Addition) advance(n int64) {
	a.done += n
	if a.report != nil {
		a.report(a.done, a.total)
	}
}

// End gives back the promise and the pins, and deletes what is stored and no object. It
// returns the objects that were made: the caller settles them.
func (a *Addition) End() (made []content.Digest) {
	a.claim.end()
	for _, t := range a.stored {
		if a.resume {
			a.s.leave(t.temporary)
		} else {
			a.s.discard(t.temporary)
		}
	}
	a.s.mu.Lock()
	defer a.s.mu.Unlock()
	for _, d := range a.pinned {
		if a.s.pins[d]--; a.s.pins[d] == 0 {
			delete(a.s.pins, d)
		}
	}
	return a.pinned
}

// Put makes an object of size bytes that r gives, unless accept refuses what they are.
//
// Errors: ErrSource, ErrNoSpace, that of accept, the end of ctx, or those of the disk.
func (a *Addition) Put(ctx context.Context, r io.Reader, size int64, accept func(*content.Manifest) error) (err error) {
	tmp, err := os.CreateTemp(filepath.Join(a.s.dir, dirTmp), "put-*")
	if err != nil {
		return spaceError(fmt.Errorf("make temporary file: %w", err))
	}
	defer func() {
		_ = tmp.Close()
		if err != nil {
			_ = os.Remove(tmp.Name())
		}
	}()
	reserved, err := allocate(tmp, size)
	if err != nil {
		return spaceError(fmt.Errorf("reserve space: %w", err))
	}
	if reserved {
		a.claim.release(size)
	}
	m, err := Hash(ctx, r, size, Pass{Advance: func(n int64) error {
		a.advance(n)
		return a.s.faults.At("copy")
	}}, tmp)
	if err != nil {
		return err
	}
	if err := accept(m); err != nil {
		return err
	}
	if err := seal(tmp); err != nil {
		return err
	}
	if !reserved {
		a.claim.release(size)
	}
	folders := map[string]bool{}
	if err := a.place(tmp.Name(), m, folders); err != nil {
		return err
	}
	return syncFolders(folders)
}

// Place makes objects of all that is stored, and returns those it made before an error,
// too. An object that is there already is replaced, which repairs it.
//
// Order for each: pending mark, object, manifest. A crash leaves pending marks,
// and Recover removes what they stand for. The folders are synced once: until
// something refers to the objects, nothing depends on them.
func (a *Addition) Place() (placed []content.Digest, err error) {
	folders := map[string]bool{}
	for _, t := range a.stored {
		if err := a.place(t.temporary.path, t.manifest, folders); err != nil {
			return placed, err
		}
		placed = append(placed, t.manifest.Digest)
		t.temporary.dropJournal()
		a.s.freeCopy(t.temporary)
	}
	a.stored = nil
	return placed, syncFolders(folders)
}

// place gives the temporary file its name as an object, and writes its
// manifest. An object that is already there is replaced by these freshly hashed
// bytes, which repairs it if it was damaged; whoever has it open keeps it. The
// folders that have to be synced are noted.
func (a *Addition) place(tmp string, m *content.Manifest, folders map[string]bool) error {
	s := a.s
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.MarkPending(m.Digest); err != nil {
		return err
	}
	s.pins[m.Digest]++
	a.pinned = append(a.pinned, m.Digest)
	if err := s.faults.At("pending"); err != nil {
		return err
	}
	object := s.objectPath(m.Digest)
	switch err := os.Mkdir(filepath.Dir(object), 0o750); {
	case err == nil:
		folders[filepath.Join(s.dir, dirObjects)] = true
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
	folders[filepath.Join(s.dir, dirManifests)] = true
	if err := s.faults.At("object"); err != nil {
		return err
	}
	return s.putManifest(m)
}
