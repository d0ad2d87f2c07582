package sender

import (
	"testing"

	"castpoint/internal/simnet"
	"castpoint/multicast/block"
	"castpoint/test/objects"
)

// promised is a sender's edge that notes what it is told.
type promised struct {
	*simnet.Sender
	last bool
}

func (p *promised) Promised(yes bool) { p.last = yes }

// TestPromisedGoesFirst: what a session was promised at least, or leaves others' share
// of the link by itself, or is to leave none, does not stand behind the images that fill
// the link; everything else does.
func TestPromisedGoesFirst(t *testing.T) {
	for _, c := range []struct {
		least, most, yield float64
		greedy, want       bool
	}{
		{least: 10e6, most: 10e6, want: true},
		{least: 1e6, most: 10e6},
		{most: 10e6},
		{most: 10e6, yield: 5e6, want: true},
		{most: 10e6, greedy: true, want: true},
	} {
		conn := &promised{Sender: simnet.New(1).Sender()}
		o, data := objects.New(1000, 1)
		s, err := New(Config{ID: 1, Objects: []block.Object{o}, Sources: sourcesOf(data), Conn: conn, Group: testGroup,
			MinRate: int64(c.least), MaxRate: int64(c.most), Greedy: c.greedy})
		if err != nil {
			t.Fatal(err)
		}
		s.rate.Give(c.yield)
		if err := s.newEmitter().wait(t.Context(), 1); err != nil {
			t.Fatal(err)
		}
		if conn.last != c.want {
			t.Errorf("%+v: goes first: %v", c, conn.last)
		}
	}
}
