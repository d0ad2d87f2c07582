package sender

import (
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"castpoint/internal/simnet"
	"castpoint/multicast/rate"
	"castpoint/test/objects"
)

// bottleneck is the link that a server's sessions and other traffic leave by: a queue
// that drops what it has no room for, as that of a network card's driver.
type bottleneck struct {
	rate float64 // bits per second
	room int     // bytes of the queue

	mu     sync.Mutex
	busy   time.Time // the link is busy until then
	passed uint64    // bytes of all that were taken into the queue
}

// enqueue puts n bytes into the queue and says when they have left it; false when
// there was no room.
func (b *bottleneck) enqueue(n int) (time.Time, bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	now := time.Now()
	if b.busy.Before(now) {
		b.busy = now
	}
	if b.busy.Sub(now).Seconds()*b.rate/8 > float64(b.room) {
		return now, false
	}
	b.busy = b.busy.Add(time.Duration(float64(n*8) / b.rate * float64(time.Second)))
	b.passed += uint64(n)
	return b.busy, true
}

// behind is a session's edge behind a bottleneck. As with a socket, a send blocks
// while too much of the session's own is in the queue.
type behind struct {
	Conn
	link  *bottleneck
	room  int           // bursts that the socket takes
	waits []time.Time   // when what is in the queue leaves it
	turn  chan struct{} // a lock: synctest's clock stands still for who waits for a mutex
}

// socketBursts is how many bursts a socket takes, at the limit that Linux has by
// default.
const socketBursts = 6

// greedyBursts is what it takes of a greedy session where the package has raised the
// limit.
const greedyBursts = 60

func (c *behind) WriteGroup(b []byte, size int) error {
	c.turn <- struct{}{}
	defer func() { <-c.turn }()
	for len(c.waits) >= c.room {
		time.Sleep(time.Until(c.waits[0]))
		c.waits = c.waits[1:]
	}
	left, ok := c.link.enqueue(len(b) + len(b)/size*42)
	if !ok {
		return nil // dropped, and nobody is told
	}
	c.waits = append(c.waits, left)
	data := append([]byte(nil), b...)
	time.AfterFunc(time.Until(left), func() { _ = c.Conn.WriteGroup(data, size) })
	return nil
}

// left is how many bytes have left the queue, as an interface counts them.
func (b *bottleneck) left() uint64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	queued := max(time.Until(b.busy).Seconds(), 0) * b.rate / 8
	return b.passed - min(uint64(queued), b.passed)
}

// tcp is a stream of the same host that takes what it gets: its window grows by some
// segments in each round trip and is cut by three tenths when something is lost, as
// CUBIC cuts it. Of its own bytes it keeps no more than smallQueue in the queue, as
// Linux does (TCP small queues). sent counts what has passed the link.
func (b *bottleneck) tcp(stop <-chan struct{}, sent func(int)) {
	const segment, chunk, trip, smallQueue = 1500, 15_000, 500 * time.Microsecond, 128 << 10
	window, growth := 10*segment, 4*segment
	var under []time.Time // way: when each chunk leaves the queue
	var cut time.Time     // when the window was cut last
	for {
		select {
		case <-stop:
			return
		default:
		}
		now := time.Now()
		for len(under) > 0 && under[0].Add(trip).Before(now) {
			under = under[1:]
			window += growth * chunk / window
		}
		queued := 0
		for _, left := range under {
			if left.After(now) {
				queued += chunk
			}
		}
		if len(under)*chunk < window && queued < smallQueue {
			left, ok := b.enqueue(chunk)
			if ok {
				sent(chunk)
				under = append(under, left)
				continue
			}
			if now.Sub(cut) > 10*trip {
				window, cut = max(window*7/10, 2*chunk), now
			}
		}
		time.Sleep(trip / 2)
	}
}

// server is some sessions behind one link, as the keeper of a server has them.
type server struct {
	link     *bottleneck
	mu       sync.Mutex
	foreign  uint64
	sessions []*lab
	members  []*machine
}

