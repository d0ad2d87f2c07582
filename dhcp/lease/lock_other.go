//go:build !linux

package lease

import "os"

// lockFile does not lock here; servers run on Linux.
func lockFile(path string) (*os.File, error) {
	return os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
}
