package host

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
	"kernel.org/pub/linux/libs/security/libcap/cap"
	"kernel.org/pub/linux/libs/security/libcap/psx"
)

// AsRoot are the capabilities over files that a command of root keeps: root reads
// an image wherever it lies, and writes an export wherever it is told to.
func AsRoot() []cap.Value { return []cap.Value{cap.DAC_OVERRIDE, cap.DAC_READ_SEARCH, cap.FOWNER} }

// BecomeOwner makes a process of root one of the user that the data folder
// belongs to, and keeps the capabilities named. What root adds then belongs to
// the service that will serve it. A folder that is not there, or root's own,
// changes nothing.
func BecomeOwner(data string, keep ...cap.Value) error {
	if os.Geteuid() != 0 {
		return nil
	}
	st, err := os.Stat(data)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("data folder: %w", err)
	}
	owner, ok := st.Sys().(*syscall.Stat_t)
	if !ok || owner.Uid == 0 {
		return nil
	}
	if err := errors.Join(cap.SetGroups(int(owner.Gid)), cap.SetUID(int(owner.Uid))); err != nil {
		return fmt.Errorf("work as the owner of %s (user %d): %w", data, owner.Uid, err)
	}
	return KeepOnly(keep...)
}

// KeepOnly gives up all capabilities but those named, of which only those remain
// that the process has. Without any it does nothing.
func KeepOnly(keep ...cap.Value) error {
	has := cap.GetProc()
	left := cap.NewSet()
	for _, v := range keep {
		if ok, err := has.GetFlag(cap.Permitted, v); err == nil && ok {
			if err := errors.Join(left.SetFlag(cap.Permitted, true, v), left.SetFlag(cap.Effective, true, v)); err != nil {
				return fmt.Errorf("keep %v: %w", v, err)
			}
		}
	}
	if err := left.SetProc(); err != nil {
		return fmt.Errorf("give up privileges: %w", err)
	}
	return nil
}

// NoNewPrivileges keeps all programs that this process starts from having more than it
// has, by their owner or by capabilities of their files.
func NoNewPrivileges() error {
	// prctl is of one thread, and Go has several.
	if _, _, errno := psx.Syscall6(unix.SYS_PRCTL, unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0, 0); errno != 0 {
		return fmt.Errorf("give up new privileges: %w", os.NewSyscallError("prctl", errno))
	}
	return nil
}
