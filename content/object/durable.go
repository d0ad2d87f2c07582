package object

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"castpoint/content"

	"go.uber.org/zap"
)

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

func syncFolders(folders map[string]bool) error {
	for dir := range folders {
		if err := syncDir(dir); err != nil {
			return err
		}
	}
	return nil
}

// putManifest puts a manifest into its place, in a folder that is not synced yet.
func (s *Store) putManifest(m *content.Manifest) error {
	b, err := m.MarshalBinary()
	if err != nil {
		return fmt.Errorf("write manifest: %w", err)
	}
	if err := s.put(s.manifestPath(m.Digest), b, 0o444); err != nil {
		return fmt.Errorf("write manifest: %w", err)
	}
	return s.faults.At("manifest")
}

// WriteManifest writes a manifest anew, unless its object went meanwhile.
func (s *Store) WriteManifest(m *content.Manifest) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, err := os.Stat(s.objectPath(m.Digest)); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	s.log.Warn("manifest made anew", zap.Stringer("object", m.Digest))
	if err := s.putManifest(m); err != nil {
		return err
	}
	return syncDir(filepath.Join(s.dir, dirManifests))
}

// ReplaceFile writes a small file of the file system of the store whole or not at all:
// temporary file, fsync, rename, fsync of the folder. Errors: ErrNoSpace, ErrUnsynced.
func (s *Store) ReplaceFile(path string, b []byte, mode os.FileMode) error {
	if err := s.put(path, b, mode); err != nil {
		return err
	}
	if err := syncDir(filepath.Dir(path)); err != nil {
		return fmt.Errorf("%w: %w", ErrUnsynced, err)
	}
	return nil
}

// RemoveFile removes a file and makes that durable. Errors: ErrUnsynced, or those of
// the file system.
func RemoveFile(path string) error {
	if err := os.Remove(path); err != nil {
		return err
	}
	if err := syncDir(filepath.Dir(path)); err != nil {
		return fmt.Errorf("%w: %w", ErrUnsynced, err)
	}
	return nil
}

// put is ReplaceFile without the sync of the folder.
func (s *Store) put(path string, b []byte, mode os.FileMode) (err error) {
	tmp, err := os.CreateTemp(filepath.Join(s.dir, dirTmp), "replace-*")
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

// ErrUnsynced says that a file has been replaced or removed and the disk would not
// confirm it: what memory knows must follow the disk all the same.
var ErrUnsynced = errors.New("change may not survive a power failure")

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
