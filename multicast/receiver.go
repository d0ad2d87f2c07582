package multicast

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"castpoint/multicast/wire"
)

// Tuning of receivers.
const (
	defaultMemory = 64 << 20
	// defaultSilence is how long nothing at all may arrive at first.
	defaultSilence = 5 * time.Second
	// lostSilence is how long a session that was heard may be silent; its
	// beacons come every 100 ms.
	lostSilence = 10 * time.Second
	// inlineWrite is how long finishing a block may take while the next datagrams
	// wait in the socket's buffer; it holds twice as much of a fast link. A disk
	// that takes longer is left to routines of its own for inlineRest.
	inlineWrite = 20 * time.Millisecond
	inlineRest  = 10 * time.Second
	// progressInterval is how often Progress is called.
	progressInterval = 200 * time.Millisecond
	// baseWindow is how long the fastest transit time is remembered; clocks
	// drift by some milliseconds in that time at most.
	baseWindow = 10 * time.Second
)

// Errors that end Run before the object is complete. After each of them the
// receiver may join again with its ticket, or take the rest by unicast.
var (
	// ErrNoDatagrams: nothing of the session has arrived.
	ErrNoDatagrams = errors.New("no datagram of the session has arrived")
	// ErrSilent: the session was heard and fell silent.
	ErrSilent = errors.New("the session has fallen silent")
	// ErrSessionEnded: the sender said that the session is over.
	ErrSessionEnded = errors.New("the session has ended")
	// ErrMoved: this member is far slower than the others; the session goes on
	// without it, and the rest is to be taken by unicast.
	ErrMoved = errors.New("this machine's network is far slower than that of the others in the session")
	// ErrKeys: the group key has changed.
	ErrKeys = errors.New("the session's key has changed")
)

// ReceiverConfig describes a member's part in a session.
type ReceiverConfig struct {
	Admission Admission
	Assembly  *Assembly
	Conn      MemberConn // closed by Run
	// Memory bounds the blocks that are being put together, in bytes; 0 means
	// 64 MiB. When it is used up, symbols of further blocks are dropped and come
	// again.
	Memory int64
	// Silence is how long to wait for the first datagram; 0 means 5 s.
	Silence  time.Duration
	Progress func(Progress) // may be nil; called a few times a second
	Log      *zap.Logger
}

// Progress is how far a receiver is.
type Progress struct {
	State    string // of the session, as its beacons say; "" before the first
	Members  int    // in the session
	WaitFor  int    // members the session waits for before it starts
	StartsIn time.Duration
	Blocks   int // verified and written
	Total    int
	Bytes    int64 // about Blocks x block size
	Size     int64
	Rate     float64 // bits per second, verified and written, lately
	Loss     float64 // share of datagrams lost so far
	Stats
}

// Stats counts what a receiver has met.
type Stats struct {
	Datagrams  uint64 // authentic, of this session
	Duplicates uint64 // symbols that were there already
	Dropped    uint64 // symbols there was no memory for
	Foreign    uint64 // datagrams of other sessions or protocols
	Forged     uint64 // datagrams that did not open with the session's key
	Repaired   int    // blocks that were rebuilt from repair symbols
	Poisoned   int    // blocks whose symbols were authentic and whose hash was wrong
}

// Receiver takes part in one session as a member.
type Receiver struct {
	cfg    ReceiverConfig
	log    *zap.Logger
	g      geometry
	code   *code
	groups [256]*sealer // by epoch
	own    *sealer
	tag    uint32

	// Owned by the goroutine that runs receive.
	blocks    map[uint32]*assembling
	frontier  int // blocks from here on were never seen
	highest   wire.PacketNumber
	window    replayWindow
	received  uint64
	number    uint64 // reports sent
	runs      []byte
	reportBuf []byte
	transit   transit
	interval  time.Duration
	beacon    wire.Beacon
	badEpoch  time.Time // since when datagrams have an epoch without key
	lastHeard time.Time
	stats     Stats

	inline time.Time // from when on blocks are finished by the goroutine that runs receive
	shards [][]byte  // scratch of the code, for that
	full   []*assembling
	// Buffers; their number bounds memory. The one that was given back last is taken
	// first: its memory is there already, and in the processor's cache.
	free []*assembling

	work    chan *assembling
	done    chan finished
	backlog atomic.Int64
}

// assembling is a block on its way from symbols to bytes.
type assembling struct {
	block  uint32
	have   symbolSet
	n      int  // symbols there, known zeros included
	queued bool // with a worker
	source []byte
	repair []byte // allocated with the first repair symbol
	coded  int    // repair symbols there
}

// finished is what a worker says about a block.
type finished struct {
	a   *assembling
	err error
}

