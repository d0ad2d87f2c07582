package target

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"castpoint/agent"
)

// volatileDir is a folder that is gone after a restart.
func volatileDir() string { return "/run" }

// lockFile keeps other receivers away; the lock ends with the file or process.
func lockFile(f *os.File) error {
	return unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
}

// allocate takes room on the disk for the whole file. NFS and some others cannot, and
// a file system in memory would fill the room with zeros, which costs as much as
// writing the file: there, at least the free space is looked at.
func allocate(f *os.File, size int64) error {
	if inMemory(f) {
		return fits(f, size)
	}
	for {
		err := unix.Fallocate(int(f.Fd()), 0, 0, size)
		switch {
		case errors.Is(err, unix.EINTR):
			continue
		case errors.Is(err, unix.EOPNOTSUPP), errors.Is(err, unix.ENOSYS):
			return fits(f, size)
		}
		return err
	}
}

func inMemory(f *os.File) bool {
	var st unix.Statfs_t
	return unix.Fstatfs(int(f.Fd()), &st) == nil && (st.Type == unix.TMPFS_MAGIC || st.Type == unix.RAMFS_MAGIC)
}

// fits looks whether the file system has the room that a file of size bytes does not
// hold yet. One without a limit (ramfs) says that it has no blocks at all.
func fits(f *os.File, size int64) error {
	var fs unix.Statfs_t
	var st unix.Stat_t
	if err := errors.Join(unix.Fstatfs(int(f.Fd()), &fs), unix.Fstat(int(f.Fd()), &st)); err != nil {
		return fmt.Errorf("ask for the free space: %w", err)
	}
	if fs.Blocks > 0 && int64(fs.Bavail)*fs.Bsize < size-st.Blocks*512 {
		return unix.ENOSPC
	}
	return nil
}

// IsFull says whether an error is that of a disk without room.
func IsFull(err error) bool {
	return errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EDQUOT) || errors.Is(err, unix.EFBIG)
}

// freeSpace is what may be written to the file system of dir, in bytes.
func freeSpace(dir string) (int64, error) {
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		return 0, err
	}
	return int64(st.Bavail) * st.Bsize, nil
}

// sync makes the folder durable with one call, which for thousands of small files is
// a small part of what one call for each would take.
func (f *Folder) sync() error {
	dir, err := f.root.Open(".")
	if err != nil {
		return err
	}
	return errors.Join(os.NewSyscallError("syncfs", unix.Syncfs(int(dir.Fd()))), dir.Close())
}

// checkDevice refuses what is no disk, and disks that are in use.
func checkDevice(path string, info os.FileInfo) error {
	if info.Mode()&os.ModeDevice == 0 || info.Mode()&os.ModeCharDevice != 0 {
		return agent.Errorf(agent.ErrUsage, "output %s is neither a file nor a disk", path)
	}
	real, err := filepath.EvalSymlinks(path)
	if err != nil {
		return fmt.Errorf("output: %w", err)
	}
	parts := partitions(real)
	mounts, err := os.ReadFile("/proc/mounts")
	if err != nil {
		return fmt.Errorf("output %s: which disks are mounted cannot be read: %w", path, err)
	}
	if disk, at := mountedOn(string(mounts), parts); at != "" {
		return agent.Errorf(agent.ErrRefused, "output %s: %s is mounted at %s; unmount it, or choose another disk", path, disk, at)
	}
	swaps, err := os.ReadFile("/proc/swaps")
	if err == nil {
		if disk := swapOn(string(swaps), parts); disk != "" {
			return agent.Errorf(agent.ErrRefused, "output %s: %s is used as swap; switch it off with swapoff, or choose another disk", path, disk)
		}
	}
	return nil
}

// partitions is the disk itself and the partitions on it.
func partitions(device string) []string {
	all := []string{device}
	name := filepath.Base(device)
	entries, err := os.ReadDir(filepath.Join("/sys/class/block", name))
	if err != nil {
		return all
	}
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), name) {
			all = append(all, "/dev/"+e.Name())
		}
	}
	return all
}

// mountedOn looks a list of devices up in the text of /proc/mounts.
func mountedOn(mounts string, devices []string) (device, at string) {
	lines := bufio.NewScanner(strings.NewReader(mounts))
	for lines.Scan() {
		fields := strings.Fields(lines.Text())
		if len(fields) < 2 || !strings.HasPrefix(fields[0], "/") {
			continue
		}
		source := fields[0]
		if real, err := filepath.EvalSymlinks(source); err == nil {
			source = real
		}
		for _, d := range devices {
			if source == d {
				return d, fields[1]
			}
		}
	}
	return "", ""
}

// swapOn looks a list of devices up in the text of /proc/swaps.
func swapOn(swaps string, devices []string) string {
	lines := bufio.NewScanner(strings.NewReader(swaps))
	for lines.Scan() {
		for _, d := range devices {
			if fields := strings.Fields(lines.Text()); len(fields) > 0 && fields[0] == d {
				return d
			}
		}
	}
	return ""
}

// openDevice opens a disk for this program alone: O_EXCL makes the kernel refuse
// disks that it uses itself (mounts, swap, LVM, RAID).
func openDevice(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDWR|unix.O_EXCL, 0)
	if errors.Is(err, unix.EBUSY) {
		return nil, agent.Errorf(agent.ErrRefused, "output %s is in use by this system (a mount, swap, LVM or RAID): choose another disk", path)
	}
	if err != nil {
		return nil, fmt.Errorf("output: %w", err)
	}
	return f, nil
}

func deviceSize(f *os.File) (int64, error) {
	n, err := f.Seek(0, io.SeekEnd)
	if err != nil {
		return 0, fmt.Errorf("read the size of the disk: %w", err)
	}
	return n, nil
}
