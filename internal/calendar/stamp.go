// Package calendar keeps what goes by the time of the calendar right while the clock of
// the host is set: times on disk that mean the same moment in the next process (Stamp),
// and whether the clock may be believed when something is to be deleted for its age
// (Watch).
package calendar

import (
	"strconv"
	"strings"
	"time"
)

// A Stamp is a moment on disk by the time that passes since the host was started, which
// nobody sets. It says nothing ("") about a time that is known by the calendar alone,
// and after the next start of the host. It stands beside the time of the calendar.
type Stamp string

// NewStamp is the stamp of a moment t that was computed from time.Now in this process;
// now is another. One that has lost the time that passes, or was read from disk, has none.
func NewStamp(t, now time.Time) Stamp {
	host, up := uptime()
	if host == "" || bare(t) || bare(now) {
		return ""
	}
	return Stamp(host + ":" + strconv.FormatInt(int64(up+t.Sub(now)), 10))
}

// bare says whether a time is of the calendar alone.
func bare(t time.Time) bool {
	return t == t.Round(0) //nolint:staticcheck // Equal would not see the difference that is asked for
}

// Time is the moment in this process, whatever the clock was set to since; without a
// stamp of this start of the host it is the time of the calendar that was stored with it.
// now is time.Now.
func (s Stamp) Time(stored, now time.Time) time.Time {
	if t, ok := s.moment(now); ok {
		return t
	}
	return stored
}

// moment is Time, and whether the stamp says it.
func (s Stamp) moment(now time.Time) (time.Time, bool) {
	start, digits, _ := strings.Cut(string(s), ":")
	at, err := strconv.ParseInt(digits, 10, 64)
	host, up := uptime()
	if err != nil || host == "" || start != host {
		return time.Time{}, false
	}
	return now.Add(time.Duration(at) - up), true
}
