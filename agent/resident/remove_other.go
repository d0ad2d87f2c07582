//go:build !windows

package resident

import "os"

// removeLater removes a folder; a program that runs does not keep it.
func removeLater(folder string, _ bool) error { return os.RemoveAll(folder) }
