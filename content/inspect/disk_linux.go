package inspect

import (
	"os"
	"syscall"
)

// DiskBytes is how much of a file is on the disk: less than its size when it has
// holes.
func DiskBytes(info os.FileInfo) int64 {
	if st, ok := info.Sys().(*syscall.Stat_t); ok {
		return st.Blocks * 512
	}
	return info.Size()
}
