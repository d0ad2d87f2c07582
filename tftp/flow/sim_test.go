package flow

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"castpoint/test/tftpclient"
	"castpoint/tftp/wire"

	"castpoint/internal/netio"
)

// simNet is a network of two ends in memory. Inside a synctest bubble its delays
// are virtual time. Each direction loses, doubles and reorders by itself.
type simNet struct {
	mu  sync.Mutex
	rng *rand.Rand

	loss, double       float64       // probabilities, per datagram
	minDelay, maxDelay time.Duration // one way; a range reorders

	// rate and queue, when set, are a bottleneck towards the client: bytes per
	// second, and the packets that may wait for it before it drops.
	rate  float64
	queue int
	busy  time.Time // when the bottleneck has sent what waits

	server, client *simEnd

	// dropData and dropAck, when set, decide about single datagrams instead of
	// chance: they are given the datagram and how many went that way before.
	dropData, dropAck func(b []byte, n int) bool

	moved func() bool // of the reader, when set
	place netio.Place // of what the server sends

	toClient, toServer int // datagrams sent
	dropped            int // by the bottleneck
	dataSent           map[uint16]int
}

// simEnd is one end: a wire for the client, a link for the server.
type simEnd struct {
	net   *simNet
	in    chan []byte
	stop  chan struct{}
	once  sync.Once
	queue []simDatagram // on the way to this end, in the order of sending; net.mu
	gone  bool          // the client's port is closed; net.mu
	mtu   int
}

type simDatagram struct {
	due time.Time
	b   []byte
}

func newSimNet(seed uint64) *simNet {
	n := &simNet{rng: rand.New(rand.NewPCG(seed, 1)), dataSent: make(map[uint16]int)}
	n.server = &simEnd{net: n, in: make(chan []byte, 4096), stop: make(chan struct{}), mtu: 1500}
	n.client = &simEnd{net: n, in: make(chan []byte, 4096), stop: make(chan struct{}), mtu: 1500}
	return n
}

func (e *simEnd) Send(b []byte) error {
	n := e.net
	n.mu.Lock()
	defer n.mu.Unlock()
	to, count, drop := n.client, &n.toClient, n.dropData
	if e == n.client {
		to, count, drop = n.server, &n.toServer, n.dropAck
	} else if block, _, ok := wire.ParseData(b); ok {
		n.dataSent[block]++
	}
	*count++
	if drop != nil && drop(b, *count-1) {
		return nil
	}
	copies := 1
	if n.rng.Float64() < n.loss {
		copies = 0
	} else if n.rng.Float64() < n.double {
		copies = 2
	}
	var wait time.Duration
	if to == n.client && n.rate > 0 {
		one := time.Duration(float64(len(b)+28+18) / n.rate * float64(time.Second))
		now := time.Now()
		if n.busy.Before(now) {
			n.busy = now
		}
		if n.busy.Sub(now) > time.Duration(n.queue)*one {
			n.dropped++
			return nil
		}
		n.busy = n.busy.Add(one)
		wait = n.busy.Sub(now)
	}
	b = bytes.Clone(b)
	for range copies {
		delay := n.minDelay + wait
		if n.maxDelay > n.minDelay {
			delay += time.Duration(n.rng.Int64N(int64(n.maxDelay - n.minDelay)))
		}
		to.queue = append(to.queue, simDatagram{time.Now().Add(delay), b})
		// Timers of the same instant fire in any order; each takes what is due first,
		// so only different delays reorder.
		time.AfterFunc(delay, to.deliver)
	}
	return nil
}

// deliver hands over the datagram that is due first.
func (e *simEnd) deliver() {
	e.net.mu.Lock()
	defer e.net.mu.Unlock()
	first := 0
	for i, d := range e.queue {
		if d.due.Before(e.queue[first].due) {
			first = i
		}
	}
	b := e.queue[first].b
	e.queue = slices.Delete(e.queue, first, first+1)
	select {
	case e.in <- b:
	default:
	}
}

