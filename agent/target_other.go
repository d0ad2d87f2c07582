//go:build !linux

package agent

import (
	"errors"
	"io"
	"os"
	"syscall"
)

func volatileDir() string { return os.TempDir() }

func lockFile(*os.File) error { return nil }

// allocate has no counterpart: Truncate has set the length, and NTFS takes the
// room for it.
func allocate(*os.File, int64) error { return nil }

// errorDiskFull is Windows' ERROR_DISK_FULL.
const errorDiskFull = syscall.Errno(112)

func isFull(err error) bool { return errors.Is(err, errorDiskFull) }

func freeSpace(string) (int64, error) { return 0, errors.ErrUnsupported }

func checkDevice(path string, _ os.FileInfo) error {
	return mark(ErrUsage, "output %s is not a file: disks are written on Linux only", path)
}

func openDevice(path string) (*os.File, error) {
	return nil, mark(ErrUsage, "output %s is not a file: disks are written on Linux only", path)
}

func deviceSize(f *os.File) (int64, error) { return f.Seek(0, io.SeekEnd) }
