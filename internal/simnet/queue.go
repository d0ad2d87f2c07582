package simnet

import (
	"container/heap"
	"errors"
	"net"
	"net/netip"
	"os"
	"sync"
	"time"
)

// errEmpty is returned by get when it may not wait.
var errEmpty = errors.New("nothing has arrived")

type datagram struct {
	at   time.Time
	seq  uint64 // keeps the order of datagrams that arrive at the same instant
	b    []byte
	from netip.AddrPort
}

// queue holds datagrams until they arrive.
type queue struct {
	mu       sync.Mutex
	list     byArrival
	seq      uint64
	changed  chan struct{} // capacity 1: wakes a waiting get
	deadline time.Time
	closed   bool
}

func newQueue() *queue { return &queue{changed: make(chan struct{}, 1)} }

func (q *queue) wake() {
	select {
	case q.changed <- struct{}{}:
	default:
	}
}

func (q *queue) put(at time.Time, b []byte, from netip.AddrPort) {
	q.mu.Lock()
	if !q.closed {
		q.seq++
		heap.Push(&q.list, datagram{at, q.seq, b, from})
	}
	q.mu.Unlock()
	q.wake()
}

func (q *queue) setDeadline(t time.Time) {
	q.mu.Lock()
	q.deadline = t
	q.mu.Unlock()
	q.wake()
}

func (q *queue) close() {
	q.mu.Lock()
	q.closed = true
	q.list = nil
	q.mu.Unlock()
	q.wake()
}

func (q *queue) isClosed() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.closed
}

// get returns the next datagram that has arrived, waiting for one if wait.
func (q *queue) get(wait bool) (datagram, error) {
	for {
		q.mu.Lock()
		now := time.Now()
		if q.closed {
			q.mu.Unlock()
			return datagram{}, net.ErrClosed
		}
		if len(q.list) > 0 && !q.list[0].at.After(now) {
			d := heap.Pop(&q.list).(datagram)
			q.mu.Unlock()
			return d, nil
		}
		until := q.deadline
		if len(q.list) > 0 && (until.IsZero() || q.list[0].at.Before(until)) {
			until = q.list[0].at
		}
		late := !q.deadline.IsZero() && !q.deadline.After(now)
		q.mu.Unlock()
		switch {
		case !wait:
			return datagram{}, errEmpty
		case late:
			return datagram{}, os.ErrDeadlineExceeded
		case until.IsZero():
			<-q.changed
			continue
		}
		t := time.NewTimer(until.Sub(now))
		select {
		case <-q.changed:
		case <-t.C:
		}
		t.Stop()
	}
}

// byArrival is a heap ordered by time of arrival.
type byArrival []datagram

func (l byArrival) Len() int { return len(l) }
func (l byArrival) Less(i, j int) bool {
	if l[i].at.Equal(l[j].at) {
		return l[i].seq < l[j].seq
	}
	return l[i].at.Before(l[j].at)
}
func (l byArrival) Swap(i, j int) { l[i], l[j] = l[j], l[i] }
func (l *byArrival) Push(x any)   { *l = append(*l, x.(datagram)) }
func (l *byArrival) Pop() any {
	old := *l
	d := old[len(old)-1]
	old[len(old)-1] = datagram{}
	*l = old[:len(old)-1]
	return d
}