func (e *simEnd) SendBlocks(first int64, count, blockSize int, data []byte) error {
	for i := range count {
		b := wire.AppendData(nil, first+int64(i), data[i*blockSize:min((i+1)*blockSize, len(data))])
		if err := e.Send(b); err != nil {
			return err
		}
	}
	return nil
}

func (e *simEnd) Receive(buf []byte, deadline time.Time) (int, error) {
	e.net.mu.Lock()
	gone := e == e.net.server && e.net.client.gone
	e.net.mu.Unlock()
	if gone {
		time.Sleep(e.net.minDelay)
		return 0, ErrPeerClosed
	}
	timer := time.NewTimer(time.Until(deadline))
	defer timer.Stop()
	select {
	case b := <-e.in:
		return copy(buf, b), nil
	case <-timer.C:
		return 0, os.ErrDeadlineExceeded
	case <-e.stop:
		return 0, ErrInterrupted
	}
}

func (e *simEnd) Blocking() {}
func (e *simEnd) Sleep(d time.Duration) error {
	time.Sleep(d)
	return nil
}
func (e *simEnd) interrupt() { e.once.Do(func() { close(e.stop) }) }
func (e *simEnd) Stand(place netio.Place) {
	e.net.mu.Lock()
	defer e.net.mu.Unlock()
	e.net.place = place
}

// simWire is the client's side, which lets time pass for the server.
type simWire struct{ *simEnd }

func (w simWire) Send(b []byte) { _ = w.simEnd.Send(b) }

// sender is the sender of a file over the network, by the options of a request.
func (n *simNet) sender(data []byte, r wire.Request, stats *Stats) *Sender {
	size := int64(len(data))
	told := size
	if r.Mode == wire.Netascii {
		told = -1
	}
	terms, answer := wire.Negotiate(r.Options, false, wire.Bounds{BlockSize: n.server.mtu - 32, Window: 64, Size: told})
	*stats = Stats{Size: size}
	sending := Sending{
		Link: n.server, File: bytes.NewReader(data), Size: size, Mode: r.Mode, Terms: terms, Idle: 30 * time.Second,
		Heard: nothing, Moved: never, Stats: stats,
	}
	if n.moved != nil {
		sending.Moved = n.moved
	}
	if len(answer) > 0 {
		sending.OACK = wire.AppendOACK(nil, answer)
	}
	return NewSender(sending)
}

// run serves data to the client over the network until both have ended, within a
// synctest bubble.
func (n *simNet) run(t *testing.T, data []byte, c *tftpclient.Client) (stats Stats, serverErr, clientErr error) {
	t.Helper()
	ctx, cancel := context.WithCancelCause(t.Context())
	defer cancel(nil)
	c.Wire = simWire{n.client}
	served := make(chan struct{})
	go func() {
		defer close(served)
		// The listener's part: the first request makes the transfer, others are
		// repetitions.
		buf := make([]byte, 2048)
		m, err := n.server.Receive(buf, time.Now().Add(time.Hour))
		if err != nil {
			serverErr = err
			return
		}
		r, err := wire.ParseRequest(buf[:m])
		if err != nil {
			serverErr = err
			return
		}
		s := n.sender(data, r, &stats)
		serverErr = s.Run(ctx)
	}()
	clientErr = c.Get("file")
	// The client lingers to acknowledge the last block again, as RFC 1350 asks.
	if clientErr == nil && !c.Vanish {
		buf := make([]byte, 70000)
		for {
			select {
			case <-served:
				return stats, serverErr, clientErr
			default:
			}
			m, err := n.client.Receive(buf, time.Now().Add(10*time.Millisecond))
			if err != nil {
				continue
			}
			if _, _, ok := wire.ParseData(buf[:m]); ok {
				c.Wire.Send(wire.AppendAck(nil, uint16(c.Blocks)))
			}
		}
	}
	n.mu.Lock()
	n.client.gone = c.Vanish
	n.mu.Unlock()
	<-served
	return stats, serverErr, clientErr
}

