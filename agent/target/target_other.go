//go:build !linux && !windows

package target

import (
	"errors"
	"io"
	"os"

	"castpoint/agent"
)

func volatileDir() string { return os.TempDir() }

func lockFile(*os.File) error { return nil }

func allocate(*os.File, int64) error { return nil }

// IsFull says whether an error is that of a disk without room.
func IsFull(error) bool { return false }

func freeSpace(string) (int64, error) { return 0, errors.ErrUnsupported }

// sync makes the folder durable, file by file.
func (f *Folder) sync() error { return f.each((*os.File).Sync) }

func checkDevice(path string, _ os.FileInfo) error {
	return agent.Errorf(agent.ErrUsage, "output %s is not a file: disks are written on Linux only", path)
}

func openDevice(path string) (*os.File, error) {
	return nil, agent.Errorf(agent.ErrUsage, "output %s is not a file: disks are written on Linux only", path)
}

func deviceSize(f *os.File) (int64, error) { return f.Seek(0, io.SeekEnd) }
