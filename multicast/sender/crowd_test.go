package sender

import (
	"container/heap"
	"io"
	"math"
	"math/rand/v2"
	"net"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"castpoint/multicast"
	"castpoint/multicast/block"
	"castpoint/multicast/seal"
	"castpoint/multicast/wire"
	"castpoint/test/objects"
)

// crowd is a session's network with thousands of members. A Receiver for each
// would open every datagram ten thousand times; a crowd member keeps only what a
// receiver's behaviour follows from: which symbols of which block it has. What
// it reports is sealed and encoded as a receiver's report is.
type crowd struct {
	g    block.Geometry
	s    *Session
	rng  *rand.Rand
	wake chan struct{} // a member has joined, or the crowd is closed

	mu      sync.Mutex
	members reportHeap // by the time of the next report
	all     []*crowdMember
	closed  bool

	sent    uint64 // symbols
	again   uint64 // of them source symbols that had been sent before: for members that lack a whole block
	seen    map[uint32]bool
	reports int
	runs    []byte
	sealed  []byte
}

// crowdMember is one member of a crowd.
type crowdMember struct {
	id   uint32
	seal *seal.Sealer
	loss float64
	disk float64   // blocks per second that it can write; 0 for any
	dies time.Time // zero for never

	first, highest wire.PacketNumber
	skip           int // datagrams until the next one that is lost
	received       uint64
	number         uint64
	have           []block.Symbols // by block
	written        block.Set
	queue          []int // blocks complete and not yet written
	wrote          time.Time
	nextReport     time.Time
	done           time.Time
	sentAtDone     uint64 // symbols that the session had sent by then, without those that were sent again
	moved          bool
}

// crowdMemory is how many blocks a member may hold that are not written.
const crowdMemory = 64

func newCrowd(seed uint64) *crowd {
	return &crowd{rng: rand.New(&lockedSource{source: rand.NewPCG(seed, 2)}), wake: make(chan struct{}, 1), seen: make(map[uint32]bool)}
}

// join admits a member.
func (c *crowd) join(t *testing.T, loss, disk float64) *crowdMember {
	t.Helper()
	p, m, _, err := c.s.Admit(Candidate{AES: true})
	if err != nil {
		t.Fatal(err)
	}
	cm := &crowdMember{id: m.ID, loss: loss, disk: disk, have: make([]block.Symbols, c.g.Blocks), written: block.NewSet(c.g.Blocks)}
	if cm.seal, err = seal.NewReportSealer(m.Key); err != nil {
		t.Fatal(err)
	}
	cm.skip = c.gap(loss)
	now := time.Now()
	cm.wrote, cm.nextReport = now, now.Add(time.Duration(c.rng.Int64N(int64(max(p.ReportInterval, time.Millisecond)))))
	c.mu.Lock()
	heap.Push(&c.members, cm)
	c.all = append(c.all, cm)
	c.mu.Unlock()
	nudge(c.wake)
	return cm
}

// gap is how many datagrams arrive before the next one that does not.
func (c *crowd) gap(loss float64) int {
	if loss == 0 {
		return math.MaxInt
	}
	return int(math.Log(1-c.rng.Float64()) / math.Log(1-loss))
}

// WriteGroup gives a burst to everybody. All its datagrams are of one block, or
// it is a beacon.
func (c *crowd) WriteGroup(b []byte, size int) error {
	var mask block.Symbols
	var block int
	var symbols []uint16
	var first, last wire.PacketNumber
	again := 0
	for rest := b; len(rest) > 0; rest = rest[min(size, len(rest)):] {
		h, err := wire.ParseHeader(rest[:min(size, len(rest))])
		if err != nil {
			return err
		}
		if first == 0 {
			first = h.Number
		}
		last = h.Number
		if h.Type == wire.TypeSymbol {
			block = int(h.Block)
			mask.Add(int(h.Symbol))
			symbols = append(symbols, h.Symbol)
			if int(h.Symbol) < c.g.K {
				key := h.Block<<8 | uint32(h.Symbol)
				if c.seen[key] {
					again++
				}
				c.seen[key] = true
			}
		}
	}
	now := time.Now()
	c.mu.Lock()
	defer c.mu.Unlock()
	c.sent += uint64(len(symbols))
	c.again += uint64(again)
	n := int(last-first) + 1
	for _, m := range c.all {
		if !m.done.IsZero() || m.moved || !m.dies.IsZero() && now.After(m.dies) {
			continue
		}
		m.write(now)
		if m.first == 0 {
			m.first = first
		}
		got := mask
		lost := 0
		for m.skip < n {
			if len(symbols) > 0 {
				i := symbols[m.skip]
				got[i>>6] &^= 1 << (i & 63)
			}
			lost++
			m.skip += 1 + c.gap(m.loss)
		}
		m.skip -= n
		m.highest = last
		if len(symbols) == 0 {
			m.received += uint64(n - lost)
			continue
		}
		if m.written.Has(block) || m.complete(&c.g, block) {
			m.received += uint64(n - lost)
			continue
		}
		if m.disk > 0 && len(m.queue) >= crowdMemory {
			continue // no room: to the sender it is loss
		}
		m.received += uint64(n - lost)
		for i, w := range got {
			m.have[block][i] |= w
		}
		if m.complete(&c.g, block) {
			m.queue = append(m.queue, block)
			m.write(now)
		}
	}
	return nil
}

