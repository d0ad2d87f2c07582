// Package simnet is a multicast network in memory, for tests in virtual time
// (testing/synctest). It loses, repeats, reorders, delays and shapes datagrams
// link by link, always in the same way for the same seed.
//
// One Sender and any number of Members; each Member has a link of its own in
// each direction. The types have the methods that the multicast package asks
// of its connections.
package simnet

import (
	"errors"
	"math/rand/v2"
	"net"
	"net/netip"
	"sync"
	"time"
)

// Link is one direction of a member's connection. The zero value is perfect.
type Link struct {
	Loss      float64       // probability that a datagram is lost
	Duplicate float64       // probability that it arrives twice
	Reorder   float64       // probability that it takes ReorderBy longer
	ReorderBy time.Duration //
	Delay     time.Duration // every datagram's time under way
	Rate      float64       // bits per second; 0 for no limit
	Queue     int           // bytes that wait at the bottleneck; more is lost. 0: 256 KiB
}

// Network connects a sender with members.
type Network struct {
	mu      sync.Mutex
	tap     func(datagram []byte) bool
	rng     *rand.Rand
	members []*Member
	reports *queue
	uplink  float64   // bits per second; 0 for no limit
	busy    time.Time // sender's link is busy until then
	source  netip.Addr
	sent    uint64 // datagrams to the group
	bytes   uint64 // their bytes
}

// New makes a network whose accidents follow from seed.
func New(seed uint64) *Network {
	return &Network{source: Source, rng: rand.New(rand.NewPCG(seed, 1)), reports: newQueue()}
}

// SetTap has tap see every datagram to the group. It may change it in place, and drops
// it by returning false.
func (n *Network) SetTap(tap func(datagram []byte) bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.tap = tap
}

// Source is the sender's address.
var Source = netip.AddrFrom4([4]byte{192, 0, 2, 1})

// SetSource has datagrams of the sender come from another address.
func (n *Network) SetSource(from netip.Addr) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.source = from
}

// SetUplink limits the sender's own link to rate bits per second; WriteGroup
// blocks when it is busy. 0 for no limit.
func (n *Network) SetUplink(rate float64) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.uplink = rate
}

// Sent is how many datagrams, and bytes in them, went to the group.
func (n *Network) Sent() (datagrams, bytes uint64) {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.sent, n.bytes
}

// Sender returns the sender's edge.
func (n *Network) Sender() *Sender { return &Sender{n} }

// Member connects a member; down leads to it, up to the sender.
func (n *Network) Member(down, up Link) *Member {
	m := &Member{n: n, down: newPath(down), up: newPath(up), in: newQueue()}
	n.mu.Lock()
	n.members = append(n.members, m)
	n.mu.Unlock()
	return m
}

// path is a link with what is under way on it.
type path struct {
	Link
	busy time.Time // the bottleneck is busy until then
}

func newPath(l Link) path {
	if l.Queue == 0 {
		l.Queue = 256 << 10
	}
	return path{Link: l}
}

// carry puts a copy of d on the path to q. The network's lock is held.
func (p *path) carry(n *Network, d []byte, q *queue, from netip.AddrPort, now time.Time) {
	if p.Loss > 0 && n.rng.Float64() < p.Loss {
		return
	}
	at := now
	if p.Rate > 0 {
		if p.busy.Before(now) {
			p.busy = now
		}
		if p.busy.Sub(now).Seconds()*p.Rate/8 > float64(p.Queue) {
			return
		}
		p.busy = p.busy.Add(time.Duration(float64(len(d)*8) / p.Rate * float64(time.Second)))
		at = p.busy
	}
	at = at.Add(p.Delay)
	if p.Reorder > 0 && n.rng.Float64() < p.Reorder {
		at = at.Add(p.ReorderBy)
	}
	c := append([]byte(nil), d...)
	q.put(at, c, from)
	if p.Duplicate > 0 && n.rng.Float64() < p.Duplicate {
		q.put(at.Add(p.Delay), c, from)
	}
}

