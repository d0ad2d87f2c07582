package receive

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"time"

	"golang.org/x/sync/errgroup"

	"castpoint/agent"
	"castpoint/multicast"
	"castpoint/multicast/assembly"
)

// Tuning of unicast.
const (
	// rangeBlocks is how many blocks one request asks for: what is lost with a
	// connection is little, and requests are few.
	rangeBlocks = 64
	// smallRange is a range that takes less time than its request's way to the server
	// and back. Of those, so many are asked for at the same time.
	smallRange, smallAtOnce = 8, 4
	stallTime               = 30 * time.Second // without a byte
	progressTime            = 200 * time.Millisecond
)

// unicast fetches the blocks that are missing, one range after the other, and small
// ones, of which a folder of small files has thousands, several at the same time.
func (r *receive) unicast(ctx context.Context) error {
	r.meter = meter{at: time.Now()}
	list := cut(r.asm.Missing())
	for len(list) > 0 {
		n := slices.IndexFunc(list, func(m assembly.Range) bool { return m.Count >= smallRange })
		if n < 0 {
			n = len(list)
		}
		if n <= 1 || r.pipe != nil { // a program takes what comes in order
			n = 1
		}
		fetches, group := errgroup.WithContext(ctx)
		fetches.SetLimit(smallAtOnce)
		for _, m := range list[:n] {
			fetches.Go(func() error { return r.fetch(group, m.First, m.Count) })
		}
		if err := fetches.Wait(); err != nil {
			return err
		}
		list = list[n:]
	}
	return nil
}

// cut makes ranges of at most rangeBlocks.
func cut(missing []assembly.Range) (list []assembly.Range) {
	for _, m := range missing {
		for m.Count > 0 {
			n := min(m.Count, rangeBlocks)
			list = append(list, assembly.Range{First: m.First, Count: n})
			m.First, m.Count = m.First+n, m.Count-n
		}
	}
	return list
}

// invitation ends unicast: the server asks this machine to join again.
type invitation struct{ why string }

func (i *invitation) Error() string { return i.why }

// invited says whether the server's answer to a range asks this machine to join
// again, and why. For little it stays.
func (r *receive) invited(h http.Header) error {
	left := r.asm.Blocks() - r.asm.Have()
	switch why := h.Get(multicast.HeaderJoin); {
	case left <= rangeBlocks:
	case why == multicast.JoinBack:
		return &invitation{"this machine may keep up with the session now"}
	case why == multicast.JoinSlower:
		return &invitation{"there is a slower session for this machine"}
	}
	return nil
}

// fetch gets n blocks of one object from first on.
func (r *receive) fetch(ctx context.Context, first, n int) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	stall := time.AfterFunc(stallTime, func() { cancel(errStall) })
	defer stall.Stop()

	object, start := r.asm.Place(first)
	_, end := r.asm.Place(first + n - 1)
	end += int64(r.asm.Length(first + n - 1))
	header := http.Header{"Range": {fmt.Sprintf("bytes=%d-%d", start, end-1)}}
	r.fetched.Lock()
	if r.ranges > 0 {
		header.Set(multicast.HeaderRate, strconv.FormatFloat(r.ranges, 'f', 0, 64))
	}
	r.fetched.Unlock()
	began := time.Now()
	res, err := r.client.Request(ctx, http.MethodGet, multicast.PathObject+r.adm.Objects[object].SHA256, r.adm.Ticket, nil, header)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	if err := r.invited(res.Header); err != nil {
		return err
	}
	if res.StatusCode != http.StatusPartialContent {
		return fmt.Errorf("fetch blocks by unicast: %s answers %s to a range", r.client.Address(), res.Status)
	}
	buf := make([]byte, r.asm.Length(first)) // none behind it is longer
	for b := first; b < first+n; b++ {
		data := buf[:r.asm.Length(b)]
		if _, err := io.ReadFull(&watched{res.Body, stall}, data); err != nil {
			if cause := context.Cause(ctx); cause != nil {
				err = cause
			}
			return fmt.Errorf("fetch block %d by unicast: %w", b, err)
		}
		if err := r.asm.Put(b, data); err != nil {
			if errors.Is(err, assembly.ErrBlock) {
				if damaged := r.doubt(ctx, b); damaged != nil {
					return damaged
				}
				return fmt.Errorf("fetch by unicast: %w", err)
			}
			return err
		}
		r.count(len(data))
	}
	if n >= smallRange { // what few blocks took says nothing of the link
		r.fetched.Lock()
		r.ranges = float64(end-start) * 8 / time.Since(began).Seconds()
		r.fetched.Unlock()
	}
	return nil
}

// count notes a block of n bytes that came by unicast, and reports now and then.
func (r *receive) count(n int) {
	r.fetched.Lock()
	defer r.fetched.Unlock()
	r.res.Unicast++
	rate, ok := r.meter.add(n)
	if !ok {
		return
	}
	e := agent.Event{Kind: agent.EventProgress, State: "unicast", Rate: rate}
	if left := r.asm.Size() - r.asm.Bytes(); rate > 0 && left > 0 {
		e.Remaining = float64(left) * 8 / rate
	}
	r.report(e)
}

var errStall = fmt.Errorf("no byte came for %s", stallTime)

// watched puts the stall timer off with every byte.
type watched struct {
	io.Reader
	stall *time.Timer
}

func (w *watched) Read(b []byte) (int, error) {
	n, err := w.Reader.Read(b)
	if n > 0 {
		w.stall.Reset(stallTime)
	}
	return n, err
}

// meter measures bits per second, smoothed over about a second.
type meter struct {
	at    time.Time
	bytes int
	mean  float64
}

// add counts n bytes; ok says that it is time to show something.
func (m *meter) add(n int) (rate float64, ok bool) {
	m.bytes += n
	d := time.Since(m.at)
	if d < progressTime {
		return 0, false
	}
	v := float64(m.bytes) * 8 / d.Seconds()
	if m.mean == 0 {
		m.mean = v
	} else {
		m.mean += (v - m.mean) * min(d.Seconds(), 1)
	}
	m.at, m.bytes = time.Now(), 0
	return m.mean, true
}
