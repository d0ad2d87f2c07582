package tftp

import (
	"container/heap"
	"iter"
	"runtime"
	"sync"
	"time"

	"go.uber.org/zap"

	"castpoint/internal/netio"
)

// loop waits for the sockets of many transfers at once and lets each go on when
// its client has answered.
//
// In lock-step the time from an ACK to the next block is what a client waits for,
// once for each 1.4 kB. A goroutine that waits in package net costs the runtime
// two rounds of its scheduler for every block; a coroutine that the loop resumes
// costs neither, and its code still reads from top to bottom.
//
// A coroutine is run by one of two at a time: by the loop, as long as it does
// nothing that takes time, and otherwise by its transfer's own goroutine. It
// changes hands when it says so, by loopLink.Blocking, and at the next wait for the
// client goes back to the loop.
type loop struct {
	poll *netio.Poller
	log  *zap.Logger

	mu      sync.Mutex
	posted  []func()
	closing bool

	// Only of the loop's goroutine.
	timers timers
	handed bool // coroutines went to their goroutines in this round
}

// brokenWait is the time between two tries to wait for datagrams when that fails.
const brokenWait = 50 * time.Millisecond

func newLoop(log *zap.Logger) (*loop, error) {
	p, err := netio.NewPoller()
	if err != nil {
		return nil, err
	}
	return &loop{poll: p, log: log}, nil
}

// loops is how many loops a server has. Each holds a place of the scheduler while it
// waits, for it never waits long when there is much to do; one place is left to
// everybody else. With one loop for a machine of two processors its transfers
// wait for each other when the processors are busy with something else.
func loops() int { return max(1, min(4, runtime.GOMAXPROCS(0)-1)) }

// run lets transfers go on until close.
func (l *loop) run() {
	var posted []func()
	for {
		timeout := time.Duration(-1)
		if len(l.timers) > 0 {
			timeout = max(0, time.Until(l.timers[0].deadline))
		}
		if err := l.poll.Wait(timeout); err != nil {
			// Nothing that could pass. Timers still end what runs.
			l.log.Error("TFTP cannot wait for datagrams", zap.Error(err))
			time.Sleep(brokenWait)
		}
		l.mu.Lock()
		posted, l.posted = l.posted, posted[:0]
		closing := l.closing
		l.mu.Unlock()
		for i, f := range posted {
			f()
			posted[i] = nil
		}
		if closing {
			return
		}
		if len(l.timers) > 0 {
			for now := time.Now(); len(l.timers) > 0 && !l.timers[0].deadline.After(now); {
				l.timers[0].step()
			}
		}
		if l.handed {
			// They read files, and their clients wait: before this thread sleeps in the
			// kernel, and its place in the scheduler with it, they get it.
			l.handed = false
			runtime.Gosched()
		}
	}
}

// post lets the loop call f soon.
func (l *loop) post(f func()) {
	l.mu.Lock()
	l.posted = append(l.posted, f)
	l.mu.Unlock()
	l.poll.Wake()
}

// call lets the loop call f and waits until it has.
func (l *loop) call(f func()) {
	done := make(chan struct{})
	l.post(func() {
		f()
		close(done)
	})
	<-done
}

// close ends run.
func (l *loop) close() {
	l.mu.Lock()
	l.closing = true
	l.mu.Unlock()
	l.poll.Wake()
}

// pause is why a coroutine stopped.
type pause uint8

const (
	pauseWait     pause = iota // until its deadline, or a datagram when it listens
	pauseBlocking              // what comes next may take time
)

// coroutine is the part of a loopLink that the loop knows.
type coroutine struct {
	loop  *loop
	ready func() bool   // something to read may be there
	sock  *netio.Socket // what to watch; nil in single-port mode

	yield  func(pause) bool
	resume func() (pause, bool)
	turn   chan bool // to its goroutine: it is yours to resume; false: it has ended

	deadline  time.Time // pauseWait
	listening bool      // pauseWait ends by a datagram too
	inLoop    bool      // the loop has resumed it

	// Only of the loop's goroutine.
	held    bool // it is the loop's to resume
	watched bool // the poller knows its socket
	place   int  // among the timers
}

// do runs f as a coroutine and returns when it has returned.
func (c *coroutine) do(f func()) {
	c.resume, _ = iter.Pull(func(yield func(pause) bool) {
		c.yield = yield
		f()
	})
	for {
		if _, more := c.resume(); !more {
			c.loop.call(c.unwatch)
			return
		}
		c.loop.post(c.hold)
		if !<-c.turn {
			return
		}
	}
}

// hold takes the coroutine from its goroutine.
func (c *coroutine) hold() {
	c.held = true
	heap.Push(&c.loop.timers, c)
	c.watch()
	if c.ready() {
		c.step()
	}
}

// step lets the coroutine go on.
func (c *coroutine) step() {
	c.inLoop = true
	why, more := c.resume()
	c.inLoop = false
	if more && why == pauseWait {
		heap.Fix(&c.loop.timers, c.place)
		c.watch()
		return
	}
	c.held = false
	heap.Remove(&c.loop.timers, c.place)
	if more {
		c.loop.handed = true
	} else {
		c.unwatch()
	}
	c.turn <- more
}

// arrived is called when the socket has something to read.
func (c *coroutine) arrived() {
	if !c.held || !c.listening {
		c.unwatch() // until it listens again
		return
	}
	c.step()
}

func (c *coroutine) watch() {
	if c.sock == nil || c.watched || !c.listening {
		return
	}
	if err := c.loop.poll.Add(c.sock, c.arrived); err != nil {
		c.loop.log.Error("TFTP transfer is deaf", zap.Error(err)) // and ends by its timers
		return
	}
	c.watched = true
}

func (c *coroutine) unwatch() {
	if c.watched {
		c.watched = false
		c.loop.poll.Remove(c.sock)
	}
}

// timers is a heap, the nearest deadline first.
type timers []*coroutine

func (t timers) Len() int           { return len(t) }
func (t timers) Less(i, k int) bool { return t[i].deadline.Before(t[k].deadline) }
func (t timers) Swap(i, k int) {
	t[i], t[k] = t[k], t[i]
	t[i].place, t[k].place = i, k
}

// Push is heap.Interface's.
func (t *timers) Push(x any) {
	c := x.(*coroutine)
	c.place = len(*t)
	*t = append(*t, c)
}

// Pop is heap.Interface's.
func (t *timers) Pop() any {
	last := len(*t) - 1
	c := (*t)[last]
	(*t)[last] = nil
	*t = (*t)[:last]
	return c
}
