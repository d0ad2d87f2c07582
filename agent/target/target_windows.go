package target

import (
	"errors"
	"io"
	"os"

	"golang.org/x/sys/windows"

	"castpoint/agent"
)

func volatileDir() string { return os.TempDir() }

// lockedByte lies beyond the end of any file: locks on Windows bind everybody, and
// the bytes themselves must stay readable.
const lockedByte = 1 << 62

// lockFile keeps other receivers away; the lock ends with the file or process.
func lockFile(f *os.File) error {
	at := windows.Overlapped{OffsetHigh: lockedByte >> 32}
	return windows.LockFileEx(windows.Handle(f.Fd()), windows.LOCKFILE_EXCLUSIVE_LOCK|windows.LOCKFILE_FAIL_IMMEDIATELY, 0, 1, 0, &at)
}

// allocate has no counterpart: Truncate has set the length, and NTFS takes the
// room for it.
func allocate(*os.File, int64) error { return nil }

// IsFull says whether an error is that of a disk without room.
func IsFull(err error) bool {
	return errors.Is(err, windows.ERROR_DISK_FULL) || errors.Is(err, windows.ERROR_HANDLE_DISK_FULL) || errors.Is(err, windows.ERROR_FILE_TOO_LARGE)
}

// freeSpace is what may be written to the volume of dir, in bytes.
func freeSpace(dir string) (int64, error) {
	path, err := windows.UTF16PtrFromString(dir)
	if err != nil {
		return 0, err
	}
	var free uint64
	if err := windows.GetDiskFreeSpaceEx(path, &free, nil, nil); err != nil {
		return 0, os.NewSyscallError("GetDiskFreeSpaceEx", err)
	}
	return int64(min(free, 1<<63-1)), nil
}

// sync makes the folder durable, file by file.
func (f *Folder) sync() error { return f.each((*os.File).Sync) }

func checkDevice(path string, _ os.FileInfo) error {
	return agent.Errorf(agent.ErrUsage, "output %s is not a file: disks are written on Linux only", path)
}

func openDevice(path string) (*os.File, error) {
	return nil, agent.Errorf(agent.ErrUsage, "output %s is not a file: disks are written on Linux only", path)
}

func deviceSize(f *os.File) (int64, error) { return f.Seek(0, io.SeekEnd) }
