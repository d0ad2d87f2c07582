package multicast

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"sync"
	"time"

	"castpoint/multicast/block"
	"castpoint/multicast/rate"
	"castpoint/multicast/seal"
	"castpoint/multicast/wire"
)

// A probe measures the way from the server to one machine, for castpoint doctor
// multicast. The machine asks over HTTPS for trains of datagrams, the server sends
// each to a group of its own, and the machine looks at what arrives: it has
// everything it needs without feedback by UDP. Datagrams are sealed with a key that
// only this machine has, so that nobody else can answer for the server.

// Paths of probes on the join listener; authorised by "Authorization: Bearer" with a
// token that a person has made, used or not.
const (
	PathProbe      = "/v1/probe"       // POST, answers ProbeOffer; DELETE + id ends it
	PathProbeTrain = "/v1/probe/train" // POST ProbeTrain, answers ProbeSent when it has been sent
)

// ProbeOffer is what a machine needs to listen to a probe.
type ProbeOffer struct {
	ID    uint32         `json:"id"`
	Group netip.AddrPort `json:"group"`
	// Source is where the datagrams come from.
	Source netip.AddrPort `json:"source"`
	Key    seal.Key       `json:"key"`
	MTU    int            `json:"mtu"`      // of the server's interface, bytes
	Rate   float64        `json:"rate"`     // bits per second: no train may be faster
	Capped bool           `json:"capped"`   // Rate is the server's setting, not its link
	Others int            `json:"sessions"` // that are running meanwhile
}

// ProbeTrain asks for Count datagrams in bursts of Burst, whose mean is Rate.
type ProbeTrain struct {
	ID    uint32  `json:"id"`    // of the probe
	Train uint32  `json:"train"` // chosen by the machine
	Count int     `json:"count"`
	Size  int     `json:"size"`  // of the IP packet that a datagram travels in, bytes
	Burst int     `json:"burst"` // 0 means 1
	Rate  float64 `json:"rate"`  // bits per second, of IP packets
	// Unicast sends to the machine's own address, at the group's port.
	Unicast bool `json:"unicast,omitempty"`
}

// ProbeSent says how a train was sent.
type ProbeSent struct {
	Count   int     `json:"count"`
	Seconds float64 `json:"seconds"`
}

// Limits of trains.
const (
	probeMaxCount = 400_000
	probeMaxTime  = 10 * time.Second
	// ipHeaders are those of IPv4 and UDP; ip6Headers those of IPv6 and UDP.
	ipHeaders  = 20 + 8
	ip6Headers = 40 + 8
)

// Overhead is how much longer the IP packet of a datagram to the address is than the
// datagram.
func Overhead(to netip.Addr) int {
	if to.Is4() {
		return ipHeaders
	}
	return ip6Headers
}

// SessionPacket is the size of the IP packets of sessions to the address, in bytes.
func SessionPacket(to netip.Addr) int {
	return wire.HeaderSize + block.DefaultSymbolSize + wire.TagSize + Overhead(to)
}

// Check refuses trains that are none, or more than a probe may ask for.
func (t *ProbeTrain) Check(o *ProbeOffer) error {
	least := wire.ProbeSize + wire.TagSize + Overhead(o.Group.Addr())
	switch {
	case t.Count < 1 || t.Count > probeMaxCount:
		return fmt.Errorf("train of %d datagrams: 1 to %d are possible", t.Count, probeMaxCount)
	case t.Burst < 0 || t.Burst > t.Count:
		return fmt.Errorf("bursts of %d in a train of %d datagrams", t.Burst, t.Count)
	case t.Size < least || t.Size > o.MTU:
		return fmt.Errorf("packets of %d bytes: %d to %d are possible", t.Size, least, o.MTU)
	case !(t.Rate >= 1 && t.Rate <= o.Rate):
		return fmt.Errorf("train of %.0f bits per second: 1 to %.0f are possible", t.Rate, o.Rate)
	case float64(t.Count*t.Size*8)/t.Rate > probeMaxTime.Seconds():
		return fmt.Errorf("train of %d packets of %d bytes at %.0f bits per second takes longer than %s", t.Count, t.Size, t.Rate, probeMaxTime)
	}
	return nil
}

// ProbeConn is the edge that trains leave by.
type ProbeConn interface {
	// WriteGroup sends b to the group as datagrams of size bytes each.
	WriteGroup(b []byte, size int) error
	// WriteTo sends one datagram to a machine.
	WriteTo(b []byte, to netip.AddrPort) error
}

// ProbeSender sends the trains of one probe.
type ProbeSender struct {
	offer ProbeOffer
	conn  ProbeConn
	seal  *seal.Sealer
	start time.Time

	mu     sync.Mutex // trains go out one after the other
	number uint64
}

