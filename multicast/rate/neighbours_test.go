package rate

import (
	"testing"
	"time"
)

// TestPolite plays a link of 1 Gbit/s that a session shares with traffic that
// wants some rate and takes only what is left: it grows by a quarter in a round
// while there is room, and is pushed back otherwise.
func TestPolite(t *testing.T) {
	const link = 1e9
	for _, c := range []struct {
		name               string
		wants              float64 // bits per second
		least, leastOthers float64 // of the link, after five seconds
	}{
		{"nobody else", 0, 0.95, 0},
		{"a stream that takes what it gets", 2 * link, 0.5, 1. / 3},
		{"a stream of a tenth", link / 10, 0.8, 0.09},
		{"chatter", link / 200, 0.95, 0.004},
	} {
		t.Run(c.name, func(t *testing.T) {
			ctl := NewController(0, 0, link)
			var n Neighbours
			now := time.Unix(0, 0)
			var own, foreign, ownBefore, foreignBefore float64
			others := 0.03 * link
			const rounds, step = 200, LookEvery
			for i := range rounds {
				if i == rounds/2 {
					ownBefore, foreignBefore = own, foreign
				}
				others = min(others*1.25, c.wants)
				if room := link - ctl.rate; others > room {
					others = min(max(room, 0.03*link), c.wants)
				}
				got := min(ctl.rate, link-others)
				own += got / 8 * step.Seconds()
				foreign += others / 8 * step.Seconds()
				if ctl.rate+others > link {
					n.delay, n.blocked = 3*time.Millisecond, step/2
				}
				now = now.Add(step)
				// No losses.
				ctl.Observe(&LossMeter{fresh: true, packets: MinWindow}, 0, 1)
				ctl.Give(n.Observe(now, LinkUse{uint64(foreign), uint64(own), 1}, uint64(own)))
				ctl.Round(now, 5*time.Millisecond, uint64(own))
			}
			seconds := float64(rounds-rounds/2) * step.Seconds()
			o, f := (own-ownBefore)*8/seconds/link, (foreign-foreignBefore)*8/seconds/link
			if o < c.least || f < c.leastOthers {
				t.Errorf("the session has %.2f of the link and others %.2f, want at least %.2f and %.3f", o, f, c.least, c.leastOthers)
			}
		})
	}
}

// TestPoliteForgets: a capacity that was measured long ago limits nobody.
func TestPoliteForgets(t *testing.T) {
	n := Neighbours{}
	now := time.Unix(0, 0)
	var own, foreign uint64
	for i := range 10 {
		now = now.Add(LookEvery)
		own, foreign = own+3e6, foreign+3e6
		n.delay = 3 * time.Millisecond
		if limit := n.Observe(now, LinkUse{foreign, own, 1}, own); i > 0 && limit == 0 {
			t.Fatal("no limit beside others on a full link")
		}
	}
	now = now.Add(fullMemory + time.Second)
	if limit := n.Observe(now, LinkUse{foreign + 1e9, own + 3e9, 1}, own+3e9); limit != 0 {
		t.Errorf("limited to %v by a capacity of half a minute ago", limit)
	}
}
