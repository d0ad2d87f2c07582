// Package clock sets clocks for tests, and never that of the machine they run on. Set
// makes the times that time.Now returns on a host whose clock was set while a program
// ran: the time of the calendar jumps, and the one that passes goes on, as long as nobody
// takes it away with UTC, Local, In, Round or Truncate. Start gives a whole program a clock
// that jumps like that.
package clock

import (
	"time"
	"unsafe"
)

// layout is that of time.Time.
type layout struct {
	wall uint64
	ext  int64 // with a reading of the monotonic clock: its nanoseconds
	loc  *time.Location
}

// Set is the time t, which comes from time.Now, after the clock was set by so much.
func Set(t time.Time, by time.Duration) time.Time {
	moved := t.Add(by)
	(*layout)(unsafe.Pointer(&moved)).ext = (*layout)(unsafe.Pointer(&t)).ext
	return moved
}