// NewReceiver checks the admission.
func NewReceiver(cfg ReceiverConfig) (*Receiver, error) {
	p := &cfg.Admission.Session
	if p.Cipher != CipherAES256GCM {
		return nil, fmt.Errorf("the session uses cipher %q, this receiver knows %s: use a receiver of the server's version", p.Cipher, CipherAES256GCM)
	}
	if p.Code != CodeLeopard8 {
		return nil, fmt.Errorf("the session uses code %q, this receiver knows %s: use a receiver of the server's version", p.Code, CodeLeopard8)
	}
	g, err := newGeometry(&cfg.Admission.Object, p.SymbolSize, p.RepairSymbols)
	if err != nil {
		return nil, fmt.Errorf("session parameters: %w", err)
	}
	if g.k != p.SourceSymbols {
		return nil, fmt.Errorf("session parameters: %d source symbols of %d bytes do not make a block of %d", p.SourceSymbols, p.SymbolSize, g.blockSize)
	}
	if cfg.Memory == 0 {
		cfg.Memory = defaultMemory
	}
	if cfg.Silence == 0 {
		cfg.Silence = defaultSilence
	}
	if cfg.Log == nil {
		cfg.Log = zap.NewNop()
	}
	r := &Receiver{cfg: cfg, log: cfg.Log, g: g, tag: cfg.Admission.Object.tag(),
		blocks: make(map[uint32]*assembling), interval: p.ReportInterval,
		reportBuf: make([]byte, 0, wire.MaxReport)}
	if r.interval <= 0 {
		r.interval = reportInterval
	}
	if r.code, err = newCode(&r.g); err != nil {
		return nil, err
	}
	for _, k := range cfg.Admission.Keys {
		if r.groups[k.Epoch], err = newSealer(k.Key, k.Salt); err != nil {
			return nil, fmt.Errorf("group key of epoch %d: %w", k.Epoch, err)
		}
	}
	if r.own, err = newSealer(cfg.Admission.Member.Key, memberSalt[:]); err != nil {
		return nil, fmt.Errorf("member key: %w", err)
	}
	n := max(int(cfg.Memory)/g.blockSize, 8)
	r.work = make(chan *assembling, n)
	r.done = make(chan finished, n)
	for range n {
		r.free = append(r.free, &assembling{})
	}
	return r, nil
}

// Run receives until the Assembly is complete. It closes the connection.
// Errors: ErrNoDatagrams, ErrSilent, ErrSessionEnded, ErrMoved, ErrKeys, the context's,
// and those of the target.
func (r *Receiver) Run(ctx context.Context) error {
	ctx, stop := context.WithCancel(ctx)
	var routines sync.WaitGroup
	for range min(runtime.GOMAXPROCS(0), 4) {
		routines.Go(func() { r.routineFinish(ctx) })
	}
	routines.Go(func() {
		<-ctx.Done()
		// Frees a blocked ReadGroup.
		_ = r.cfg.Conn.SetReadDeadline(time.Now().Add(-time.Second))
	})
	err := r.receive(ctx)
	stop()
	routines.Wait()
	_ = r.cfg.Conn.Close()
	return err
}

// Stats returns what was counted; call it after Run.
func (r *Receiver) Stats() Stats { return r.stats }

func (r *Receiver) receive(ctx context.Context) error {
	began := time.Now()
	r.lastHeard = began
	nextReport := began
	nextProgress := began
	meter := throughput{at: began, blocks: r.cfg.Assembly.Have()}
	handle := r.datagram // one closure, not one a call
	for {
		now := time.Now()
		for more := true; more; {
			select {
			case f := <-r.done:
				if err := r.finish(f); err != nil {
					return err
				}
			default:
				more = false
			}
		}
		complete := r.cfg.Assembly.Complete()
		if !now.Before(nextReport) || complete {
			r.report(now)
			// Jitter keeps members from speaking at once.
			nextReport = now.Add(r.interval*3/4 + rand.N(r.interval/2))
			_ = r.cfg.Conn.SetReadDeadline(nextReport)
		}
		if now.After(nextProgress) || complete {
			nextProgress = now.Add(progressInterval)
			r.progress(now, &meter)
		}
		switch {
		case complete:
			return nil
		case ctx.Err() != nil:
			return ctx.Err()
		case r.beacon.State == wire.StateEnded:
			return ErrSessionEnded
		case slices.Contains(r.beacon.Moved, r.cfg.Admission.Member.ID):
			return ErrMoved
		case !r.badEpoch.IsZero() && now.Sub(r.badEpoch) > 2*beaconInterval:
			return ErrKeys
		case r.stats.Datagrams == 0 && now.Sub(began) > r.cfg.Silence:
			return r.nothing()
		case now.Sub(r.lastHeard) > lostSilence:
			return fmt.Errorf("%w for %s", ErrSilent, lostSilence)
		}
		before := r.stats.Datagrams
		err := r.cfg.Conn.ReadGroup(handle)
		if failed := r.dispatch(); failed != nil {
			return failed
		}
		if r.stats.Datagrams != before {
			r.lastHeard = time.Now() // not the time of arrival: that clock may be set
		}
		if err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			return fmt.Errorf("receive: %w", err)
		}
	}
}

