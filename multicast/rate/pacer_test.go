package rate

import (
	"testing"
	"time"
)

func TestPacer(t *testing.T) {
	var p Pacer
	now := time.Unix(1000, 0)
	p.next = now
	var sent int
	for now.Before(time.Unix(1001, 0)) {
		if w := p.Reserve(now, 64000, 100e6, 0); w > 0 {
			now = now.Add(w + 300*time.Microsecond) // timers wake late
		}
		sent += 64000
	}
	if rate := float64(sent*8) / 1e6; rate < 99 || rate > 103 {
		t.Errorf("paced to %.1f Mbit/s, want 100", rate)
	}
	now = now.Add(time.Hour)
	var flood int
	for p.Reserve(now, 64000, 100e6, 0) <= 0 {
		flood++
	}
	if flood > 3 {
		t.Errorf("after an hour of rest %d bursts go out at once", flood)
	}
}

// TestPacerLeast: a sender that is late each time keeps the least rate all the same,
// sends no more than the rate when it is not, and no flood after a rest.
func TestPacerLeast(t *testing.T) {
	for _, c := range []struct {
		late        time.Duration
		rate, least float64
		min, max    float64 // Mbit/s
	}{
		{300 * time.Microsecond, 50e6, 50e6, 49, 51},
		{300 * time.Microsecond, 100e6, 50e6, 99, 103},
		{30 * time.Millisecond, 50e6, 50e6, 49, 52},
		{30 * time.Millisecond, 50e6, 0, 5, 25},
		{30 * time.Millisecond, 60e6, 50e6, 49, 62},
		{30 * time.Millisecond, 40e6, 50e6, 39, 42},
		{time.Second, 50e6, 50e6, 2, 3}, // 256 KiB at once and no more
	} {
		var p Pacer
		start := time.Unix(1000, 0)
		now, sent := start, 0
		for now.Before(start.Add(20 * time.Second)) {
			if w := p.Reserve(now, 8000, c.rate, c.least); w > 0 {
				now = now.Add(w + c.late)
			}
			sent += 8000
		}
		if rate := float64(sent*8) / 1e6 / now.Sub(start).Seconds(); rate < c.min || rate > c.max {
			t.Errorf("%.0f Mbit/s, %.0f at least, %v late each time: paced to %.1f, want %.0f to %.0f", c.rate/1e6, c.least/1e6, c.late, rate, c.min, c.max)
		}
	}
	var p Pacer
	now := time.Unix(1000, 0)
	p.Reserve(now, 8000, 50e6, 50e6)
	p.Rest()
	now = now.Add(time.Hour)
	flood := 0
	for p.Reserve(now, 8000, 50e6, 50e6) <= 0 {
		flood++
	}
	if flood > 5 {
		t.Errorf("after an hour of rest %d bursts go out at once", flood)
	}
}
