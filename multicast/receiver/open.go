package receiver

import (
	"errors"
	"net/netip"
	"slices"
	"strings"
	"time"

	"go.uber.org/zap"

	"castpoint/multicast/seal"
	"castpoint/multicast/wire"
)

// datagram takes one datagram of the group that came from an address and reached the host
// at now, which is zero where nobody looked.
func (r *Receiver) datagram(d []byte, from netip.Addr, now time.Time) {
	h, err := wire.ParseHeader(d)
	if err != nil || h.Session != r.cfg.Admission.Session.ID || h.Object != r.g.Tag {
		r.stats.Foreign++
		return
	}
	clear, sealed := d[:wire.HeaderSize], d[wire.HeaderSize:]
	other := r.source.IsValid() && from.IsValid() && from != r.source
	if other && !(h.Type == wire.TypeBeacon && r.moved(&h, clear, sealed, from)) {
		r.inject(from)
		return
	}
	if h.Type == wire.TypeBeacon {
		r.takeBeacon(&h, clear, sealed, now)
		return
	}
	r.symbol(&h, clear, sealed, now)
}

// inject counts a datagram of the session that the server has not sent. Only somebody with
// the group key can make one that opens, and only the address tells who.
func (r *Receiver) inject(from netip.Addr) {
	r.stats.Injected++
	if len(r.stats.Injectors) == maxInjectors || slices.Contains(r.stats.Injectors, from) {
		return
	}
	r.stats.Injectors = append(r.stats.Injectors, from)
	r.log.Warn("datagrams of the session come from an address that is not the server's, and are dropped",
		zap.Stringer("peer", from), zap.Stringer("server", r.source))
	if r.cfg.Injected != nil {
		r.cfg.Injected(from)
	}
}

// moved says whether a beacon from another address shows that the session comes from there:
// something on the way may translate addresses. It has to be the server's, and news, while
// nothing comes from where the session is expected: a member that passes beacons on would
// otherwise be taken for the server.
func (r *Receiver) moved(h *wire.Header, clear, sealed []byte, from netip.Addr) bool {
	key := r.cfg.Admission.Session.BeaconKey
	scratch := r.scratch()
	if len(key) == 0 || h.Number <= r.newest || len(sealed) > cap(scratch)+wire.TagSize || time.Since(r.lastHeard) < rejoinSilence {
		return false
	}
	plain, err := r.keys.Open(scratch, h, clear, sealed)
	if err != nil || !seal.Signed(key, clear, plain) {
		return false
	}
	r.log.Info("session comes from another address than the server said", zap.Stringer("peer", from), zap.Stringer("server", r.source))
	r.source = from
	return true
}

func addresses(list []netip.Addr) string {
	var text []string
	for _, a := range list {
		text = append(text, a.String())
	}
	return strings.Join(text, ", ")
}

// takeBeacon opens a beacon. One that is older than the last says nothing new: the
// network, or somebody who recorded it, has sent it again.
func (r *Receiver) takeBeacon(h *wire.Header, clear, sealed []byte, now time.Time) {
	scratch := r.scratch()
	if len(sealed) > cap(scratch)+wire.TagSize {
		r.stats.Foreign++ // larger than any datagram of the session
		return
	}
	plain, ok := r.open(scratch, h, clear, sealed)
	if !ok {
		return
	}
	b, err := wire.ParseBeacon(plain)
	if err != nil {
		return
	}
	if h.Number > r.newest {
		if key := r.cfg.Admission.Session.BeaconKey; len(key) > 0 && !seal.Signed(key, clear, plain) {
			r.stats.Forged++ // by another member: it would end the session for this one
			return
		}
		r.newest, r.beacon = h.Number, b
		if b.ReportInterval > 0 {
			r.interval = time.Duration(b.ReportInterval) * time.Microsecond
		}
	}
	r.authentic(h, now, true)
}

// open opens a datagram and counts those that do not open.
func (r *Receiver) open(dst []byte, h *wire.Header, clear, sealed []byte) ([]byte, bool) {
	plain, err := r.keys.Open(dst, h, clear, sealed)
	switch {
	case err == nil:
		return plain, true
	case errors.Is(err, seal.ErrNoKey):
		if r.badEpoch.IsZero() {
			r.badEpoch = time.Now()
		}
	default:
		r.stats.Forged++
	}
	return nil, false
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
	if !now.IsZero() {
		r.transit.observe(now, h.Sent)
	}
}

// symbol opens a symbol into its place in its block.
func (r *Receiver) symbol(h *wire.Header, clear, sealed []byte, now time.Time) {
	b, i := int(h.Block), int(h.Symbol)
	if b >= r.g.Blocks || i >= r.g.K+r.g.M || len(sealed) != r.g.SymbolSize+wire.TagSize {
		r.stats.Foreign++
		return
	}
	a := r.blocks[h.Block]
	var place []byte
	dropped := false
	switch {
	case r.cfg.Assembly.Has(b), b >= r.cfg.Assembly.Limit(), a != nil && (a.queued || a.have.Has(i)):
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
		if _, ok := r.open(r.scratch(), h, clear, sealed); !ok {
			return
		}
		r.authentic(h, now, !dropped)
		return
	}
	if _, ok := r.open(place, h, clear, sealed); !ok {
		if a.n == r.g.K-r.g.Source(b) {
			// Nothing authentic is in it: a forged header must not hold memory.
			delete(r.blocks, h.Block)
			r.free = append(r.free, a)
		}
		return
	}
	r.authentic(h, now, true)
	r.frontier = max(r.frontier, b+1)
	a.have.Add(i)
	a.n++
	if i >= r.g.K {
		a.coded++
	}
	if a.n >= r.g.K {
		a.queued = true
		r.backlog.Add(int64(r.g.BlockSize))
		r.full = append(r.full, a)
	}
}

func (r *Receiver) scratch() []byte {
	if cap(r.runs) < r.g.SymbolSize {
		r.runs = make([]byte, 0, max(r.g.SymbolSize, wire.MaxReport))
	}
	return r.runs[:0]
}
