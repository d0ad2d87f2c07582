package resident

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// closeToOthers sets the security descriptor of a file on an NTFS volume, which
// ntfs-3g shows as an attribute. What ntfs-3g makes is open to everybody else.
func closeToOthers(path string) error {
	info, err := os.Lstat(path)
	if err != nil {
		return err
	}
	if err := unix.Setxattr(path, "system.ntfs_acl", descriptor(info.IsDir()), 0); err != nil {
		return fmt.Errorf("set the permissions of %s: %w", path, os.NewSyscallError("setxattr", err))
	}
	return nil
}