func (v *server) add(t *testing.T, blocks int, change func(*Config)) *lab {
	l := &lab{t: t, net: simnet.New(uint64(len(v.sessions) + 1)), end: make(chan error, 1)}
	l.obj, l.data = objects.New(blocks*objects.BlockSize, uint64(len(v.sessions)+1))
	l.serve(uint32(len(v.sessions)+1), func(c *Config) {
		edge := &behind{Conn: c.Conn, link: v.link, room: socketBursts, turn: make(chan struct{}, 1)}
		c.Conn = edge
		c.LinkSpeed, c.MinMembers = int64(v.link.rate), 2
		c.Link = func() (rate.LinkUse, bool) {
			v.mu.Lock()
			defer v.mu.Unlock()
			use := rate.LinkUse{Sessions: len(v.sessions)}
			for _, l := range v.sessions {
				use.Own += l.s.SentBytes()
			}
			all := v.link.left()
			use.Foreign = all - min(use.Own, all)
			return use, true
		}
		if change(c); c.Greedy {
			edge.room = greedyBursts
		}
	})
	v.mu.Lock()
	v.sessions = append(v.sessions, l)
	v.mu.Unlock()
	for i := range 2 {
		v.members = append(v.members, l.join(fmt.Sprint(i), simnet.Link{Delay: 200 * time.Microsecond}, simnet.Link{}, nil))
	}
	return l
}

// shares measures for a while what each session, and the others, have of the link.
func (v *server) shares(d time.Duration) (sessions []float64, others float64) {
	read := func() (own []uint64, foreign uint64) {
		for _, l := range v.sessions {
			own = append(own, l.s.SentBytes())
		}
		v.mu.Lock()
		defer v.mu.Unlock()
		return own, v.foreign
	}
	own, foreign := read()
	time.Sleep(d)
	after, foreignAfter := read()
	whole := v.link.rate / 8 * d.Seconds()
	for i := range own {
		sessions = append(sessions, float64(after[i]-own[i])/whole)
	}
	return sessions, float64(foreignAfter-foreign) / whole
}

// end waits for all members.
func (v *server) end() {
	for i, rc := range v.members {
		v.sessions[i/2].verify(rc)
	}
	for _, l := range v.sessions {
		l.close()
	}
}

// A TCP stream beside a session keeps a third of the server's link, or next to
// nothing when the session is greedy.
func TestSessionBesideTCP(t *testing.T) {
	for _, c := range []struct {
		name             string
		greedy           bool
		least, most      float64 // of the link, that the stream has
		leastSession     float64
		sessions, blocks int
	}{
		{"polite", false, 0.33, 0.5, 0.45, 1, 330},
		{"greedy", true, 0, 0.06, 0.9, 1, 480},
		{"two polite", false, 0.33, 0.6, 0.15, 2, 200},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				v := &server{link: &bottleneck{rate: 200e6, room: 1_500_000}}
				stop, done := make(chan struct{}), make(chan struct{})
				go func() {
					defer close(done)
					v.link.tcp(stop, func(n int) {
						v.mu.Lock()
						defer v.mu.Unlock()
						v.foreign += uint64(n)
					})
				}()
				time.Sleep(time.Second)
				for range c.sessions {
					v.add(t, c.blocks, func(cfg *Config) {
						cfg.Greedy = c.greedy
					})
				}
				time.Sleep(800 * time.Millisecond)
				sessions, others := v.shares(1200 * time.Millisecond)
				t.Logf("sessions %.2f, the stream %.2f of the link", sessions, others)
				if others < c.least || others > c.most {
					t.Errorf("the stream has %.2f of the link, want %.2f to %.2f", others, c.least, c.most)
				}
				for _, s := range sessions {
					if s < c.leastSession {
						t.Errorf("a session has %.2f of the link, want %.2f", s, c.leastSession)
					}
				}
				close(stop)
				<-done
				v.end()
			})
		})
	}
}

// Sessions that want the same link have about as much of it, and with a cap each
// keeps to its share of the cap.
func TestSessionsShareTheLink(t *testing.T) {
	for _, total := range []float64{0, 120e6} {
		t.Run(fmt.Sprintf("total %g", total), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				const n = 3
				v := &server{link: &bottleneck{rate: 300e6, room: 1_500_000}}
				blocks := 250
				for range n {
					v.add(t, blocks, func(c *Config) { c.MaxRate = int64(total / n) })
				}
				time.Sleep(500 * time.Millisecond)
				sessions, _ := v.shares(time.Second)
				sum := 0.0
				for _, s := range sessions {
					sum += s
				}
				t.Logf("%.3f of the link, together %.3f", sessions, sum)
				for _, s := range sessions {
					if s < 0.6*sum/n || s > 1.5*sum/n {
						t.Errorf("shares %.2f are not fair", sessions)
					}
				}
				if limit := total / v.link.rate; total > 0 && (sum > 1.03*limit || sum < 0.9*limit) {
					t.Errorf("%.3f of the link with a cap of %.3f", sum, limit)
				}
				if total == 0 && sum < 0.9 {
					t.Errorf("only %.2f of the link is used", sum)
				}
				v.end()
			})
		})
	}
}