// TestSimulatedNetwork carries files over networks that lose up to a fifth, double
// and reorder, with every combination of options: nothing may ever end wrong.
func TestSimulatedNetwork(t *testing.T) {
	type network struct {
		name               string
		loss, double       float64
		minDelay, maxDelay time.Duration
	}
	networks := []network{
		{"clean 0.1 ms", 0, 0, 50 * time.Microsecond, 50 * time.Microsecond},
		{"clean 50 ms", 0, 0, 25 * time.Millisecond, 25 * time.Millisecond},
		{"loss 1 %", .01, 0, 100 * time.Microsecond, 100 * time.Microsecond},
		{"loss 20 %", .2, 0, time.Millisecond, time.Millisecond},
		{"doubled", 0, 1, 100 * time.Microsecond, 200 * time.Microsecond},
		{"reordered", 0, 0, 100 * time.Microsecond, 20 * time.Millisecond},
		{"all at once", .2, .2, 100 * time.Microsecond, 50 * time.Millisecond},
	}
	optionSets := [][]wire.Option{
		nil,
		{{Name: "tsize", Value: "0"}},
		{{Name: "blksize", Value: "1468"}, {Name: "tsize", Value: "0"}},
		{{Name: "tsize", Value: "0"}, {Name: "blksize", Value: "1468"}, {Name: "windowsize", Value: "4"}},
		{{Name: "blksize", Value: "512"}, {Name: "timeout", Value: "1"}, {Name: "windowsize", Value: "16"}},
		{{Name: "blksize", Value: "1024"}, {Name: "windowsize", Value: "64"}},
		tftpclient.BootManager(1456, 16),
		tftpclient.BootManager(1456, 1),
	}
	sizes := []int{0, 1, 511, 512, 513, 1468 * 64, 1468*64*3 + 5}
	habits := []tftpclient.Habit{tftpclient.AckGapOnce, tftpclient.AckEveryGap, tftpclient.AckNothing, tftpclient.AckEach}
	rng := rand.New(rand.NewPCG(7, 7))
	for _, nw := range networks {
		for i, options := range optionSets {
			for _, mode := range []string{"octet", "netascii"} {
				name := fmt.Sprintf("%s/options %d/%s", nw.name, i, mode)
				t.Run(name, func(t *testing.T) {
					for _, size := range sizes {
						h := habits[rng.IntN(len(habits))]
						seed := rng.Uint64()
						synctest.Test(t, func(t *testing.T) {
							data := tftpclient.ASCIIBytes(size)
							n := newSimNet(seed)
							n.loss, n.double, n.minDelay, n.maxDelay = nw.loss, nw.double, nw.minDelay, nw.maxDelay
							c := &tftpclient.Client{Options: options, Mode: mode, Habit: h, Timeout: 300 * time.Millisecond}
							if _, ok := wire.FindOption(options, "msftwindow"); ok {
								wr := rand.New(rand.NewPCG(seed, 3))
								c.NextWindow = func(int64) byte { return []byte{1, 4, 16, 64, 255}[wr.IntN(5)] }
							}
							stats, serverErr, clientErr := n.run(t, data, c)
							want := data
							if mode == "netascii" {
								want = tftpclient.ToNetascii(data)
							}
							if clientErr != nil || serverErr != nil {
								t.Fatalf("size %d, habit %d, seed %d: client %v, server %v, %+v", size, h, seed, clientErr, serverErr, stats)
							}
							if !bytes.Equal(c.File, want) {
								t.Fatalf("size %d, habit %d, seed %d: %d bytes arrived, not the %d sent", size, h, seed, len(c.File), len(want))
							}
							if stats.Confirmed && stats.Bytes != int64(len(want)) {
								t.Errorf("stats say %d bytes, sent were %d", stats.Bytes, len(want))
							}
						})
					}
				})
			}
		}
	}
}

