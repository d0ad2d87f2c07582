//go:build !linux && !windows

package disk

import "errors"

// List is for Linux and Windows.
func List() ([]Disk, error) {
	return nil, errors.New("disks can be listed under Linux and Windows only")
}
