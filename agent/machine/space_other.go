//go:build !linux && !windows

package machine

import "errors"

// FreeSpace is for Linux and Windows.
func FreeSpace(string) (int64, error) { return 0, errors.ErrUnsupported }
