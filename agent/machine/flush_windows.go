package machine

import (
	"errors"
	"os"

	"golang.org/x/sys/windows"
)

// flushVolume is FlushFileBuffers for a volume, which is for all of its files. Drives
// that do not know it, as those of Wine, write at once.
func flushVolume(path string) error {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	err = f.Sync()
	if errors.Is(err, windows.ERROR_INVALID_FUNCTION) {
		err = nil
	}
	return errors.Join(err, f.Close())
}
