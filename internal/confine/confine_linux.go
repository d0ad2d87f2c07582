package confine

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"
	"kernel.org/pub/linux/libs/security/libcap/cap"
	"kernel.org/pub/linux/libs/security/libcap/psx"
)

// maxFiles is how many files a confined process may have open.
const maxFiles = 128

// attributes of a confined process: it ends with this one, and keeps of its privileges
// only that of reading files, if there is one.
func attributes() *syscall.SysProcAttr {
	a := &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	has, err := cap.GetProc().GetFlag(cap.Permitted, cap.DAC_READ_SEARCH)
	if err == nil && has && os.Geteuid() != 0 {
		a.AmbientCaps = []uintptr{uintptr(cap.DAC_READ_SEARCH)}
	}
	return a
}

// Enter puts the limits in force that Run has given to this process.
func Enter() error {
	memory, err := strconv.ParseUint(os.Getenv(envMemory), 10, 63)
	seconds, errCPU := strconv.ParseUint(os.Getenv(envCPU), 10, 31)
	if err := errors.Join(err, errCPU); err != nil {
		return fmt.Errorf("this command is run by castpoint itself: %w", err)
	}
	for _, l := range []struct {
		name  string
		what  int
		limit uint64
	}{
		// Not RLIMIT_AS: the runtime of Go reserves much more than it uses.
		{"memory", unix.RLIMIT_DATA, memory},
		{"processor time", unix.RLIMIT_CPU, max(1, seconds)},
		{"size of files", unix.RLIMIT_FSIZE, 0},
		{"open files", unix.RLIMIT_NOFILE, maxFiles},
		{"core dumps", unix.RLIMIT_CORE, 0},
	} {
		if err := unix.Setrlimit(l.what, &unix.Rlimit{Cur: l.limit, Max: l.limit}); err != nil {
			return fmt.Errorf("limit %s to %d: %w", l.name, l.limit, err)
		}
	}
	// prctl and Landlock are of one thread each, and Go has several by now.
	if _, _, errno := psx.Syscall6(unix.SYS_PRCTL, unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0, 0); errno != 0 {
		return fmt.Errorf("give up new privileges: %w", os.NewSyscallError("prctl", errno))
	}
	if err := readOnly(); err != nil {
		return err
	}
	left := cap.NewSet()
	if has, err := cap.GetProc().GetFlag(cap.Permitted, cap.DAC_READ_SEARCH); err == nil && has {
		if err := errors.Join(left.SetFlag(cap.Permitted, true, cap.DAC_READ_SEARCH), left.SetFlag(cap.Effective, true, cap.DAC_READ_SEARCH)); err != nil {
			return fmt.Errorf("keep the right to read files: %w", err)
		}
	}
	if err := left.SetProc(); err != nil {
		return fmt.Errorf("give up privileges: %w", err)
	}
	return nil
}
