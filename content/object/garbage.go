package object

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"castpoint/content"

	"go.uber.org/zap"
)

// References are the objects that somebody needs.
type References struct {
	Objects map[content.Digest]bool
	// Complete says that nobody needs any other. Otherwise nothing is deleted.
	Complete bool
}

// Settle deletes those of the objects that nothing and no unfinished addition refers
// to, and removes the pending marks of all that are settled. Nothing new may refer to
// the objects between the making of refs and the return, but for additions.
func (s *Store) Settle(ds []content.Digest, refs References) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, d := range ds {
		if s.pins[d] > 0 {
			continue
		}
		if !refs.Objects[d] {
			if !refs.Complete {
				continue
			}
			if err := s.deleteObject(d); err != nil {
				s.log.Error("object cannot be deleted", zap.Stringer("object", d), zap.Error(err))
				continue // the mark stays: the next Recover tries again
			}
		}
		if err := os.Remove(s.pendingPath(d)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			s.log.Error("pending mark cannot be removed", zap.Stringer("object", d), zap.Error(err))
		}
	}
}

// MarkPending notes on disk that soon nothing may refer to an object. It is not
// synced: a power failure that loses the mark leaves at worst an object that Collect
// finds. Errors: ErrNoSpace, or those of the file system.
func (s *Store) MarkPending(d content.Digest) error {
	if err := os.WriteFile(s.pendingPath(d), nil, 0o640); err != nil {
		return spaceError(fmt.Errorf("mark object as pending: %w", err))
	}
	return nil
}

// deleteObject deletes an object and its manifest.
func (s *Store) deleteObject(d content.Digest) error {
	for _, p := range []string{s.manifestPath(d), s.objectPath(d)} {
		if err := os.Remove(p); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}

// Recover finishes what a crash interrupted, before the first addition: it removes
// temporary files, but for the copies that the next addition may go on with, and the
// objects with a pending mark that nothing refers to.
func (s *Store) Recover(refs References) error {
	dir := filepath.Join(s.dir, dirTmp)
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	var pending []content.Digest
	for _, e := range entries {
		if name, ok := strings.CutSuffix(e.Name(), suffixPending); ok {
			if d, ok := content.ParseDigest(name); ok {
				pending = append(pending, d)
				continue
			}
		}
		if s.unfinished(e.Name()) {
			continue
		}
		s.log.Info("leftover of an interrupted operation removed", zap.String("file", e.Name()))
		if err := os.RemoveAll(filepath.Join(dir, e.Name())); err != nil {
			return fmt.Errorf("remove leftover: %w", err)
		}
	}
	s.Settle(pending, refs)
	return nil
}

// Garbage is what Collect deleted.
type Garbage struct {
	Objects int // and copies of interrupted additions
	Bytes   int64
}

// Collect deletes all objects and manifests that are not used, and the copies that
// interrupted additions have left. Settle and Recover delete what they know of by
// themselves; this also finds what a power failure or somebody's hand left behind.
// Unfinished additions are not disturbed. Nothing new may refer to an object meanwhile,
// but for additions.
func (s *Store) Collect(ctx context.Context, used map[content.Digest]bool) (Garbage, error) {
	var g Garbage
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, top := range []string{dirObjects, dirManifests} {
		err := filepath.WalkDir(filepath.Join(s.dir, top), func(path string, e fs.DirEntry, err error) error {
			if err == nil {
				err = context.Cause(ctx)
			}
			if err != nil || e.IsDir() {
				return err
			}
			d, ok := content.ParseDigest(e.Name())
			if !ok || used[d] || s.pins[d] > 0 {
				return nil // a file that is not ours is left alone
			}
			if info, err := e.Info(); err == nil && top == dirObjects {
				g.Objects++
				g.Bytes += info.Size()
			}
			return os.Remove(path)
		})
		if err != nil {
			return g, err
		}
	}
	n, size, err := s.dropCopies()
	g.Objects, g.Bytes = g.Objects+n, g.Bytes+size
	return g, err
}
