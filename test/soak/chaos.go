package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync/atomic"
	"syscall"
	"time"

	"castpoint/internal/lab"
)

// otherAddr is the address that the server's host has while its own is taken away.
const otherAddr = "10.77.0.9/24"

// disturbance is something that happens to the server, and the undoing of it.
type disturbance struct {
	what    string
	kills   bool
	excuses excuse
	lasts   time.Duration // at most
	do      func(context.Context) error
	undo    func(context.Context) error
}

// excuse is what a disturbance excuses.
type excuse int

const (
	silence excuse = iota // the server cannot be reached, or cannot work
	nothing               // it goes on
)

func (s *soak) disturbances(r *rand.Rand) []disturbance {
	server := s.network.Server
	cable := func(state string) func(context.Context) error {
		return func(ctx context.Context) error { return on(ctx, server, "ip", "link", "set", "eth0", state) }
	}
	// With the link and with its last address go the routes that the lab has made.
	route := func(ctx context.Context) error {
		return on(ctx, server, "ip", "route", "replace", "224.0.0.0/4", "dev", "eth0")
	}
	own := s.network.Server.Addr.String() + "/24"
	return []disturbance{
		s.wrongStart(r),
		{what: "killed", kills: true, lasts: 3 * time.Second, do: s.killServer, undo: s.startServer},
		{what: "stopped", kills: true, lasts: time.Second, do: s.stopServer, undo: s.startServer},
		{what: "killed twice", kills: true, do: s.killServer, undo: func(ctx context.Context) error {
			return errors.Join(s.startServer(ctx), s.killServer(ctx), s.startServer(ctx))
		}},
		{what: "disk full", lasts: 8 * time.Second, do: s.fillDisk, undo: s.freeDisk},
		{what: "interface down", lasts: 5 * time.Second, do: cable("down"), undo: func(ctx context.Context) error {
			return errors.Join(cable("up")(ctx), route(ctx))
		}},
		{what: "cable pulled", lasts: 5 * time.Second, do: func(ctx context.Context) error { return s.network.Unplug(ctx, server) },
			undo: func(ctx context.Context) error { return s.network.Plug(ctx, server) }},
		{what: "address changed", lasts: 6 * time.Second, do: func(ctx context.Context) error {
			return errors.Join(on(ctx, server, "ip", "addr", "del", own, "dev", "eth0"),
				on(ctx, server, "ip", "addr", "add", otherAddr, "brd", "+", "dev", "eth0"), route(ctx))
		}, undo: func(ctx context.Context) error {
			return errors.Join(on(ctx, server, "ip", "addr", "del", otherAddr, "dev", "eth0"),
				on(ctx, server, "ip", "addr", "add", own, "brd", "+", "dev", "eth0"), route(ctx))
		}},
	}
}

// lulls are how long it is fine between two disturbances: longer than they excuse
// silence for, so that there is time for everything to go well.
const (
	lullLeast = afterglow + 2*time.Second
	lullMore  = 10 * time.Second
	eveMost   = 6 * time.Second // between the clock and the next disturbance
)

// disturb does one thing after the other to the server until ctx ends, and undoes
// each. Every disturbance comes once before one comes again. When the weather is fine the
// clock is set, and then something else happens.
func (s *soak) disturb(ctx context.Context, kills bool, r *rand.Rand) error {
	s.lines.lap()
	clock, other := turns{all: s.clockDisturbances(r)}, turns{all: s.disturbances(r)}
	for fine := lullLeast; ; fine = lullLeast + time.Duration(r.Int64N(int64(lullMore))) {
		for _, next := range []struct {
			*turns
			after time.Duration
		}{{&clock, fine}, {&other, time.Duration(r.Int64N(int64(eveMost)))}} {
			select {
			case <-time.After(next.after):
			case <-ctx.Done():
				return nil
			}
			if err := s.happen(ctx, next.next(kills, r), r); err != nil {
				return err
			}
		}
	}
}

