package rollout

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"castpoint/deploy/named"
)

// TestHoursOverClockChanges: hours are those of the clock on the wall, also in the two
// nights of a year in which it is changed.
func TestHoursOverClockChanges(t *testing.T) {
	berlin, err := time.LoadLocation("Europe/Berlin")
	if err != nil {
		t.Fatal(err)
	}
	// In UTC: at 01:00 on 29 March 2026 clocks go from 02:00 to 03:00, at 01:00 on 25
	// October from 03:00 to 02:00.
	for _, c := range []struct {
		hours, utc string
		in         bool
	}{
		{"22:00-05:00", "2026-03-28T20:59:59Z", false}, {"22:00-05:00", "2026-03-28T21:00:00Z", true},
		{"22:00-05:00", "2026-03-29T00:59:59Z", true}, {"22:00-05:00", "2026-03-29T01:00:00Z", true},
		{"22:00-05:00", "2026-03-29T02:59:59Z", true}, {"22:00-05:00", "2026-03-29T03:00:00Z", false},
		{"02:00-03:00", "2026-03-29T00:59:59Z", false}, {"02:00-03:00", "2026-03-29T01:00:00Z", false},
		{"02:30-04:00", "2026-03-29T01:00:00Z", true}, {"02:30-04:00", "2026-03-29T01:59:59Z", true}, {"02:30-04:00", "2026-03-29T02:00:00Z", false},
		{"22:00-05:00", "2026-10-24T19:59:59Z", false}, {"22:00-05:00", "2026-10-24T20:00:00Z", true},
		{"22:00-05:00", "2026-10-25T01:30:00Z", true}, {"22:00-05:00", "2026-10-25T03:59:59Z", true}, {"22:00-05:00", "2026-10-25T04:00:00Z", false},
		{"02:00-03:00", "2026-10-25T00:30:00Z", true}, {"02:00-03:00", "2026-10-25T01:30:00Z", true}, {"02:00-03:00", "2026-10-25T02:00:00Z", false},
		{"00:00-00:00", "2026-03-29T01:00:00Z", true}, {"08:00-08:00", "2026-03-29T01:00:00Z", true},
	} {
		at, err := time.Parse(time.RFC3339, c.utc)
		if err != nil {
			t.Fatal(err)
		}
		if got := within(c.hours, at.In(berlin)); got != c.in {
			t.Errorf("%s at %s: %v", c.hours, at.In(berlin), got)
		}
	}
}

// TestRerun: each way of running again, after each end.
func TestRerun(t *testing.T) {
	for _, c := range []struct {
		rerun Rerun
		after string // of succeeded, failed, cancelled, never run: those after which it runs again
	}{
		{RerunNever, "none"}, {RerunFailed, "failed cancelled none"}, {RerunSucceeded, "succeeded none"}, {RerunAlways, "succeeded failed cancelled none"},
	} {
		for _, last := range []State{StateSucceeded, StateFailed, StateCancelled, "none"} {
			d := Deployment{ID: "d", Rerun: c.rerun}
			run := &Run{State: last, Device: "pc"}
			if last == "none" {
				run = nil
			}
			want := strings.Contains(c.after, string(last))
			if got, why := d.again(run, false); got != want || why == "" {
				t.Errorf("%s after %s: %v, %s", c.rerun, last, got, why)
			}
			if got, _ := d.again(run, true); !got {
				t.Errorf("%s after %s: somebody has asked for it again, and it does not run", c.rerun, last)
			}
		}
	}
}

func TestDeploymentsAreChecked(t *testing.T) {
	now := time.Date(2026, 3, 2, 12, 0, 0, 0, time.UTC)
	for says, d := range map[string]Deployment{
		"want up to 63":       {Name: "a/b"},
		`purpose "maybe"`:     {Purpose: "maybe"},
		`rerun "twice"`:       {Rerun: "twice"},
		`hours "22-5"`:        {Hours: "22-5"},
		`hours "24:00-05"`:    {Hours: "24:00-05"},
		"before it starts":    {Start: now, End: now},
		"maximum size -1":     {MaxSize: -1},
		`after "explode"`:     {After: "explode"},
		"1 to 100 percent":    {AlertBelow: 101},
		"nothing would begin": {Hidden: true, Purpose: Required},
		"at most 4096":        {Notes: strings.Repeat("x", 5000)},
	} {
		if d.Name == "" {
			d.Name = "lab"
		}
		if err := d.normalize(); !errors.Is(err, named.ErrInvalid) || !strings.Contains(err.Error(), says) {
			t.Errorf("%s: %v", says, err)
		}
	}
	d := Deployment{Name: " lab ", Purpose: Required, AlertBelow: 90}
	if err := d.normalize(); err != nil || fmt.Sprint(d.Name, d.Rerun, d.MaxSize, d.AlertAfter) != fmt.Sprint("lab", RerunNever, DefaultMaxSize, 1) {
		t.Errorf("%+v, %v", d, err)
	}
}
