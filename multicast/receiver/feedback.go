package receiver

import (
	"time"

	"castpoint/multicast/wire"
)

// report sends the member's state. Lost reports are not repeated: the next one
// says it again.
func (r *Receiver) report(now time.Time) {
	r.number++
	h := wire.ReportHeader{Session: r.cfg.Admission.Session.ID, Number: r.number, Member: r.cfg.Admission.Member.ID}
	rep := wire.Report{
		Highest:    r.highest,
		Received:   r.received,
		QueueDelay: uint32(r.transit.queued().Microseconds()),
		Backlog:    uint32((r.backlog.Load() + r.cfg.Assembly.Waiting()) >> 10),
	}
	r.describe(&rep)
	clear := h.Append(r.reportBuf[:0])
	d := r.own.Seal(clear, rep.Append(nil), r.number)
	// A full queue or an ICMP error: the next report says it again.
	_ = r.cfg.Conn.WriteReport(d)
}

// describe fills in what is complete and the runs of what is not. When they do
// not all fit, the report speaks of the blocks up to where it is full: those
// come first in the file and are the ones that the sender can do most for.
func (r *Receiver) describe(rep *wire.Report) {
	l := wire.NewRunList(r.scratch())
	complete, n := r.cfg.Assembly.Gaps(func(from, to int) bool {
		for b := from; b < to && !l.Full(); {
			deficit, end := r.deficit(b), b+1
			if b >= r.frontier {
				end = to // never seen: all alike
			}
			if deficit > 0 { // else it is with a worker, and complete unless its hash is wrong
				l.Add(b, end, deficit)
			}
			b = end
		}
		return !l.Full()
	})
	runs, to := l.Close(n)
	rep.Complete, rep.To, rep.Runs = uint32(complete), uint32(to), runs
	r.runs = runs
}

// deficit is how many symbols of block b, which is not written, are lacking. Of a
// block that was never seen it is k, whatever the block's length: runs of such
// blocks stay long where blocks are short.
func (r *Receiver) deficit(b int) uint8 {
	if a := r.blocks[uint32(b)]; a != nil {
		if a.queued {
			return 0
		}
		return uint8(r.g.K - a.n)
	}
	return uint8(r.g.K)
}

// transit follows how long datagrams are under way. The clocks of sender and
// member are not in step, so only differences mean something: queueing delay is
// what the fastest datagram of an interval took longer than the fastest of the
// last ten seconds or more.
type transit struct {
	base, next  int32 // fastest in the last whole window, and in the running one
	windowStart time.Time
	fastest     int32 // since the last report
	any         bool  // fastest is valid
}

// clockStep in microseconds is a change of transit time that only a clock that
// was set explains.
const clockStep = 5_000_000

// observe takes a datagram that was sent at the sender's microsecond sent.
func (t *transit) observe(now time.Time, sent uint32) {
	d := int32(uint32(now.UnixMicro()) - sent)
	if t.windowStart.IsZero() || uint32(d-t.base+clockStep) > 2*clockStep {
		*t = transit{windowStart: now, base: d, next: d}
	}
	if now.Sub(t.windowStart) > baseWindow {
		t.base, t.next, t.windowStart = t.next, d, now
	}
	// Differences, because the counters wrap around.
	if d-t.next < 0 {
		t.next = d
	}
	if d-t.base < 0 {
		t.base = d
	}
	if !t.any || d-t.fastest < 0 {
		t.fastest, t.any = d, true
	}
}

// queued is the queueing delay since it was last asked for.
func (t *transit) queued() time.Duration {
	if !t.any {
		return 0
	}
	t.any = false
	return time.Duration(max(t.fastest-t.base, 0)) * time.Microsecond
}

// replayWindow tells fresh packet numbers from repeated ones among the last
// windowSize, so that a datagram sent twice by the network or by somebody else
// does not count twice. The zero value is ready to use.
type replayWindow struct {
	first, top wire.PacketNumber
	words      [windowSize / 64]uint64
}

const (
	windowSize = 8192
	// maxJump is a gap that no loss explains (6 GB): a member that holds the group
	// key and makes up numbers, to keep the others' counters from moving.
	maxJump = 1 << 22
)

// fresh reports whether n has not been seen; numbers older than the window, and
// numbers from a far future, count as seen.
func (w *replayWindow) fresh(n wire.PacketNumber) bool {
	if w.first == 0 {
		w.first, w.top = n, n
		w.words[n/64%uint64len] = 1 << (n % 64)
		return true
	}
	switch {
	case n > w.top+maxJump:
		return false
	case n > w.top:
		// Clear the words that the window moves over.
		from, to := w.top/64+1, n/64
		if to-from >= uint64len {
			from = to - uint64len + 1
		}
		for i := from; i <= to; i++ {
			w.words[i%uint64len] = 0
		}
		w.top = n
	case w.top-n >= windowSize-64:
		return false
	}
	word, bit := &w.words[n/64%uint64len], uint64(1)<<(n%64)
	if *word&bit != 0 {
		return false
	}
	*word |= bit
	return true
}

const uint64len = windowSize / 64

// span is the number of packets between the first and the highest one seen.
func (w *replayWindow) span() uint64 {
	if w.first == 0 {
		return 0
	}
	return uint64(w.top-w.first) + 1
}
