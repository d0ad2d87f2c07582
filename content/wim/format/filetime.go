package format

import "time"

// Windows counts time in units of 100 ns since 1601-01-01 UTC.
const (
	fileTimeSecond = 10_000_000
	fileTimeUnix   = 11_644_473_600            // seconds from 1601 to 1970
	fileTimeMax    = 2_650_467_744_000_000_000 // the year 10000, beyond which time.Time has no JSON
)

// Time turns a Windows file time into UTC. 0, which means "not set", and
// times beyond the year 9999 are the zero time.
func Time(ft uint64) time.Time {
	if ft == 0 || ft >= fileTimeMax {
		return time.Time{}
	}
	return time.Unix(int64(ft/fileTimeSecond)-fileTimeUnix, int64(ft%fileTimeSecond)*100).UTC()
}

// FileTime is the reverse; times before 1601 become 0.
func FileTime(t time.Time) uint64 {
	seconds := t.Unix() + fileTimeUnix
	if seconds < 0 {
		return 0
	}
	return uint64(seconds)*fileTimeSecond + uint64(t.Nanosecond()/100)
}
