package machine

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

type linuxKernel struct{}

func newKernel() kernel { return linuxKernel{} }

func (linuxKernel) mount(source, target, format string) error {
	return os.NewSyscallError("mount", unix.Mount(source, target, format, unix.MS_NOATIME, ""))
}

// unmount waits until what was written is on the disk: also for ntfs-3g, whose
// process ends before the call returns.
func (linuxKernel) unmount(target string) error {
	return os.NewSyscallError("umount", unix.Unmount(target, 0))
}

func (linuxKernel) bind(source, target string) error {
	return os.NewSyscallError("mount", unix.Mount(source, target, "", unix.MS_BIND|unix.MS_REC, ""))
}

// flush tells the file system first: the pages of ntfs-3g are those of the device.
func (linuxKernel) flush(folder, device string) error {
	if folder != "" {
		f, err := os.Open(folder)
		if err != nil {
			return err
		}
		err = os.NewSyscallError("syncfs", unix.Syncfs(int(f.Fd())))
		if err = errors.Join(err, f.Close()); err != nil {
			return err
		}
	}
	f, err := os.Open(device)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

func (linuxKernel) sync() { unix.Sync() }

// loopTries bounds the race for a free loop device.
const loopTries = 16

func (linuxKernel) loop(path string, offset, size int64) (device string, free func() error, err error) {
	fail := func(err error) (string, func() error, error) {
		return "", nil, fmt.Errorf("make a loop device of %s: %w", path, err)
	}
	backing, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return fail(err)
	}
	defer backing.Close()
	control, err := os.OpenFile("/dev/loop-control", os.O_RDWR, 0)
	if err != nil {
		return fail(err)
	}
	defer control.Close()
	for range loopTries {
		n, err := unix.IoctlRetInt(int(control.Fd()), unix.LOOP_CTL_GET_FREE)
		if err != nil {
			return fail(os.NewSyscallError("LOOP_CTL_GET_FREE", err))
		}
		device := fmt.Sprintf("/dev/loop%d", n)
		f, err := os.OpenFile(device, os.O_RDWR, 0)
		if err != nil {
			return fail(err)
		}
		config := unix.LoopConfig{Fd: uint32(backing.Fd())}
		config.Info.Offset, config.Info.Sizelimit = uint64(offset), uint64(size)
		copy(config.Info.File_name[:], filepath.Base(path))
		err = unix.IoctlLoopConfigure(int(f.Fd()), &config)
		if errors.Is(err, unix.EBUSY) {
			f.Close()
			continue // somebody else was quicker
		}
		if err != nil {
			f.Close()
			return fail(os.NewSyscallError("LOOP_CONFIGURE", err))
		}
		return device, func() error {
			_, err := unix.IoctlRetInt(int(f.Fd()), unix.LOOP_CLR_FD)
			return errors.Join(os.NewSyscallError("LOOP_CLR_FD", err), f.Close())
		}, nil
	}
	return fail(errors.New("no loop device is free"))
}
