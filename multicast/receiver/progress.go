package receiver

import (
	"net/netip"
	"time"
)

// Progress is how far a receiver is.
type Progress struct {
	State    string // of the session, as its beacons say; "" before the first
	Members  int    // in the session
	WaitFor  int    // members the session waits for before it starts
	StartsIn time.Duration
	Blocks   int // verified and written, of Total that this member wants
	Total    int
	Bytes    int64 // the same in bytes, of Size
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
	// Injected are datagrams with the session's name that came from another address than
	// the server's, and were dropped; Injectors are such addresses, the first of them.
	Injected  uint64
	Injectors []netip.Addr
	Repaired  int // blocks that were rebuilt from repair symbols
	Poisoned  int // blocks whose symbols were authentic and whose hash was wrong
}

func (r *Receiver) progress(now time.Time, meter *throughput) {
	if r.cfg.Progress == nil {
		return
	}
	as := r.cfg.Assembly
	have := as.Bytes()
	p := Progress{
		Members: int(r.beacon.Members), WaitFor: int(r.beacon.WaitMembers),
		StartsIn: time.Duration(r.beacon.WaitMillis) * time.Millisecond,
		Blocks:   as.Have(), Total: as.Blocks(), Bytes: have, Size: as.Size(),
		Rate: 8 * meter.rate(now, have), Stats: r.stats,
	}
	if r.beacon.State != 0 {
		p.State = r.beacon.State.String()
	}
	if n := r.window.span(); n > 0 {
		p.Loss = max(0, 1-float64(r.received)/float64(n))
	}
	r.cfg.Progress(p)
}

// throughput measures bytes per second, smoothed over about a second.
type throughput struct {
	at    time.Time
	bytes int64
	mean  float64
}

func (t *throughput) rate(now time.Time, bytes int64) float64 {
	if d := now.Sub(t.at).Seconds(); d > 0 {
		v := float64(bytes-t.bytes) / d
		if t.mean == 0 {
			t.mean = v
		} else {
			t.mean += (v - t.mean) * min(d, 1)
		}
		t.at, t.bytes = now, bytes
	}
	return t.mean
}
