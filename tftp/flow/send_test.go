package flow

import (
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/time/rate"

	"castpoint/test/tftpclient"
	"castpoint/tftp/wire"
)

// FuzzAcknowledge feeds a transfer in the middle of its work any sequence of
// datagrams: what it believes to be acknowledged never goes back and never passes
// what was sent.
func FuzzAcknowledge(f *testing.F) {
	f.Add([]byte{0, 4, 0, 1, 0, 4, 0, 2}, uint8(4), false)
	f.Add([]byte{0, 4, 0xff, 0xff, 0, 4, 0, 0, 0, 4, 0, 9}, uint8(16), false)
	f.Add([]byte{0, 4, 0, 1, 255, 0, 4, 0, 3, 0}, uint8(1), true)
	f.Add([]byte{0, 5, 0, 8, 0, 3, 0, 1}, uint8(1), true)
	f.Fuzz(func(t *testing.T, b []byte, window uint8, varWindow bool) {
		r := &Sender{
			terms: wire.Terms{BlockSize: 512, Window: max(1, int(window)), VarWindow: varWindow},
			stats: &Stats{}, final: -1, window: max(1, int(window)), next: 1, heard: func() {}, moved: never,
			src: newOctets(tftpclient.PatternFile(200*512), 200*512, 512, max(1, int(window)), nothing), link: nullLink{},
		}
		step := 4
		if varWindow {
			step = 5
		}
		for len(b) >= step {
			if err := r.fly(t.Context()); err != nil {
				t.Fatal(err)
			}
			acked := r.acked
			if _, ok := wire.ParseError(b[:step]); ok {
				return
			}
			if a, ok := wire.ParseAck(b[:step]); ok {
				if _, done := r.acknowledge(a); done {
					if r.acked != 201 {
						t.Fatalf("done at block %d of 201", r.acked)
					}
					return
				}
			}
			if r.acked < acked || r.acked > r.maxSent || r.next <= r.acked || r.next > r.maxSent+1 || r.maxSent > 201 {
				t.Fatalf("acked %d (was %d), next %d, sent %d", r.acked, acked, r.next, r.maxSent)
			}
			if r.window < 1 || r.maxSent-r.acked > wire.MaxVarWindow {
				t.Fatalf("window %d, %d in flight", r.window, r.maxSent-r.acked)
			}
			b = b[step:]
		}
	})
}

// TestRateLimit measures in virtual time.
func TestRateLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const size, bytesPerSecond = 10 << 20, 1 << 20
		for _, window := range []int{1, 64} {
			stats := Stats{}
			r := &Sender{
				link: &echoLink{}, src: newOctets(tftpclient.ZeroFile(size), size, 1456, window, nothing), stats: &stats,
				idle: time.Minute, heard: func() {}, moved: never, terms: wire.Terms{BlockSize: 1456, Window: window},
				limiters: limiters([]*rate.Limiter{nil, NewLimiter(2 * bytesPerSecond), NewLimiter(bytesPerSecond)}),
			}
			start := time.Now()
			if err := r.Run(t.Context()); err != nil {
				t.Fatal(err)
			}
			got := float64(size) / time.Since(start).Seconds()
			if got > bytesPerSecond || got < bytesPerSecond*95/100 {
				t.Errorf("window %d: %.0f bytes per second, the limit is %d", window, got, bytesPerSecond)
			}
		}
	})
}