// TestSorcerersApprentice doubles every datagram both ways: the server must not
// send the file twice.
func TestSorcerersApprentice(t *testing.T) {
	for _, window := range []int{1, 4, 16, 64} {
		for _, h := range []tftpclient.Habit{tftpclient.AckGapOnce, tftpclient.AckEveryGap, tftpclient.AckEach} {
			for _, spread := range []time.Duration{0, 300 * time.Microsecond, 5 * time.Millisecond} {
				t.Run(fmt.Sprintf("window %d, habit %d, spread %v", window, h, spread), func(t *testing.T) {
					synctest.Test(t, func(t *testing.T) {
						n := newSimNet(9)
						n.double, n.minDelay, n.maxDelay = 1, 100*time.Microsecond, 100*time.Microsecond+spread
						if h != tftpclient.AckGapOnce && spread > 0 {
							return // such clients complain about reordering itself, rightly
						}
						const blocks = 2000
						data := tftpclient.RandomBytes(512*blocks - 1)
						c := &tftpclient.Client{Options: []wire.Option{{Name: "windowsize", Value: strconv.Itoa(window)}}, Habit: h}
						stats, serverErr, clientErr := n.run(t, data, c)
						if serverErr != nil || clientErr != nil {
							t.Fatal(serverErr, clientErr)
						}
						if !bytes.Equal(c.File, data) {
							t.Error("the file differs")
						}
						t.Logf("sent %d for %d", stats.Sent, blocks)
						// Reordering makes clients complain; only without it there is nothing
						// to send twice but what a repeated ACK may ask for.
						if limit := int64(blocks * 13 / 10); spread == 0 && stats.Sent > limit || window == 1 && stats.Sent > limit {
							t.Errorf("%d datagrams for %d blocks: %+v", stats.Sent, blocks, stats)
						}
					})
				})
			}
		}
	}
}

// TestFullQueue has a queue that loses most of what is bulk, as one that images fill,
// and nothing of what goes first: images that are sent again do, so that no client
// waits for one interval after the other. A small file goes first from the beginning.
func TestFullQueue(t *testing.T) {
	for _, tt := range []struct {
		size int
		lost bool
	}{{netio.BulkFrom + 100, true}, {netio.BulkFrom - 1, false}} {
		for seed := range uint64(20) {
			synctest.Test(t, func(t *testing.T) {
				n := newSimNet(seed)
				n.minDelay, n.maxDelay = time.Millisecond, time.Millisecond
				var last time.Time
				var longest time.Duration
				n.dropData = func(b []byte, _ int) bool {
					_, _, data := wire.ParseData(b)
					if !data && n.place != netio.Ordinary {
						t.Error("an answer to a request is bulk")
					}
					lost := n.place == netio.Bulk && n.rng.Float64() < 0.7
					if !lost {
						if now := time.Now(); !last.IsZero() {
							longest = max(longest, now.Sub(last))
						}
						last = time.Now()
					}
					return lost
				}
				c := &tftpclient.Client{Options: []wire.Option{{Name: "blksize", Value: "1468"}, {Name: "windowsize", Value: "4"}}}
				stats, err, clientErr := n.run(t, tftpclient.RandomBytes(tt.size), c)
				if err != nil || clientErr != nil {
					t.Fatal(err, clientErr)
				}
				if lost := stats.Timeouts > 0; lost != tt.lost {
					t.Errorf("%d bytes: %d timeouts", tt.size, stats.Timeouts)
				}
				if longest > initialInterval+100*time.Millisecond {
					t.Errorf("nothing came for %s", longest)
				}
			})
		}
	}
}