// NewProbeSender makes a probe's key and puts it into the offer.
func NewProbeSender(offer ProbeOffer, conn ProbeConn) (*ProbeSender, ProbeOffer, error) {
	key, err := seal.NewGroupKey(0, seal.AES256GCM)
	if err != nil {
		return nil, offer, err
	}
	offer.Key = key.Key
	return &ProbeSender{offer: offer, conn: conn, seal: key.Sealer, start: time.Now()}, offer, nil
}

// Send sends a train that Check accepts; to is where one by unicast goes.
func (p *ProbeSender) Send(ctx context.Context, t ProbeTrain, to netip.Addr) (ProbeSent, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	size := t.Size - Overhead(p.offer.Group.Addr())
	zeros := make([]byte, size-wire.ProbeSize-wire.TagSize)
	per := max(t.Burst, 1)
	buf := make([]byte, 0, per*size)
	began := time.Now()
	var sent ProbeSent
	pace := rate.NewPacer(began)
	for sent.Count < t.Count {
		n := min(per, t.Count-sent.Count)
		if d := pace.Reserve(time.Now(), n*t.Size, t.Rate, 0); d > 0 {
			select {
			case <-ctx.Done():
				return sent, ctx.Err()
			case <-time.After(d):
			}
		}
		buf = buf[:0]
		for i := range n {
			p.number++
			h := wire.Probe{ID: p.offer.ID, Number: wire.PacketNumber(p.number), Train: t.Train,
				Index: uint32(sent.Count + i), Sent: uint32(time.Since(p.start).Microseconds())}
			at := len(buf)
			d := p.seal.Seal(h.Append(buf[at:at:at+size]), zeros, p.number)
			buf = buf[:at+len(d)]
		}
		err := ctx.Err()
		if err == nil && t.Unicast {
			for d := range slices.Chunk(buf, size) {
				if err = p.conn.WriteTo(d, netip.AddrPortFrom(to, p.offer.Group.Port())); err != nil {
					break
				}
			}
		} else if err == nil {
			err = p.conn.WriteGroup(buf, size)
		}
		if err != nil {
			return sent, fmt.Errorf("send probe: %w", err)
		}
		sent.Count += n
	}
	sent.Seconds = time.Since(began).Seconds()
	return sent, nil
}

// Arrived is what has come of a train.
type Arrived struct {
	Count      int // distinct datagrams
	Again      int // datagrams that came more than once
	Late       int // datagrams that came after one that was sent later
	First      time.Time
	Last       time.Time
	FirstIndex int
	LastIndex  int // highest
}

// Rate is the mean rate between the first and the last datagram, in bits per second
// of packets of size bytes; 0 for fewer than two.
func (a *Arrived) Rate(size int) float64 {
	took := a.Last.Sub(a.First).Seconds()
	if a.Count < 2 || took <= 0 {
		return 0
	}
	return float64((a.Count-1)*size*8) / took
}

// ProbeReader looks at what arrives of one train at a time.
type ProbeReader struct {
	id   uint32
	open *seal.Sealer

	mu      sync.Mutex
	train   uint32
	seen    block.Set
	count   int
	arrived Arrived
	scratch []byte
}

// NewProbeReader reads the probe that was offered.
func NewProbeReader(o *ProbeOffer) (*ProbeReader, error) {
	s, err := seal.NewSealer(o.Key.Cipher, o.Key.Key, o.Key.Salt)
	return &ProbeReader{id: o.ID, open: s, scratch: make([]byte, 0, 1<<16)}, err
}

// Expect begins a train of count datagrams; what still comes of others is dropped.
func (r *ProbeReader) Expect(train uint32, count int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.train, r.count, r.seen, r.arrived = train, count, block.NewSet(count), Arrived{LastIndex: -1}
}

// Datagram takes one that reached the host at the given time.
func (r *ProbeReader) Datagram(d []byte, at time.Time) {
	h, err := wire.ParseProbe(d)
	if err != nil || h.ID != r.id {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if h.Train != r.train || int64(h.Index) >= int64(r.count) {
		return
	}
	if _, err := r.open.Open(r.scratch, d[:wire.ProbeSize], d[wire.ProbeSize:], uint64(h.Number)); err != nil {
		return
	}
	a, i := &r.arrived, int(h.Index)
	if !r.seen.Add(i) {
		a.Again++
		return
	}
	if a.Count == 0 {
		a.First, a.FirstIndex = at, i
	}
	if i < a.LastIndex {
		a.Late++
	}
	a.Count++
	a.Last, a.LastIndex = at, max(a.LastIndex, i)
}

// Arrived is what has come of the train so far.
func (r *ProbeReader) Arrived() Arrived {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.arrived
}
