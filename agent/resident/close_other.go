//go:build !linux && !windows

package resident

import "errors"

func closeToOthers(string) error {
	return errors.New("permissions of Windows are set under Linux and Windows only")
}