// Sender is the sender's edge of a network.
type Sender struct{ n *Network }

// WriteGroup sends b to every member as datagrams of size bytes.
func (s *Sender) WriteGroup(b []byte, size int) error {
	n := s.n
	n.mu.Lock()
	if n.uplink > 0 {
		now := time.Now()
		if n.busy.Before(now) {
			n.busy = now
		}
		wait := n.busy.Sub(now)
		n.busy = n.busy.Add(time.Duration(float64(len(b)*8) / n.uplink * float64(time.Second)))
		n.mu.Unlock()
		time.Sleep(wait)
		n.mu.Lock()
	}
	defer n.mu.Unlock()
	if n.reports.isClosed() {
		return net.ErrClosed
	}
	now := time.Now()
	for len(b) > 0 {
		d := b[:min(size, len(b))]
		b = b[len(d):]
		n.sent++
		n.bytes += uint64(len(d))
		if n.tap != nil && !n.tap(d) {
			continue
		}
		for _, m := range n.members {
			if !m.forgotten {
				m.down.carry(n, d, m.in, netip.AddrPortFrom(n.source, 7800), now)
			}
		}
	}
	return nil
}

// ReadReport returns the next datagram that a member sent.
func (s *Sender) ReadReport(buf []byte) (int, netip.AddrPort, error) {
	d, err := s.n.reports.get(true)
	if err != nil {
		return 0, netip.AddrPort{}, err
	}
	return copy(buf, d.b), d.from, nil
}

// Close ends the sender.
func (s *Sender) Close() error { s.n.reports.close(); return nil }

// Member is a member's edge of a network.
type Member struct {
	n         *Network
	down, up  path
	in        *queue
	forgotten bool
}

// ReadGroup hands over the datagrams that have arrived, waiting for the first.
func (m *Member) ReadGroup(handle func([]byte, netip.Addr, time.Time)) error {
	d, err := m.in.get(true)
	for n := 0; err == nil; n++ {
		handle(d.b, d.from.Addr(), d.at)
		if n == batch {
			return nil
		}
		if d, err = m.in.get(false); errors.Is(err, errEmpty) {
			return nil
		}
	}
	return err
}

// batch is how many datagrams one ReadGroup hands over at most.
const batch = 64

// SetReadDeadline bounds ReadGroup.
func (m *Member) SetReadDeadline(t time.Time) error { m.in.setDeadline(t); return nil }

// Forget makes the network drop what is sent to the member until it joins again, as a
// switch does that nobody asks.
func (m *Member) Forget() { m.setForgotten(true) }

// Rejoin joins the group again.
func (m *Member) Rejoin() error { m.setForgotten(false); return nil }

func (m *Member) setForgotten(v bool) {
	m.n.mu.Lock()
	defer m.n.mu.Unlock()
	m.forgotten = v
}

// WriteReport sends a datagram to the sender.
func (m *Member) WriteReport(b []byte) error {
	m.n.mu.Lock()
	defer m.n.mu.Unlock()
	m.up.carry(m.n, b, m.n.reports, netip.AddrPort{}, time.Now())
	return nil
}

// Close disconnects the member.
func (m *Member) Close() error {
	m.n.mu.Lock()
	for i, o := range m.n.members {
		if o == m {
			m.n.members = append(m.n.members[:i:i], m.n.members[i+1:]...)
			break
		}
	}
	m.n.mu.Unlock()
	m.in.close()
	return nil
}

// Inject delivers a datagram to the member, as anybody on the wire could.
func (m *Member) Inject(d []byte) { m.InjectFrom(Source, d) }

// InjectFrom is Inject for somebody who does not forge his address.
func (m *Member) InjectFrom(from netip.Addr, d []byte) {
	m.in.put(time.Now(), append([]byte(nil), d...), netip.AddrPortFrom(from, 7800))
}
