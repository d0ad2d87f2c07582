package object

import (
	"errors"
	"fmt"
	"os"
	"strconv"

	"golang.org/x/sys/unix"
)

// lockFile takes the exclusive lock without waiting; ok is false when another
// process holds it.
func lockFile(f *os.File) (ok bool, err error) {
	err = unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	if errors.Is(err, unix.EWOULDBLOCK) {
		return false, nil
	}
	return err == nil, err
}

// freeBytes is what an ordinary user may still write to the file system of dir.
func freeBytes(dir string) (int64, error) {
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		return 0, fmt.Errorf("ask for free space of %s: %w", dir, err)
	}
	return int64(st.Bavail) * st.Bsize, nil
}

// cloneFile makes dst share the bytes of src (reflink). ok is false when the
// file system cannot, and then nothing has happened.
func cloneFile(dst, src *os.File) (ok bool, err error) {
	err = unix.IoctlFileClone(int(dst.Fd()), int(src.Fd()))
	if noSpace(err) {
		return false, err
	}
	// The reasons not to are many (EOPNOTSUPP, EXDEV, EINVAL, ENOTTY, EPERM,
	// ETXTBSY), and a copy is the answer to all of them.
	return err == nil, nil
}

// linkOver gives the file that is open another name, in the place of the file of
// that name. ok is false when the file system cannot, or will not for this user,
// and then the name is as it was.
func linkOver(name string, f *os.File) (ok bool) {
	link := name + "-link"
	if unix.Linkat(unix.AT_FDCWD, "/proc/self/fd/"+strconv.Itoa(int(f.Fd())), unix.AT_FDCWD, link, unix.AT_SYMLINK_FOLLOW) != nil {
		return false
	}
	if os.Rename(link, name) != nil {
		_ = os.Remove(link)
		return false
	}
	return true
}

// startWriting has a part of a file written to the disk without waiting for it.
// What it cannot do the sync at the end does.
func startWriting(f *os.File, offset, n int64) {
	_ = unix.SyncFileRange(int(f.Fd()), offset, n, unix.SYNC_FILE_RANGE_WRITE)
}

// allocate reserves the blocks of a file that is going to have size bytes. ok
// is false when the file system cannot.
func allocate(f *os.File, size int64) (ok bool, err error) {
	for {
		err = unix.Fallocate(int(f.Fd()), 0, 0, size)
		if !errors.Is(err, unix.EINTR) {
			break
		}
	}
	if noSpace(err) {
		return false, err
	}
	return err == nil, nil
}

// noSpace says whether err means that the disk, or a quota, is full.
func noSpace(err error) bool {
	return errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EDQUOT)
}
