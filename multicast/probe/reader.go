package probe

import (
	"sync"
	"time"

	"castpoint/multicast/block"
	"castpoint/multicast/seal"
	"castpoint/multicast/wire"
)

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

// Reader looks at what arrives of one train at a time.
type Reader struct {
	id   uint32
	open *seal.Sealer

	mu      sync.Mutex
	train   uint32
	seen    block.Set
	count   int
	arrived Arrived
	scratch []byte
}

// NewReader reads the probe that was offered.
func NewReader(o *Offer) (*Reader, error) {
	s, err := seal.NewSealer(o.Key.Cipher, o.Key.Key, o.Key.Salt)
	return &Reader{id: o.ID, open: s, scratch: make([]byte, 0, 1<<16)}, err
}

// Expect begins a train of count datagrams; what still comes of others is dropped.
func (r *Reader) Expect(train uint32, count int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.train, r.count, r.seen, r.arrived = train, count, block.NewSet(count), Arrived{LastIndex: -1}
}

// Datagram takes one that reached the host at the given time.
func (r *Reader) Datagram(d []byte, at time.Time) {
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
func (r *Reader) Arrived() Arrived {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.arrived
}
