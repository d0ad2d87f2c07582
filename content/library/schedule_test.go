package library

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"castpoint/content"
	hostclock "castpoint/test/clock"
)

// TestScheduleWhileTheClockIsSet: a clock that was ahead when a content was validated
// does not keep it from being validated for as long, and each is validated once.
func TestScheduleWhileTheClockIsSet(t *testing.T) {
	l := openLibrary(t, t.TempDir())
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "a"), []byte("content"), 0o644); err != nil {
		t.Fatal(err)
	}
	c, err := l.Add(t.Context(), content.AddRequest{Kind: content.KindPackage, Path: dir, Name: "package"})
	if err != nil {
		t.Fatal(err)
	}
	const every = 24 * time.Hour
	now := time.Now()
	for _, by := range []time.Duration{-5 * time.Hour, -10 * 365 * 24 * time.Hour, 25 * time.Hour, 10 * 365 * 24 * time.Hour} {
		tried := map[string]time.Time{}
		if due, err := l.due(now, every, tried); err != nil || due != nil {
			t.Fatal(due, err)
		}
		set := hostclock.Set(now.Add(time.Minute), by)
		due, err := l.due(set, every, tried)
		if err != nil || due == nil || due.ID != c.ID {
			t.Errorf("set by %s: %v, %v", by, due, err)
		}
		// As validateDue does; what it writes is of the calendar.
		tried[c.ID] = set
		for _, after := range []time.Duration{0, time.Minute, every - time.Minute} {
			if due, err := l.due(set.Add(after), every, tried); err != nil || due != nil {
				t.Errorf("set by %s, %s after it was tried it is due again: %v", by, after, err)
			}
		}
		// Unless a time is in its record that has come meanwhile, as here that of adding it.
		if due, err := l.due(set.Add(every+5*time.Hour), every, tried); err != nil || due == nil {
			t.Errorf("set by %s: not due a day later: %v", by, err)
		}
	}
}
