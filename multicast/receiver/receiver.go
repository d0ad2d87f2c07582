package receiver

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"os"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"castpoint/multicast"
	"castpoint/multicast/assembly"
	"castpoint/multicast/block"
	"castpoint/multicast/seal"
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
	// rejoinSilence is ten beacons; rejoinAgain gives a switch time to act.
	rejoinSilence = time.Second
	rejoinAgain   = 2 * time.Second
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
	// maxInjectors bounds the addresses that are told of: who makes them up has plenty.
	maxInjectors = 8
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

// Config describes a member's part in a session.
type Config struct {
	Admission multicast.Admission
	Assembly  *assembly.Assembly
	Conn      Conn // closed by Run
	// Memory bounds the blocks that are being put together, in bytes; 0 means
	// 64 MiB. When it is used up, symbols of further blocks are dropped and come
	// again.
	Memory int64
	// Silence is how long to wait for the first datagram; 0 means 5 s.
	Silence  time.Duration
	Progress func(Progress) // may be nil; called a few times a second
	// Doubt is called with a block that came with a wrong hash again and again: it is
	// damaged at the sender, or a member makes it up. It may be nil, and may not wait.
	Doubt func(block int)
	// Injected is called with each address that is not the server's and that datagrams of
	// the session come from. It may be nil, and may not wait.
	Injected func(from netip.Addr)
	Log      *zap.Logger
}

// Receiver takes part in one session as a member.
type Receiver struct {
	cfg  Config
	log  *zap.Logger
	g    block.Geometry
	code *block.Code
	keys *seal.Ring
	own  *seal.Sealer
	// source is the address that the session comes from; invalid where it is not known.
	source netip.Addr

	// Owned by the goroutine that runs receive.
	blocks    map[uint32]*assembling
	poisoned  map[uint32]int // blocks that came with a wrong hash, and how often
	frontier  int            // blocks from here on were never seen
	highest   wire.PacketNumber
	window    replayWindow
	received  uint64
	number    uint64 // reports sent
	runs      []byte
	reportBuf []byte
	transit   transit
	interval  time.Duration
	beacon    wire.Beacon
	newest    wire.PacketNumber // of beacon
	badEpoch  time.Time         // since when datagrams have an epoch without key
	lastHeard time.Time
	rejoined  time.Time
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

// New checks the admission.
func New(cfg Config) (*Receiver, error) {
	p := &cfg.Admission.Session
	if p.Code != multicast.CodeLeopard8 {
		return nil, fmt.Errorf("the session uses code %q, this receiver knows %s: use a receiver of the server's version", p.Code, multicast.CodeLeopard8)
	}
	g, err := block.NewGeometry(cfg.Admission.Objects, p.SymbolSize, p.RepairSymbols)
	if err != nil {
		return nil, fmt.Errorf("session parameters: %w", err)
	}
	if g.K != p.SourceSymbols {
		return nil, fmt.Errorf("session parameters: %d source symbols of %d bytes do not make a block of %d", p.SourceSymbols, p.SymbolSize, g.BlockSize)
	}
	if cfg.Assembly.Tag() != g.Tag {
		return nil, errors.New("the assembly is for the objects of another session")
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
	r := &Receiver{cfg: cfg, log: cfg.Log, g: g,
		blocks: make(map[uint32]*assembling), poisoned: make(map[uint32]int), interval: p.ReportInterval,
		reportBuf: make([]byte, 0, wire.MaxReport), source: p.Source.Unmap().WithZone("")}
	if r.interval <= 0 {
		r.interval = multicast.ReportInterval
	}
	if r.code, err = block.NewCode(&r.g); err != nil {
		return nil, err
	}
	if r.keys, err = seal.NewRing(cfg.Admission.Keys); err != nil {
		return nil, fmt.Errorf("%w: use a receiver of the server's version", err)
	}
	if n := len(p.BeaconKey); n != 0 && n != ed25519.PublicKeySize {
		return nil, fmt.Errorf("the session's key for beacons has %d bytes: use a receiver of the server's version", n)
	}
	if r.own, err = seal.NewReportSealer(cfg.Admission.Member.Key); err != nil {
		return nil, fmt.Errorf("member key: %w", err)
	}
	n := max(int(cfg.Memory)/g.BlockSize, 8)
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
	meter := throughput{at: began, bytes: r.cfg.Assembly.Bytes()}
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
		case !r.badEpoch.IsZero() && now.Sub(r.badEpoch) > 2*multicast.BeaconInterval:
			return ErrKeys
		case r.stats.Datagrams == 0 && now.Sub(began) > r.cfg.Silence:
			return r.nothing()
		case now.Sub(r.lastHeard) > lostSilence:
			return fmt.Errorf("%w for %s", ErrSilent, lostSilence)
		}
		r.rejoin(now)
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

// rejoin joins the group again when nothing comes, though beacons should: a switch
// without a querier forgets who wants a group after some minutes.
func (r *Receiver) rejoin(now time.Time) {
	if now.Sub(r.lastHeard) < rejoinSilence || now.Sub(r.rejoined) < rejoinAgain {
		return
	}
	r.rejoined = now
	if err := r.cfg.Conn.Rejoin(); err != nil {
		r.log.Warn("group not joined again", zap.Error(err))
	}
}

// nothing explains what was seen when nothing of the session was.
func (r *Receiver) nothing() error {
	switch {
	case r.stats.Forged > 0:
		return fmt.Errorf("%w: %d datagrams came that do not open with its key", ErrNoDatagrams, r.stats.Forged)
	case r.stats.Injected > 0:
		return fmt.Errorf("%w from %s, the server; %d came from %s", ErrNoDatagrams, r.source, r.stats.Injected, addresses(r.stats.Injectors))
	case r.stats.Foreign > 0:
		return fmt.Errorf("%w: %d datagrams of other senders came to its group and port", ErrNoDatagrams, r.stats.Foreign)
	}
	return ErrNoDatagrams
}