// TestLostBlocks loses chosen datagrams and looks at what is sent again.
func TestLostBlocks(t *testing.T) {
	dataBlock := func(b []byte) int {
		if block, _, ok := wire.ParseData(b); ok {
			return int(block)
		}
		return -1
	}
	ackBlock := func(b []byte) int {
		if a, ok := wire.ParseAck(b); ok {
			return int(a.Block)
		}
		return -1
	}
	for _, tt := range []struct {
		name     string
		window   int
		habit    tftpclient.Habit
		dropData []int // block numbers lost once
		dropAck  []int
		again    int64         // datagrams that may be sent again
		within   time.Duration // of virtual time
	}{
		{"middle of a window", 8, tftpclient.AckGapOnce, []int{11}, nil, 8, 20 * time.Millisecond},
		{"middle, impatient client", 8, tftpclient.AckEveryGap, []int{11}, nil, 8, 20 * time.Millisecond},
		{"first of a window", 8, tftpclient.AckGapOnce, []int{9}, nil, 8, 20 * time.Millisecond},
		{"first, impatient client", 8, tftpclient.AckEveryGap, []int{9}, nil, 8, 20 * time.Millisecond},
		{"last of a window", 8, tftpclient.AckGapOnce, []int{16}, nil, 8, 100 * time.Millisecond},
		{"a whole window", 4, tftpclient.AckGapOnce, []int{5, 6, 7, 8}, nil, 4, 100 * time.Millisecond},
		{"an ACK", 8, tftpclient.AckGapOnce, nil, []int{16}, 8, 100 * time.Millisecond},
		{"in lock-step", 1, tftpclient.AckGapOnce, []int{7}, nil, 1, 100 * time.Millisecond},
		{"an ACK in lock-step", 1, tftpclient.AckGapOnce, nil, []int{7}, 1, 100 * time.Millisecond},
		{"the last block", 8, tftpclient.AckGapOnce, []int{100}, nil, 4, 100 * time.Millisecond},
		{"the last ACK", 8, tftpclient.AckGapOnce, nil, []int{100}, 4, 100 * time.Millisecond},
		{"ACK 0", 8, tftpclient.AckGapOnce, nil, []int{0}, 0, 1200 * time.Millisecond},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				once := func(of func([]byte) int, blocks []int) func([]byte, int) bool {
					left := make(map[int]bool)
					for _, b := range blocks {
						left[b] = true
					}
					return func(b []byte, _ int) bool {
						k := of(b)
						drop := left[k]
						delete(left, k)
						return drop
					}
				}
				n := newSimNet(1)
				n.minDelay, n.maxDelay = 500*time.Microsecond, 500*time.Microsecond
				n.dropData, n.dropAck = once(dataBlock, tt.dropData), once(ackBlock, tt.dropAck)
				data := tftpclient.RandomBytes(512*100 - 7)
				c := &tftpclient.Client{Options: []wire.Option{{Name: "windowsize", Value: strconv.Itoa(tt.window)}}, Habit: tt.habit, Timeout: 5 * time.Second}
				if tt.window == 1 {
					c.Options = []wire.Option{{Name: "tsize", Value: "0"}}
				}
				start := time.Now()
				stats, serverErr, clientErr := n.run(t, data, c)
				if serverErr != nil || clientErr != nil || !bytes.Equal(c.File, data) {
					t.Fatalf("server %v, client %v, %d bytes", serverErr, clientErr, len(c.File))
				}
				if stats.Retransmitted > tt.again {
					t.Errorf("%d sent again, want at most %d: %+v", stats.Retransmitted, tt.again, stats)
				}
				plain := time.Duration(100/tt.window+2) * time.Millisecond
				if took := time.Since(start); took > plain+tt.within {
					t.Errorf("took %v, want at most %v", took, plain+tt.within)
				}
				if !stats.Confirmed {
					t.Error("the last ACK was not seen")
				}
			})
		})
	}
}

// TestVariableWindow follows Microsoft's variable window: each ACK decides how many
// blocks come next.
func TestVariableWindow(t *testing.T) {
	for _, tt := range []struct {
		name    string
		windows []byte // by ACK, the last one repeated
	}{
		{"grows", []byte{1, 2, 4, 8, 16, 32, 64, 128, 255}},
		{"shrinks", []byte{64, 32, 16, 8, 4, 2, 1}},
		{"repeats", []byte{4}},
		{"changes", []byte{1, 255, 1, 16, 3, 200}},
		{"goes to zero", []byte{8, 0, 8, 0, 0, 16}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := newSimNet(1)
				n.minDelay, n.maxDelay = time.Millisecond, time.Millisecond
				data := tftpclient.RandomBytes(1456 * 1000)
				c := &tftpclient.Client{Options: tftpclient.BootManager(1456, 16), Timeout: 5 * time.Second}
				var flights []int64
				acked := int64(0)
				i := 0
				c.NextWindow = func(block int64) byte {
					if block > 0 {
						flights = append(flights, block-acked)
					}
					acked = block
					w := tt.windows[min(i, len(tt.windows)-1)]
					i++
					return w
				}
				stats, serverErr, clientErr := n.run(t, data, c)
				if serverErr != nil || clientErr != nil || !bytes.Equal(c.File, data) {
					t.Fatalf("server %v, client %v, %d bytes", serverErr, clientErr, len(c.File))
				}
				if got := c.AgreedTo("msftwindow"); got != "27182" {
					t.Errorf("msftwindow answered %q", got)
				}
				for k, got := range flights[:len(flights)-1] {
					want := max(1, int64(tt.windows[min(k, len(tt.windows)-1)]))
					if got != want {
						t.Fatalf("flight %d had %d blocks, the client asked for %d", k, got, want)
					}
				}
				if stats.Retransmitted != 0 || stats.Timeouts != 0 {
					t.Errorf("sent again without need: %+v", stats)
				}
			})
		})
	}
}