// nothing explains what was seen when nothing of the session was.
func (r *Receiver) nothing() error {
	switch {
	case r.stats.Forged > 0:
		return fmt.Errorf("%w: %d datagrams came that do not open with its key", ErrNoDatagrams, r.stats.Forged)
	case r.stats.Foreign > 0:
		return fmt.Errorf("%w: %d datagrams of other senders came to its group and port", ErrNoDatagrams, r.stats.Foreign)
	}
	return ErrNoDatagrams
}

// datagram takes one datagram of the group that reached the host at now.
func (r *Receiver) datagram(d []byte, now time.Time) {
	h, err := wire.ParseHeader(d)
	if err != nil || h.Session != r.cfg.Admission.Session.ID || h.Object != r.tag {
		r.stats.Foreign++
		return
	}
	key := r.groups[h.Epoch]
	if key == nil {
		if r.badEpoch.IsZero() {
			r.badEpoch = time.Now()
		}
		return
	}
	clear, sealed := d[:wire.HeaderSize], d[wire.HeaderSize:]
	if h.Type == wire.TypeBeacon {
		plain, err := key.open(nil, clear, sealed, uint64(h.Number))
		if err != nil {
			r.stats.Forged++
			return
		}
		if b, err := wire.ParseBeacon(plain); err == nil {
			r.beacon = b
			if b.ReportInterval > 0 {
				r.interval = time.Duration(b.ReportInterval) * time.Microsecond
			}
			r.authentic(&h, now, true)
		}
		return
	}
	r.symbol(&h, key, clear, sealed, now)
}

// authentic notes a datagram that opened. One that was dropped for lack of
// memory does not count as received: to the sender it is loss, and a reason to
// go slower.
func (r *Receiver) authentic(h *wire.Header, now time.Time, taken bool) {
	r.badEpoch = time.Time{}
	if !r.window.fresh(h.Number) {
		return
	}
	r.stats.Datagrams++
	if taken {
		r.received++
	}
	r.highest = max(r.highest, h.Number)
	r.transit.observe(now, h.Sent)
}

// symbol opens a symbol into its place in its block.
func (r *Receiver) symbol(h *wire.Header, key *sealer, clear, sealed []byte, now time.Time) {
	b, i := int(h.Block), int(h.Symbol)
	if b >= r.g.blocks || i >= r.g.k+r.g.m || len(sealed) != r.g.symbolSize+wire.TagSize {
		r.stats.Foreign++
		return
	}
	a := r.blocks[h.Block]
	var place []byte
	dropped := false
	switch {
	case r.written(b), b >= r.cfg.Assembly.limit(), a != nil && (a.queued || a.have.has(i)):
		r.stats.Duplicates++
	case a == nil:
		n := len(r.free)
		if n == 0 {
			r.stats.Dropped++
			dropped = true
			break
		}
		a, r.free = r.free[n-1], r.free[:n-1]
		r.begin(a, h.Block)
		place = a.place(&r.g, i)
	default:
		place = a.place(&r.g, i)
	}
	if place == nil {
		// Not needed, but it counts as received if it is authentic. Opening it
		// into scratch would cost as much as a symbol that is needed; trusting the
		// header would let anybody on the wire fake the counters.
		if _, err := key.open(r.scratch(), clear, sealed, uint64(h.Number)); err != nil {
			r.stats.Forged++
			return
		}
		r.authentic(h, now, !dropped)
		return
	}
	if _, err := key.open(place, clear, sealed, uint64(h.Number)); err != nil {
		r.stats.Forged++
		if a.n == r.g.k-r.g.source(b) {
			// Nothing authentic is in it: a forged header must not hold memory.
			delete(r.blocks, h.Block)
			r.free = append(r.free, a)
		}
		return
	}
	r.authentic(h, now, true)
	r.frontier = max(r.frontier, b+1)
	a.have.add(i)
	a.n++
	if i >= r.g.k {
		a.coded++
	}
	if a.n >= r.g.k {
		a.queued = true
		r.backlog.Add(int64(r.g.blockSize))
		r.full = append(r.full, a)
	}
}

