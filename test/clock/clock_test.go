package clock

import (
	"testing"
	"time"
)

func TestSet(t *testing.T) {
	now := time.Now()
	for _, by := range []time.Duration{5 * time.Hour, -5 * time.Hour, time.Nanosecond, -time.Second, 10 * 365 * 24 * time.Hour, -10 * 365 * 24 * time.Hour} {
		set := Set(now, by)
		if passed, calendar := set.Sub(now), set.Round(0).Sub(now.Round(0)); passed != 0 || calendar != by {
			t.Errorf("set by %s: %s have passed, and the calendar is ahead by %s", by, passed, calendar)
		}
		if later := set.Add(time.Minute); later.Sub(now) != time.Minute {
			t.Errorf("a minute after the clock was set by %s: %s", by, later.Sub(now))
		}
	}
}