// TestVariableWindowWithoutByte: an ACK that lacks the byte keeps the window.
func TestVariableWindowWithoutByte(t *testing.T) {
	r := Sender{terms: wire.Terms{VarWindow: true}, window: 9}
	r.setWindow(wire.Ack{Block: 3})
	if r.window != 9 {
		t.Errorf("window %d", r.window)
	}
	r.setWindow(wire.Ack{Block: 3, Window: 30, HasWindow: true})
	if r.window != 30 {
		t.Errorf("window %d", r.window)
	}
	r.terms.VarWindow = false
	r.setWindow(wire.Ack{Block: 3, Window: 40, HasWindow: true})
	if r.window != 30 {
		t.Errorf("window %d although the option was not agreed on", r.window)
	}
}

// TestRollover carries more than 65536 blocks, twice around, with losses at the
// turn.
func TestRollover(t *testing.T) {
	for _, window := range []int{1, 4, 64} {
		t.Run(fmt.Sprintf("window %d", window), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := newSimNet(5)
				n.minDelay, n.maxDelay = 10*time.Microsecond, 10*time.Microsecond
				lost := make(map[uint16]bool)
				n.dropData = func(b []byte, _ int) bool {
					block, _, ok := wire.ParseData(b)
					if ok && (block == 0 || block == 65535 || block == 1) && !lost[block] && n.toClient > 60000 {
						lost[block] = true
						return true
					}
					return false
				}
				size := int64(8*(2*65536+100) + 3)
				var at int64
				wrong := false
				c := &tftpclient.Client{
					Options: []wire.Option{{Name: "blksize", Value: "8"}, {Name: "windowsize", Value: strconv.Itoa(window)}},
					Sink: func(p []byte) {
						for _, b := range p {
							wrong = wrong || b != tftpclient.PatternByte(at)
							at++
						}
					},
				}
				data := make([]byte, size)
				_, _ = tftpclient.PatternFile(size).ReadAt(data, 0)
				stats, serverErr, clientErr := n.run(t, data, c)
				if serverErr != nil || clientErr != nil {
					t.Fatal(serverErr, clientErr)
				}
				if wrong || at != size {
					t.Errorf("%d bytes arrived of %d, wrong %v", at, size, wrong)
				}
				if stats.Blocks != size/8+1 || len(lost) != 3 {
					t.Errorf("%d blocks, lost %v", stats.Blocks, lost)
				}
			})
		})
	}
}

// TestClientGoesSilent ends a transfer after the idle timeout, with an ERROR.
func TestClientGoesSilent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newSimNet(1)
		n.dropAck = func(_ []byte, k int) bool { return k > 5 }
		c := &tftpclient.Client{Timeout: time.Minute}
		start := time.Now()
		_, serverErr, _ := n.runWithoutClient(t, tftpclient.RandomBytes(100000), c)
		if !errors.Is(serverErr, ErrSilent) {
			t.Fatalf("got %v", serverErr)
		}
		if took := time.Since(start); took < 30*time.Second || took > 40*time.Second {
			t.Errorf("took %v, the idle timeout is 30 s", took)
		}
	})
}

