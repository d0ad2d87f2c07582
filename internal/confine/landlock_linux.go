package confine

import (
	"errors"
	"fmt"
	"os"
	"unsafe"

	"golang.org/x/sys/unix"
	"kernel.org/pub/linux/libs/security/libcap/psx"
)

// readOnly takes from all threads of this process the right to write, make, remove and
// run files, to use the network by TCP, and to signal other processes, by Landlock
// (landlock(7)): files stay readable. A kernel without it, or one that forbids it, leaves
// the process as it is: limited and without privileges.
func readOnly() error {
	version, err := landlockVersion()
	if err != nil || version == 0 {
		return err
	}
	rules := unix.LandlockRulesetAttr{Handled_access_fs: filesystemRights(version) &^ (unix.LANDLOCK_ACCESS_FS_READ_FILE | unix.LANDLOCK_ACCESS_FS_READ_DIR)}
	if version >= 4 {
		rules.Handled_access_net = unix.LANDLOCK_ACCESS_NET_BIND_TCP | unix.LANDLOCK_ACCESS_NET_CONNECT_TCP
	}
	if version >= 6 {
		rules.Scoped = unix.LANDLOCK_SCOPE_ABSTRACT_UNIX_SOCKET | unix.LANDLOCK_SCOPE_SIGNAL
	}
	// Rights that are named and granted nowhere are gone everywhere. Kernels that know
	// fewer fields than this demand that the others are zero.
	fd, _, errno := unix.Syscall(unix.SYS_LANDLOCK_CREATE_RULESET, uintptr(unsafe.Pointer(&rules)), unsafe.Sizeof(rules), 0)
	if errno != 0 {
		return fmt.Errorf("make a Landlock ruleset: %w", os.NewSyscallError("landlock_create_ruleset", errno))
	}
	_, _, errno = psx.Syscall3(unix.SYS_LANDLOCK_RESTRICT_SELF, fd, 0, 0)
	if errno != 0 {
		errno := os.NewSyscallError("landlock_restrict_self", errno)
		return errors.Join(fmt.Errorf("give up writing: %w", errno), unix.Close(int(fd)))
	}
	return unix.Close(int(fd))
}

// landlockVersion is the version of the kernel's Landlock, from 1; 0 where there is none,
// or where a filter of system calls knows it not.
func landlockVersion() (int, error) {
	v, _, errno := unix.Syscall(unix.SYS_LANDLOCK_CREATE_RULESET, 0, 0, unix.LANDLOCK_CREATE_RULESET_VERSION)
	switch errno {
	case 0:
		return int(v), nil
	case unix.ENOSYS, unix.EOPNOTSUPP, unix.EPERM:
		return 0, nil
	}
	return 0, os.NewSyscallError("landlock_create_ruleset", errno)
}

// filesystemRights are the rights that a version knows: the first has thirteen, later
// ones add one each that is of use here.
func filesystemRights(version int) uint64 {
	rights := uint64(unix.LANDLOCK_ACCESS_FS_REFER) - 1
	if version >= 2 {
		rights |= unix.LANDLOCK_ACCESS_FS_REFER
	}
	if version >= 3 {
		rights |= unix.LANDLOCK_ACCESS_FS_TRUNCATE
	}
	if version >= 5 {
		rights |= unix.LANDLOCK_ACCESS_FS_IOCTL_DEV
	}
	return rights
}
