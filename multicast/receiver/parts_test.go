package receiver

import (
	"testing"
	"time"

	"castpoint/multicast/wire"
)

func TestReplayWindow(t *testing.T) {
	var w replayWindow
	steps := []struct {
		n     wire.PacketNumber
		fresh bool
	}{
		{1000, true}, {1000, false}, {999, true}, {999, false}, {1001, true},
		{5000, true}, {1500, true}, {1500, false},
		{5000 + windowSize, true}, {1501, false}, {6000, true}, {6000, false},
		{5000 + 3*windowSize, true}, {6001, false}, {5000 + 3*windowSize - 100, true}, {5000 + 3*windowSize - 100, false},
		{1 << 50, false}, // far future
		{5001 + 3*windowSize, true},
	}
	for i, s := range steps {
		if got := w.fresh(s.n); got != s.fresh {
			t.Errorf("step %d, number %d: fresh %v, want %v", i, s.n, got, s.fresh)
		}
	}
}

func TestTransit(t *testing.T) {
	var tr transit
	at := time.Unix(1000, 0)
	send := func(d time.Duration, queue time.Duration) {
		at = at.Add(d)
		// The sender's clock is 2^32 microseconds and a bit away.
		sent := uint32(at.UnixMicro()) + 4_000_000_000
		tr.observe(at.Add(300*time.Microsecond+queue), sent)
	}
	send(0, 0)
	if d := tr.queued(); d != 0 {
		t.Errorf("first datagram queued %v", d)
	}
	send(time.Millisecond, 5*time.Millisecond)
	send(time.Millisecond, 4*time.Millisecond)
	if d := tr.queued(); d != 4*time.Millisecond {
		t.Errorf("queueing delay %v, want that of the fastest, 4ms", d)
	}
	if d := tr.queued(); d != 0 {
		t.Errorf("without new datagrams the delay is %v", d)
	}
	// A path that has become longer is the new normal after two windows.
	for range 50 {
		send(500*time.Millisecond, 7*time.Millisecond)
	}
	_ = tr.queued()
	send(time.Millisecond, 7*time.Millisecond)
	if d := tr.queued(); d != 0 {
		t.Errorf("after 25 s on a longer path the delay is %v, want 0", d)
	}
}

func TestTransitClockSet(t *testing.T) {
	var tr transit
	at := time.Unix(1000, 0)
	for range 3 {
		at = at.Add(time.Millisecond)
		tr.observe(at, uint32(at.UnixMicro()))
	}
	at = at.Add(6 * time.Hour) // the clock is set, the sender's is not
	tr.observe(at, uint32(at.Add(-6*time.Hour).UnixMicro()))
	if d := tr.queued(); d != 0 {
		t.Errorf("after the clock was set the queueing delay is %v", d)
	}
}
