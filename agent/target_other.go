//go:build !linux && !windows

package agent

import (
	"errors"
	"io"
	"os"
)

func volatileDir() string { return os.TempDir() }

func lockFile(*os.File) error { return nil }

func allocate(*os.File, int64) error { return nil }

func isFull(error) bool { return false }

func freeSpace(string) (int64, error) { return 0, errors.ErrUnsupported }

// sync makes the folder durable, file by file.
func (f *folder) sync() error { return f.each((*os.File).Sync) }

func checkDevice(path string, _ os.FileInfo) error {
	return mark(ErrUsage, "output %s is not a file: disks are written on Linux only", path)
}

func openDevice(path string) (*os.File, error) {
	return nil, mark(ErrUsage, "output %s is not a file: disks are written on Linux only", path)
}

func deviceSize(f *os.File) (int64, error) { return f.Seek(0, io.SeekEnd) }
