package calendar

import (
	"os"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// uptime is which start of the host this is, "" when nobody knows, and how long ago it
// was, with the time that the host slept.
func uptime() (host string, up time.Duration) {
	id, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return "", 0
	}
	var t unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &t); err != nil {
		return "", 0
	}
	return strings.TrimSpace(string(id)), time.Duration(t.Nano())
}
