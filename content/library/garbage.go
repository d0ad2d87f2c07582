package library

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"castpoint/content"

	"go.uber.org/zap"
)

// settle deletes those of the objects that no content and no unfinished add
// refers to, and removes the pending marks of all that are settled. While a
// content file cannot be read nothing is deleted: it may be the one that refers
// to the object. disk must be held.
func (l *Library) settle(ds []content.Digest) {
	used, sure := l.usedObjects()
	for _, d := range ds {
		if l.pins[d] > 0 {
			continue
		}
		if !used[d] {
			if !sure {
				continue
			}
			if err := l.deleteObject(d); err != nil {
				l.log.Error("object cannot be deleted", zap.Stringer("object", d), zap.Error(err))
				continue // the mark stays: the next Open tries again
			}
		}
		if err := os.Remove(l.pendingPath(d)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			l.log.Error("pending mark cannot be removed", zap.Stringer("object", d), zap.Error(err))
		}
	}
}

// markPending notes on disk that an object may soon be without a content. It is
// not synced: a power failure that loses the mark leaves at worst an object that
// CollectGarbage finds.
func (l *Library) markPending(d content.Digest) error {
	if err := os.WriteFile(l.pendingPath(d), nil, 0o640); err != nil {
		return spaceError(fmt.Errorf("mark object as pending: %w", err))
	}
	return nil
}

// usedObjects lists the objects that contents refer to; sure is false when there
// are contents that could not be read.
func (l *Library) usedObjects() (used map[content.Digest]bool, sure bool) {
	l.index.RLock()
	defer l.index.RUnlock()
	used = map[content.Digest]bool{}
	for _, c := range l.contents {
		for _, f := range c.Files {
			used[f.Digest] = true
		}
	}
	return used, l.allRead()
}

// deleteObject deletes an object and its manifest.
func (l *Library) deleteObject(d content.Digest) error {
	for _, p := range []string{l.manifestPath(d), l.objectPath(d)} {
		if err := os.Remove(p); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}

// recover finishes what a crash interrupted: it removes temporary files, but for
// the copies that the next addition may go on with, and the objects with a
// pending mark that no content refers to.
func (l *Library) recover() error {
	dir := filepath.Join(l.dir, dirTmp)
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	var pending []content.Digest
	for _, e := range entries {
		if s, ok := strings.CutSuffix(e.Name(), suffixPending); ok {
			if d, ok := parseDigest(s); ok {
				pending = append(pending, d)
				continue
			}
		}
		if l.unfinished(e.Name()) {
			continue
		}
		l.log.Info("leftover of an interrupted operation removed", zap.String("file", e.Name()))
		if err := os.RemoveAll(filepath.Join(dir, e.Name())); err != nil {
			return fmt.Errorf("remove leftover: %w", err)
		}
	}
	l.settle(pending)
	return nil
}

func parseDigest(s string) (d content.Digest, ok bool) {
	if len(s) != hex.EncodedLen(len(d)) || strings.ToLower(s) != s {
		return d, false
	}
	_, err := hex.Decode(d[:], []byte(s))
	return d, err == nil
}

// Garbage is what CollectGarbage deleted.
type Garbage struct {
	Objects int // and copies of interrupted additions
	Bytes   int64
}

// CollectGarbage deletes all objects and manifests that no content refers to,
// and the copies that interrupted additions have left.
// Remove and Open delete what they know of by themselves; this also finds what
// a power failure or somebody's hand left behind. Unfinished adds are not
// disturbed.
//
// Errors: ErrDamaged when a content file cannot be read, because the objects it
// refers to are then unknown.
func (l *Library) CollectGarbage(ctx context.Context) (Garbage, error) {
	var g Garbage
	ctx, done, err := l.begin(ctx)
	if err != nil {
		return g, err
	}
	defer done()
	l.disk.Lock()
	defer l.disk.Unlock()
	used, sure := l.usedObjects()
	if !sure {
		return g, fmt.Errorf("collect garbage: %w: a content file cannot be read, so what it needs is unknown: see the list of problems", content.ErrDamaged)
	}
	for _, top := range []string{dirObjects, dirManifests} {
		err := filepath.WalkDir(filepath.Join(l.dir, top), func(path string, e fs.DirEntry, err error) error {
			if err == nil {
				err = context.Cause(ctx)
			}
			if err != nil || e.IsDir() {
				return err
			}
			d, ok := parseDigest(e.Name())
			if !ok || used[d] || l.pins[d] > 0 {
				return nil // a file that is not ours is left alone
			}
			if info, err := e.Info(); err == nil && top == dirObjects {
				g.Objects++
				g.Bytes += info.Size()
			}
			return os.Remove(path)
		})
		if err != nil {
			return g, fmt.Errorf("collect garbage: %w", err)
		}
	}
	n, size, err := l.dropCopies()
	g.Objects, g.Bytes = g.Objects+n, g.Bytes+size
	if err != nil {
		return g, fmt.Errorf("collect garbage: %w", err)
	}
	return g, nil
}