// runWithoutClient is run for a client that never comes to an end: the server's
// end is what counts.
func (n *simNet) runWithoutClient(t *testing.T, data []byte, c *tftpclient.Client) (stats Stats, serverErr, clientErr error) {
	t.Helper()
	done := make(chan struct{})
	go func() {
		defer close(done)
		c.Wire = simWire{n.client}
		clientErr = c.Get("file")
	}()
	buf := make([]byte, 2048)
	m, err := n.server.Receive(buf, time.Now().Add(time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	r, err := wire.ParseRequest(buf[:m])
	if err != nil {
		t.Fatal(err)
	}
	s := n.sender(data, r, &stats)
	serverErr = s.Run(t.Context())
	_ = n.server.Send(wire.AppendError(nil, wire.CodeUndefined, "over"))
	n.client.interrupt()
	<-done
	return stats, serverErr, clientErr
}

// TestLastAckMissing: a client that starts what it loaded without a last ACK is
// not a failure. The Windows boot manager acknowledges no last block of boot.sdi
// when blocks have 8192 bytes, and asks for its next file.
func TestLastAckMissing(t *testing.T) {
	const blocks = 10 // of 512 bytes; the last is short
	for _, tt := range []struct {
		name          string
		window        int
		closed        bool
		moves         time.Duration // when the client asks for its next file; 0 never
		again         int64         // blocks that may be sent again
		atLeast, most time.Duration
	}{
		{"silent", 4, false, 0, 2 * 7, lastWait, lastWait + time.Second},
		{"silent in lock-step", 1, false, 0, 7, lastWait, lastWait + time.Second},
		{"port closed", 4, true, 0, 2, 0, time.Second},
		{"goes on", 4, false, 20 * time.Millisecond, 0, lastWait, lastWait + time.Second},
		{"goes on in lock-step", 1, false, 20 * time.Millisecond, 0, lastWait, lastWait + time.Second},
		{"goes on later", 1, false, 200 * time.Millisecond, 3, lastWait, lastWait + time.Second},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := newSimNet(1)
				n.minDelay, n.maxDelay = time.Millisecond, time.Millisecond
				data := tftpclient.RandomBytes(512*blocks - 120)
				c := &tftpclient.Client{Options: []wire.Option{{Name: "windowsize", Value: strconv.Itoa(tt.window)}}, Vanish: true}
				if tt.window == 1 {
					c.Options = []wire.Option{{Name: "tsize", Value: "0"}}
				}
				start := time.Now()
				n.moved = func() bool { return tt.moves > 0 && time.Since(start) >= tt.moves }
				var stats Stats
				var err error
				if tt.closed {
					stats, err, _ = n.run(t, data, c)
				} else {
					stats, err, _ = n.runWithoutClient(t, data, c)
				}
				if err != nil {
					t.Fatal(err)
				}
				if stats.Confirmed {
					t.Error("counted as confirmed")
				}
				if took := time.Since(start); took > tt.most || took < tt.atLeast {
					t.Errorf("took %v", took)
				}
				if stats.Retransmitted > tt.again {
					t.Errorf("sent %d blocks again", stats.Retransmitted)
				}
			})
		})
	}
}

// TestLastBlockLost: a client that did not get the last block still gets it, also
// when another machine behind its address has asked for something.
func TestLastBlockLost(t *testing.T) {
	for _, window := range []int{1, 4} {
		synctest.Test(t, func(t *testing.T) {
			n := newSimNet(1)
			n.minDelay, n.maxDelay = time.Millisecond, time.Millisecond
			n.moved = func() bool { return true }
			lost := false
			n.dropData = func(b []byte, _ int) bool {
				block, _, ok := wire.ParseData(b)
				first := ok && block == 10 && !lost
				lost = lost || first
				return first
			}
			data := tftpclient.RandomBytes(512*9 + 5)
			c := &tftpclient.Client{Options: []wire.Option{{Name: "windowsize", Value: strconv.Itoa(window)}}, Timeout: time.Second}
			stats, serverErr, clientErr := n.run(t, data, c)
			if serverErr != nil || clientErr != nil || !bytes.Equal(c.File, data) || !stats.Confirmed {
				t.Errorf("window %d: server %v, client %v, %d bytes, %+v", window, serverErr, clientErr, len(c.File), stats)
			}
		})
	}
}