// dispatch takes the blocks that the last read has filled to where they are
// finished. One at a time is finished right here: its bytes are in this processor's
// cache, and nobody has to be woken. That is all there is to do as long as
// processor and disk keep up. More than one at a time are a sign that they do not,
// and are shared with the routines.
func (r *Receiver) dispatch() error {
	if len(r.full) == 0 {
		return nil
	}
	now := time.Now()
	here := r.full[:1]
	if now.Before(r.inline) || len(r.work) > 0 {
		here = nil
	}
	for _, a := range r.full[len(here):] {
		r.work <- a // never blocks: there are not more blocks than places
	}
	r.full = r.full[:0]
	for _, a := range here {
		f := r.complete(a, &r.shards)
		if took := time.Since(now); took > inlineWrite {
			r.inline = now.Add(took + inlineRest)
		}
		if err := r.finish(f); err != nil {
			return err
		}
	}
	return nil
}

func (r *Receiver) written(b int) bool {
	r.cfg.Assembly.mu.Lock()
	defer r.cfg.Assembly.mu.Unlock()
	return r.cfg.Assembly.onDisk.has(b)
}

func (r *Receiver) scratch() []byte {
	if cap(r.runs) < r.g.symbolSize {
		r.runs = make([]byte, 0, max(r.g.symbolSize, wire.MaxReport))
	}
	return r.runs[:0]
}

// begin prepares a buffer for a block.
func (r *Receiver) begin(a *assembling, block uint32) {
	if a.source == nil {
		a.source = make([]byte, r.g.k*r.g.symbolSize)
	}
	a.block, a.n, a.coded, a.queued, a.have = block, 0, 0, false, symbolSet{}
	source := r.g.source(int(block))
	if source < r.g.k {
		clear(a.source[source*r.g.symbolSize:])
		for i := source; i < r.g.k; i++ {
			a.have.add(i)
			a.n++
		}
	}
	r.blocks[block] = a
}

// place is where symbol i belongs: empty, with the capacity of one symbol.
func (a *assembling) place(g *geometry, i int) []byte {
	buf := a.source
	if i >= g.k {
		if a.repair == nil {
			a.repair = make([]byte, g.m*g.symbolSize)
		}
		buf, i = a.repair, i-g.k
	}
	return buf[i*g.symbolSize : i*g.symbolSize : (i+1)*g.symbolSize]
}

// routineFinish finishes the blocks that are given to it.
func (r *Receiver) routineFinish(ctx context.Context) {
	var shards [][]byte
	for {
		var a *assembling
		select {
		case <-ctx.Done():
			return
		case a = <-r.work:
		}
		r.done <- r.complete(a, &shards) // never blocks: there are not more blocks than places
	}
}

// complete rebuilds, verifies and writes one block.
func (r *Receiver) complete(a *assembling, shards *[][]byte) finished {
	var err error
	if a.coded > 0 {
		*shards, err = r.code.decode(*shards, a.source, a.repair, &a.have)
	}
	if err == nil {
		err = r.cfg.Assembly.Put(int(a.block), a.source[:r.g.length(int(a.block))])
	}
	r.backlog.Add(-int64(r.g.blockSize))
	return finished{a, err}
}

// finish takes a block back from its worker.
func (r *Receiver) finish(f finished) error {
	delete(r.blocks, f.a.block)
	switch {
	case f.err == nil:
		if f.a.coded > 0 {
			r.stats.Repaired++
		}
	case errors.Is(f.err, ErrBlock):
		// A member holds the group key and can make authentic symbols with wrong
		// bytes. The block starts again.
		r.stats.Poisoned++
		r.log.Warn("block of authentic symbols has the wrong hash", zap.Uint32("block", f.a.block))
	default:
		return f.err
	}
	r.free = append(r.free, f.a)
	return nil
}

func (r *Receiver) progress(now time.Time, meter *throughput) {
	if r.cfg.Progress == nil {
		return
	}
	have := r.cfg.Assembly.Have()
	p := Progress{
		Members: int(r.beacon.Members), WaitFor: int(r.beacon.WaitMembers),
		StartsIn: time.Duration(r.beacon.WaitMillis) * time.Millisecond,
		Blocks:   have, Total: r.g.blocks,
		Bytes: min(int64(have)*int64(r.g.blockSize), r.g.size), Size: r.g.size,
		Rate: meter.rate(now, have) * float64(r.g.blockSize) * 8, Stats: r.stats,
	}
	if r.beacon.State != 0 {
		p.State = r.beacon.State.String()
	}
	if n := r.window.span(); n > 0 {
		p.Loss = max(0, 1-float64(r.received)/float64(n))
	}
	r.cfg.Progress(p)
}

// throughput measures blocks per second, smoothed over about a second.
type throughput struct {
	at     time.Time
	blocks int
	mean   float64
}

func (t *throughput) rate(now time.Time, blocks int) float64 {
	if d := now.Sub(t.at).Seconds(); d > 0 {
		v := float64(blocks-t.blocks) / d
		if t.mean == 0 {
			t.mean = v
		} else {
			t.mean += (v - t.mean) * min(d, 1)
		}
		t.at, t.blocks = now, blocks
	}
	return t.mean
}