func (m *crowdMember) complete(g *block.Geometry, b int) bool { return m.lacks(g, b) == 0 }

// lacks is the deficit of a block.
func (m *crowdMember) lacks(g *block.Geometry, b int) int {
	return max(g.Source(b)-m.have[b].Count(), 0)
}

// write moves blocks from memory to the disk, as fast as it is.
func (m *crowdMember) write(now time.Time) {
	if len(m.queue) == 0 {
		m.wrote = now
		return
	}
	n := len(m.queue)
	if m.disk > 0 {
		n = min(n, int(now.Sub(m.wrote).Seconds()*m.disk))
		m.wrote = m.wrote.Add(time.Duration(float64(n) / m.disk * float64(time.Second)))
	}
	for _, b := range m.queue[:n] {
		m.written.Add(b)
	}
	m.queue = m.queue[n:]
}

// ReadReport waits for the member whose report is due next.
func (c *crowd) ReadReport(buf []byte) (int, netip.AddrPort, error) {
	for {
		c.mu.Lock()
		if c.closed {
			c.mu.Unlock()
			return 0, netip.AddrPort{}, net.ErrClosed
		}
		wait := time.Hour
		if len(c.members) > 0 {
			wait = time.Until(c.members[0].nextReport)
			if wait <= 0 {
				n := c.report(buf)
				c.mu.Unlock()
				if n > 0 {
					return n, netip.AddrPort{}, nil
				}
				continue
			}
		}
		c.mu.Unlock()
		select {
		case <-c.wake:
		case <-time.After(wait):
		}
	}
}

// report makes the report that is due, or takes its member away.
func (c *crowd) report(buf []byte) int {
	m := c.members[0]
	now := time.Now()
	if m.moved || !m.done.IsZero() || !m.dies.IsZero() && now.After(m.dies) {
		heap.Pop(&c.members)
		return 0
	}
	m.write(now)
	c.s.mu.Lock()
	interval := c.s.interval
	if member := c.s.members[m.id]; member != nil && member.state == MemberMoved {
		m.moved = true
	}
	c.s.mu.Unlock()
	m.nextReport = now.Add(interval*3/4 + time.Duration(c.rng.Int64N(int64(interval/2))))
	heap.Fix(&c.members, 0)
	c.reports++
	m.number++
	h := wire.ReportHeader{Session: c.s.ID(), Number: m.number, Member: m.id}
	r := wire.Report{Highest: m.highest, Received: m.received, Complete: uint32(m.written.Len()), To: uint32(c.g.Blocks),
		Backlog: uint32(len(m.queue) * c.g.BlockSize >> 10)}
	l := wire.NewRunList(c.runs[:0])
	for b := m.written.NextMissing(0, c.g.Blocks); b < c.g.Blocks && !l.Full(); b = m.written.NextMissing(b+1, c.g.Blocks) {
		if d := m.lacks(&c.g, b); d > 0 {
			l.Add(b, b+1, uint8(d))
		}
	}
	runs, to := l.Close(c.g.Blocks)
	r.To, r.Runs, c.runs = uint32(to), runs, runs
	if m.written.Len() == c.g.Blocks {
		m.done, m.sentAtDone = now, c.sent-c.again
		go c.s.Leave(m.id, multicast.LeaveRequest{Complete: true})
	}
	c.sealed = r.Append(c.sealed[:0])
	return len(m.seal.Seal(h.Append(buf[:0]), c.sealed, m.number))
}

func (c *crowd) Close() error {
	c.mu.Lock()
	c.closed = true
	c.mu.Unlock()
	nudge(c.wake)
	return nil
}

// reportHeap orders members by the time of their next report.
type reportHeap []*crowdMember

func (h reportHeap) Len() int           { return len(h) }
func (h reportHeap) Less(i, j int) bool { return h[i].nextReport.Before(h[j].nextReport) }
func (h reportHeap) Swap(i, j int)      { h[i], h[j] = h[j], h[i] }
func (h *reportHeap) Push(x any)        { *h = append(*h, x.(*crowdMember)) }
func (h *reportHeap) Pop() any {
	old := *h
	m := old[len(old)-1]
	*h = old[:len(old)-1]
	return m
}