// turns has each of some disturbances come once before one comes again.
type turns struct {
	all   []disturbance
	order []int
}

// next is the one whose turn it is.
func (t *turns) next(kills bool, r *rand.Rand) (d disturbance) {
	for d.do == nil || d.kills && !kills {
		if len(t.order) == 0 {
			t.order = r.Perm(len(t.all))
		}
		d, t.order = t.all[t.order[0]], t.order[1:]
	}
	return d
}

// happen does a disturbance and undoes it.
func (s *soak) happen(ctx context.Context, d disturbance, r *rand.Rand) error {
	say("%s", d.what)
	calm := s.lines.lap()
	// What was begun is undone, whatever the time.
	through := context.WithoutCancel(ctx)
	end := func() {}
	if d.excuses == silence {
		end = s.weather.begin(d.what)
	}
	if err := d.do(through); err != nil {
		return fmt.Errorf("%s: %w", d.what, err)
	}
	if d.lasts > 0 {
		time.Sleep(time.Duration(r.Int64N(int64(d.lasts))))
	}
	if err := d.undo(through); err != nil {
		return fmt.Errorf("after %s: %w", d.what, err)
	}
	end()
	s.counted[d.what]++
	if loud := s.lines.lap(); d.excuses == nothing && loud > mostLouder*calm+fewLines {
		s.tally.fault("%s: the server wrote %.0f lines a second into its log, and %.0f before", d.what, loud, calm)
	}
	return nil
}

// A server that goes on says no more than before.
const (
	mostLouder = 5
	fewLines   = 100 // a second
)

// lines counts what the server writes into its log.
type lines struct {
	n    atomic.Int64
	from time.Time // of the lap
}

// lap ends a lap and returns how many lines a second there were in it.
func (l *lines) lap() float64 {
	took := time.Since(l.from).Seconds()
	l.from = time.Now()
	return float64(l.n.Swap(0)) / took
}

// on runs a program on a host, which has to succeed.
func on(ctx context.Context, h *lab.Host, args ...string) error {
	out, code, err := h.Run(ctx, args...)
	if err == nil && code != 0 {
		err = fmt.Errorf("%v ended with code %d: %s", args, code, out)
	}
	return err
}

// killServer ends the server in the middle of whatever it does.
func (s *soak) killServer(context.Context) error {
	select {
	case <-s.point.Server.Done():
		return fmt.Errorf("castpoint serve has ended by itself:\n%s", s.point.Server.Output.Tail(40))
	default:
	}
	s.point.Server.Kill()
	return nil
}

func (s *soak) stopServer(context.Context) error {
	code, err := s.point.Server.Stop()
	if err == nil && code != 0 {
		err = fmt.Errorf("castpoint serve ended with code %d after SIGTERM:\n%s", code, s.point.Server.Output.Tail(40))
	}
	return err
}

func (s *soak) startServer(ctx context.Context) error {
	echo := func(line string) {
		s.lines.n.Add(1)
		if s.log != nil {
			fmt.Fprintln(s.log, line)
		}
		if s.options.verbose {
			fmt.Println("  ", line)
		}
	}
	return s.point.Serve(ctx, echo, s.serveArgs...)
}

// fillDisk leaves nothing on the file system of the data folder.
func (s *soak) fillDisk(context.Context) error {
	f, err := os.Create(s.filler())
	if err != nil {
		return err
	}
	defer f.Close()
	chunk := make([]byte, 1<<20)
	for len(chunk) > 0 {
		n, err := f.Write(chunk)
		switch {
		case errors.Is(err, syscall.ENOSPC):
			// What is left is smaller than the chunk; others may free some meanwhile.
			chunk = chunk[:len(chunk)/2]
		case err != nil:
			return err
		case n == 0:
			return io.ErrShortWrite
		}
	}
	return nil
}

func (s *soak) freeDisk(context.Context) error { return os.Remove(s.filler()) }

func (s *soak) filler() string { return filepath.Join(s.point.Data, "filler") }
