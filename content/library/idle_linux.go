package library

import (
	"runtime"

	"golang.org/x/sys/unix"
)

// idleThread gives the calling goroutine a thread of its own that gets disk and
// CPU only when nobody else wants them, and that ends with the goroutine. It is
// a favour to the others, so that it cannot be had is no error; disks without a
// scheduler know no priorities.
func idleThread() {
	const (
		whoProcess = 1       // IOPRIO_WHO_PROCESS; 0 is the calling thread
		classIdle  = 3 << 13 // IOPRIO_PRIO_VALUE(IOPRIO_CLASS_IDLE, 0)
		lowest     = 19
	)
	runtime.LockOSThread()
	_, _, _ = unix.Syscall(unix.SYS_IOPRIO_SET, whoProcess, 0, classIdle)
	_ = unix.Setpriority(unix.PRIO_PROCESS, unix.Gettid(), lowest)
}
