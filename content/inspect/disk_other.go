//go:build !linux

package inspect

import "os"

// DiskBytes is the size of a file; holes are not known here.
func DiskBytes(info os.FileInfo) int64 { return info.Size() }
