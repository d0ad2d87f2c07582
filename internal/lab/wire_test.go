package lab

import (
	"math/rand/v2"
	"testing"
	"time"
)

// A cable with a rate sends one frame after the other, loses what it has no room for,
// and keeps the order of what it delays.
func TestShaper(t *testing.T) {
	frame := make([]byte, 1476) // 1500 bytes with preamble, check sum and gap
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	random := rand.New(rand.NewPCG(1, 2))
	t.Run("rate", func(t *testing.T) {
		s := shaper{link: Link{Rate: 12_000_000, Delay: 5 * time.Millisecond}, random: random.Float64}
		for i := 1; i <= 10; i++ {
			at, ok := s.pass(now, frame)
			if want := now.Add(time.Duration(i)*time.Millisecond + 5*time.Millisecond); !ok || at != want {
				t.Errorf("frame %d leaves at %v, %v; want %v", i, at.Sub(now), ok, want.Sub(now))
			}
		}
		passed := 10
		for range 1000 {
			if _, ok := s.pass(now, frame); ok {
				passed++
			}
		}
		if want := wireQueue/1500 + 1; passed < want-1 || passed > want+1 {
			t.Errorf("%d frames find room, want about %d", passed, want)
		}
		if _, ok := s.pass(now.Add(time.Second), frame); !ok {
			t.Error("no room after the queue is sent")
		}
	})
	t.Run("loss", func(t *testing.T) {
		s := shaper{link: Link{Loss: 0.1}, random: random.Float64}
		lost := 0
		for range 10000 {
			if _, ok := s.pass(now, frame); !ok {
				lost++
			}
		}
		if lost < 900 || lost > 1100 {
			t.Errorf("%d of 10000 frames are lost, want 1000", lost)
		}
		arp := make([]byte, 60)
		arp[12], arp[13] = 0x08, 0x06
		s.link.Loss = 1
		if _, ok := s.pass(now, arp); !ok {
			t.Error("ARP is lost")
		}
	})
	t.Run("jitter", func(t *testing.T) {
		s := shaper{link: Link{Delay: 20 * time.Millisecond, Jitter: 10 * time.Millisecond}, random: random.Float64}
		var last time.Time
		for i := range 1000 {
			sent := now.Add(time.Duration(i) * 100 * time.Microsecond)
			at, ok := s.pass(sent, frame)
			if !ok || at.Before(last) {
				t.Fatalf("frame %d leaves at %v, before the one before it", i, at)
			}
			if d := at.Sub(sent); d < 20*time.Millisecond || d > 30*time.Millisecond {
				t.Fatalf("frame %d takes %v", i, d)
			}
			last = at
		}
	})
}