// zeros is an object's bytes: crowd members do not look at them.
type zeros struct{}

func (zeros) ReadAt(p []byte, _ int64) (int, error) { clear(p); return len(p), nil }

// TestTenThousandMembers puts clean and bad links, slow disks, members that die
// and members that come late into one session. What the first transmission and
// its repair come to is what the members that keep up cost; blocks that are
// sent whole a second time are for those that came late or have no room.
func TestTenThousandMembers(t *testing.T) {
	const (
		blocks = 400
		rate   = 8e6
	)
	members := 10_000
	if raceDetector {
		members = 1000
	}
	synctest.Test(t, func(t *testing.T) {
		c := newCrowd(11)
		o := block.Object{Size: blocks * objects.BlockSize, BlockSize: objects.BlockSize, Hashes: make([]byte, blocks*block.HashSize)}
		s, err := New(Config{ID: 1, Objects: []block.Object{o}, Sources: []io.ReaderAt{zeros{}}, Conn: c, MaxRate: rate,
			Group: netip.MustParseAddrPort("239.192.67.1:7800"), Linger: time.Second, MinMembers: members * 98 / 100})
		if err != nil {
			t.Fatal(err)
		}
		c.s, c.g = s, s.g
		end := make(chan error, 1)
		go func() { end <- s.Run(t.Context()) }()
		// Loss as in a large building: most links are clean, some lose one in a
		// hundred, a few are bad.
		loss := func() float64 {
			switch p := c.rng.Float64(); {
			case p < 0.7:
				return 1e-4 * math.Pow(10, c.rng.Float64()) // 0.01 to 0.1 %
			case p < 0.98:
				return 1e-3 * math.Pow(10, c.rng.Float64()) // 0.1 to 1 %
			}
			return 1e-2 * math.Pow(10, c.rng.Float64()) // 1 to 10 %
		}
		began := time.Now()
		for i := range members * 98 / 100 {
			disk := 0.0
			if i%200 == 0 {
				disk = 0.5 // 0.7 Mbit/s, a tenth of the rate
			}
			m := c.join(t, loss(), disk)
			if i%100 == 1 {
				c.mu.Lock()
				m.dies = began.Add(time.Duration(1+c.rng.IntN(20)) * time.Second)
				c.mu.Unlock()
			}
		}
		keeping := len(c.all)
		for range members - keeping {
			time.Sleep(50 * time.Millisecond)
			c.join(t, loss(), 0)
		}
		if err := <-end; err != nil {
			t.Fatal(err)
		}
		took := time.Since(began)
		symbols := float64(blocks * 128)
		var kept []float64 // sent until a member that keeps up was done, as a share of the object
		moved, died, late := 0, 0, 0
		for i, m := range c.all {
			switch {
			case !m.dies.IsZero() && m.done.IsZero():
				died++
				continue
			case m.moved:
				moved++
				continue
			case m.done.IsZero():
				t.Fatalf("member %d with loss %.4f, disk %g ended without everything: %d of %d blocks", i, m.loss, m.disk, m.written.Len(), blocks)
			case i >= keeping:
				late++
				continue
			}
			if m.loss <= 0.01 && m.disk == 0 {
				kept = append(kept, float64(m.sentAtDone)/symbols)
			}
		}
		total := float64(c.sent) / symbols
		slices.Sort(kept)
		most, last := kept[len(kept)*999/1000], kept[len(kept)-1]
		t.Logf("%d kept up with %.3f of the object sent (the last one %.3f), %.3f in all; %d late, %d moved to unicast, %d died; %d reports in %v",
			len(kept), most, last, total, late, moved, died, c.reports, took.Round(time.Second))
		if most > 1.10 {
			t.Errorf("999 of 1000 members that keep up needed %.3f of the object: want at most 1.10", most)
		}
		if total > 2 {
			t.Errorf("%.3f of the object was sent, want at most 2: late and slow members cost one more pass", total)
		}
		if slow := members * 98 / 100 / 200; moved < slow*9/10 {
			t.Errorf("%d of %d members with a slow disk moved to unicast", moved, slow)
		}
		if perSecond := float64(c.reports) / took.Seconds(); perSecond > 1.1*reportsPerSecond {
			t.Errorf("%.0f reports a second, want at most %d", perSecond, reportsPerSecond)
		}
	})
}

// lockedSource is a source for several goroutines.
type lockedSource struct {
	mu     sync.Mutex
	source rand.Source
}

func (s *lockedSource) Uint64() uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.source.Uint64()
}