// TestBottleneck sends windows that are longer than a switch's queue in front of a
// slower port: the transfer must settle near the port's speed instead of losing a
// part of every window and waiting for the timer.
func TestBottleneck(t *testing.T) {
	for _, tt := range []struct {
		window, queue int
		goal          float64 // share of the port's speed
	}{
		{4, 24, .65}, {16, 24, .85}, {32, 24, .6}, {64, 24, .6}, {64, 12, .6},
	} {
		for _, h := range []tftpclient.Habit{tftpclient.AckGapOnce, tftpclient.AckEveryGap, tftpclient.AckNothing} {
			t.Run(fmt.Sprintf("window %d, queue %d, habit %d", tt.window, tt.queue, h), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					n := newSimNet(1)
					n.minDelay, n.maxDelay = 100*time.Microsecond, 100*time.Microsecond
					n.rate, n.queue = 100e6/8, tt.queue
					data := tftpclient.RandomBytes(20 << 20)
					c := &tftpclient.Client{
						Options: []wire.Option{{Name: "blksize", Value: "1468"}, {Name: "windowsize", Value: strconv.Itoa(tt.window)}}, Habit: h,
					}
					start := time.Now()
					stats, serverErr, clientErr := n.run(t, data, c)
					if serverErr != nil || clientErr != nil || !bytes.Equal(c.File, data) {
						t.Fatalf("server %v, client %v, %d bytes", serverErr, clientErr, len(c.File))
					}
					share := float64(len(data)) / time.Since(start).Seconds() / n.rate
					t.Logf("%.2f of the port's speed, %d dropped, %+v", share, n.dropped, stats)
					if share < tt.goal {
						t.Errorf("%.2f of the port's speed, want %.2f", share, tt.goal)
					}
				})
			})
		}
	}
}

// TestForgedAddress: a client that never says a word again gets few answers.
func TestForgedAddress(t *testing.T) {
	for _, options := range [][]wire.Option{nil, {{Name: "blksize", Value: "1468"}, {Name: "windowsize", Value: "64"}}} {
		synctest.Test(t, func(t *testing.T) {
			n := newSimNet(1)
			n.dropAck = func(_ []byte, k int) bool { return k > 0 }
			c := &tftpclient.Client{Options: options, Timeout: time.Hour}
			stats, serverErr, _ := n.runWithoutClient(t, tftpclient.RandomBytes(100000), c)
			if !errors.Is(serverErr, ErrSilent) {
				t.Fatalf("%v", serverErr)
			}
			if n.toClient > firstTries+1 || stats.Sent > firstTries {
				t.Errorf("%d datagrams, %+v", n.toClient, stats)
			}
		})
	}
}

// TestBlackHole: one block never arrives, whatever the client says about it. The
// server gives up after the idle timeout, and does not fill the network until then.
func TestBlackHole(t *testing.T) {
	for _, window := range []int{1, 8, 64} {
		for _, h := range []tftpclient.Habit{tftpclient.AckGapOnce, tftpclient.AckEveryGap, tftpclient.AckNothing} {
			t.Run(fmt.Sprintf("window %d, habit %d", window, h), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					n := newSimNet(1)
					n.minDelay, n.maxDelay = 100*time.Microsecond, 100*time.Microsecond
					n.dropData = func(b []byte, _ int) bool {
						block, _, ok := wire.ParseData(b)
						return ok && block == 100
					}
					c := &tftpclient.Client{Options: []wire.Option{{Name: "windowsize", Value: strconv.Itoa(window)}}, Habit: h, Timeout: time.Second}
					start := time.Now()
					stats, serverErr, _ := n.runWithoutClient(t, tftpclient.RandomBytes(200_000), c)
					if !errors.Is(serverErr, ErrStalled) {
						t.Errorf("%v", serverErr)
					}
					if took := time.Since(start); took < 29*time.Second || took > 40*time.Second {
						t.Errorf("took %v", took)
					}
					if limit := int64(400 + 60*window); stats.Sent > limit {
						t.Errorf("sent %d datagrams, want at most %d: %+v", stats.Sent, limit, stats)
					}
				})
			})
		}
	}
}
