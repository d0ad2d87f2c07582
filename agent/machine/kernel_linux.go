package machine

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"unsafe"

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

// bind leaves out what is mounted below the folder (/dev/pts, the firmware's variables):
// nobody asks for it, and with it the folder could not be unmounted.
func (linuxKernel) bind(source, target string) error {
	return os.NewSyscallError("mount", unix.Mount(source, target, "", unix.MS_BIND, ""))
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

// ioctls of <linux/nvme_ioctl.h>.
const (
	nvmeIoctlID    = 0x4e40     // _IO('N', 0x40)
	nvmeIoctlAdmin = 0xc0484e41 // _IOWR('N', 0x41, struct nvme_passthru_cmd)
)

// nvmePassthru is struct nvme_passthru_cmd.
type nvmePassthru struct {
	opcode, flags uint8
	_             uint16
	namespace     uint32
	_, _          uint32 // cdw2, cdw3
	_             uint64 // metadata
	address       uint64
	_             uint32 // metadata's length
	length        uint32
	cdw10         uint32
	_, _, _, _, _ uint32 // cdw11 to cdw15
	timeout       uint32 // milliseconds
	result        uint32
}

func (linuxKernel) nvmeNamespace(path string) (uint32, error) {
	f, err := os.Open(path)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	n, err := unix.IoctlRetInt(int(f.Fd()), nvmeIoctlID)
	return uint32(n), os.NewSyscallError("NVME_IOCTL_ID", err)
}

func (linuxKernel) nvme(path string, c nvmeCommand) error {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	p := nvmePassthru{opcode: c.opcode, namespace: c.namespace, cdw10: c.cdw10, timeout: uint32(c.timeout.Milliseconds())}
	var pin runtime.Pinner
	defer pin.Unpin()
	if len(c.data) > 0 {
		// The kernel finds it by its number, which the collector does not see.
		pin.Pin(&c.data[0])
		p.address, p.length = uint64(uintptr(unsafe.Pointer(&c.data[0]))), uint32(len(c.data))
	}
	status, _, errno := unix.Syscall(unix.SYS_IOCTL, f.Fd(), nvmeIoctlAdmin, uintptr(unsafe.Pointer(&p)))
	if errno != 0 {
		return os.NewSyscallError("NVME_IOCTL_ADMIN_CMD", errno)
	}
	if status != 0 {
		return fmt.Errorf("status %#x of the NVMe command %#x", status, c.opcode)
	}
	return nil
}

func (linuxKernel) discardSecurely(path string, size int64) error {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	span := [2]uint64{0, uint64(size)}
	if _, _, errno := unix.Syscall(unix.SYS_IOCTL, f.Fd(), unix.BLKSECDISCARD, uintptr(unsafe.Pointer(&span))); errno != 0 {
		return os.NewSyscallError("BLKSECDISCARD", errno)
	}
	return nil
}

// forget has the next read of a file come from the disk.
func forget(f *os.File) error {
	return os.NewSyscallError("fadvise", unix.Fadvise(int(f.Fd()), 0, 0, unix.FADV_DONTNEED))
}
