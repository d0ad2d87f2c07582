// Package atomicfile replaces small files whole: keys, tokens, tickets and
// state that must neither be half written nor be read by others.
//
// The order is: temporary file in the same folder, write, fsync, close, rename,
// fsync of the folder.
package atomicfile

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

// Write puts data in place of path, readable by the owner only (mode 0600).
// After a crash path holds the old bytes or the new ones, never part of them;
// on an error nothing else is left behind. The folder must exist. Errors name
// path.
func Write(path string, data []byte) (err error) {
	dir := filepath.Dir(path)
	tmp, err := os.CreateTemp(dir, "."+filepath.Base(path)+".*") // mode 0600
	if err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	_, err = tmp.Write(data)
	if err = errors.Join(err, tmp.Sync(), tmp.Close()); err == nil {
		err = os.Rename(tmp.Name(), path)
	}
	if err != nil {
		return fmt.Errorf("write %s: %w", path, errors.Join(err, os.Remove(tmp.Name())))
	}
	if err := SyncDir(dir); err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	return nil
}
