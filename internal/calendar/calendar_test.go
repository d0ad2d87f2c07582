package calendar

import (
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"

	hostclock "castpoint/test/clock"
)

func TestStamp(t *testing.T) {
	now := time.Now()
	until := now.Add(time.Hour)
	stamp := NewStamp(until, now)
	if stamp == "" {
		t.Fatal("no stamp")
	}
	for _, by := range []time.Duration{0, 400 * 24 * time.Hour, -26 * 365 * 24 * time.Hour} {
		later := hostclock.Set(time.Now(), by)
		got := stamp.Time(until.Round(0), later)
		if off := got.Sub(later) - until.Sub(later); off.Abs() > time.Second {
			t.Errorf("clock set by %s: off by %s", by, off)
		}
	}
	stored := time.Date(2001, 2, 3, 0, 0, 0, 0, time.UTC)
	for _, s := range []Stamp{"", "x", "another-start:1", stamp + "x"} {
		if got := s.Time(stored, now); !got.Equal(stored) {
			t.Errorf("stamp %q: %s", s, got)
		}
	}
	if s := NewStamp(until.Round(0), now); s != "" {
		t.Errorf("a time of the calendar has the stamp %q", s)
	}
}

// host is one whose clock is set.
type host struct {
	t    *testing.T
	path string
	time time.Time
}

func newHost(t *testing.T) *host {
	return &host{t: t, path: filepath.Join(t.TempDir(), "clock.json"), time: time.Now()}
}

func (h *host) now() time.Time { return h.time }

// open starts the server.
func (h *host) open() *Watch {
	h.t.Helper()
	w, err := openWatch(h.path, nil, h.now)
	if err != nil {
		h.t.Fatal(err)
	}
	return w
}

// close ends the server in order. The host is started anew, too, if asked for.
func (h *host) close(w *Watch, restarted bool) {
	h.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	w.Run(ctx)
	if restarted {
		data, err := os.ReadFile(h.path)
		if err == nil {
			err = os.WriteFile(h.path, withoutStamp(data), 0o600)
		}
		if err != nil {
			h.t.Fatal(err)
		}
	}
}

func withoutStamp(data []byte) []byte {
	id, _ := uptime()
	for i := range data[:len(data)-len(id)] {
		if string(data[i:i+len(id)]) == id {
			copy(data[i:], "another")
		}
	}
	return data
}

func (h *host) want(w *Watch, steady bool, when string) {
	h.t.Helper()
	if w.Steady() != steady {
		h.t.Errorf("%s: steady is %t", when, !steady)
	}
}

const year = 365 * 24 * time.Hour

func TestWatchWhileTheClockIsSet(t *testing.T) {
	h := newHost(t)
	w := h.open()
	h.want(w, false, "at first")
	h.time = h.time.Add(steadyTime)
	h.want(w, true, "after a day")
	for _, by := range []time.Duration{400 * 24 * time.Hour, -400 * 24 * time.Hour, 2 * time.Hour, -2 * time.Hour} {
		h.time = hostclock.Set(h.time, by)
		h.want(w, false, "set by "+by.String())
		h.time = h.time.Add(steadyTime - time.Second)
		h.want(w, false, "almost a day after "+by.String())
		h.time = h.time.Add(time.Second)
		h.want(w, true, "a day after "+by.String())
	}
	h.time = hostclock.Set(h.time, 30*time.Second) // by a time server
	h.want(w, true, "corrected")
}

func TestWatchOverRestarts(t *testing.T) {
	for _, restarted := range []bool{false, true} {
		h := newHost(t)
		w := h.open()
		h.time = h.time.Add(steadyTime / 2)
		// A host's uptime cannot be moved by a test: the rest of the time is added at once.
		h.close(w, true)
		w = h.open()
		h.want(w, false, "after half a day, and a start")
		h.time = h.time.Add(steadyTime / 2)
		h.want(w, true, "after another half")
		h.close(w, restarted)
		w = h.open()
		h.want(w, true, "after a start")
		h.close(w, restarted)

		h.time = hostclock.Set(h.time, -26*year)
		w = h.open()
		h.want(w, false, "started with a flat battery")
		h.close(w, restarted)
		h.time = hostclock.Set(h.time, 26*year)
		w = h.open()
		h.want(w, false, "and put right before the next start")
		h.time = h.time.Add(steadyTime)
		h.want(w, true, "a day after")
		h.close(w, restarted)

		h.time = hostclock.Set(h.time, 400*24*time.Hour)
		w = h.open()
		h.want(w, false, "started a year ahead")
	}
}

func TestWatchOfDamagedFile(t *testing.T) {
	h := newHost(t)
	w := h.open()
	h.time = h.time.Add(steadyTime)
	h.close(w, true)
	h.want(h.open(), true, "a day before")
	if err := os.WriteFile(h.path, []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	w = h.open()
	h.want(w, false, "of a damaged file")
	h.close(w, true)
	h.time = h.time.Add(steadyTime)
	h.want(h.open(), true, "and a day later")
}
