package main

import (
	"context"
	"errors"
	"math"
	"math/rand/v2"
	"os/exec"
	"sync"
	"time"

	"castpoint/test/clock"
)

// hostClock is the clock of the server's host. The machines have the right one.
type hostClock struct {
	mu     sync.Mutex
	ahead  time.Duration
	server *clock.Host // of castpoint serve, whether it lives or not; nil before
	stuck  bool        // programs cannot be given clocks here
	jumps  int
}

// launch starts a program of the server's host with the clock of that host. Commands
// keep the one that they have begun with; they are short.
func (c *hostClock) launch(cmd *exec.Cmd, program string) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.stuck {
		return cmd.Start()
	}
	h, err := clock.Start(cmd, program, c.ahead)
	if errors.Is(err, errors.ErrUnsupported) {
		say("no clock jumps: %v", err)
		c.stuck = true
		return cmd.Start()
	}
	if err != nil {
		return err
	}
	// ip netns exec NAMESPACE PROGRAM serve
	if len(cmd.Args) < 6 || cmd.Args[5] != "serve" {
		return h.Close()
	}
	before := c.server
	c.server = h
	if before != nil {
		return before.Close()
	}
	return nil
}

// wrong has it be wrong for what is started from now on.
func (c *hostClock) wrong(ahead time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.ahead = ahead
}

// set sets it for the server that runs, too.
func (c *hostClock) set(ahead time.Duration) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.ahead = ahead
	if c.stuck || c.server == nil {
		return nil
	}
	c.jumps++
	return c.server.Set(ahead)
}

func (c *hostClock) close() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.server == nil {
		return nil
	}
	err := c.server.Close()
	c.server = nil
	return err
}

// How far the clock is off. A jump may be of any order of size.
const (
	jumpLeast = 2 * time.Second
	jumpMost  = 1000 * 24 * time.Hour
)

// jump is by how much the clock is set.
func jump(r *rand.Rand) time.Duration {
	least, most := math.Log(float64(jumpLeast)), math.Log(float64(jumpMost))
	return time.Duration(math.Exp(least + r.Float64()*(most-least)))
}

// flat is by how much a clock is off whose host has been without power: a battery that
// is flat leaves it at the year in which the board was made. In one of four cases there is
// a battery, and another system has written its local time.
func flat(r *rand.Rand) time.Duration {
	if r.IntN(4) == 0 {
		return time.Duration(1+r.IntN(12)) * time.Hour
	}
	return -time.Duration(2+r.IntN(24)) * 365 * 24 * time.Hour
}

// clockDisturbances are those of the clock. While a server runs its clock is no excuse
// for anything.
func (s *soak) clockDisturbances(r *rand.Rand) []disturbance {
	right := func(context.Context) error { return s.clock.set(0) }
	set := func(ahead func() time.Duration) func(context.Context) error {
		return func(context.Context) error {
			by := ahead()
			say("  by %s", by.Round(time.Second))
			return s.clock.set(by)
		}
	}
	return []disturbance{
		{what: "clock put forward", excuses: nothing, lasts: 10 * time.Second, do: set(func() time.Duration { return jump(r) }), undo: right},
		{what: "clock put back", excuses: nothing, lasts: 10 * time.Second, do: set(func() time.Duration { return -jump(r) }), undo: right},
		{what: "clock put to and fro", excuses: nothing, lasts: 5 * time.Second, do: set(func() time.Duration { return jump(r) }), undo: func(ctx context.Context) error {
			for range 3 {
				if err := errors.Join(set(func() time.Duration { return -jump(r) })(ctx), pause(ctx, r), set(func() time.Duration { return jump(r) })(ctx), pause(ctx, r)); err != nil {
					return err
				}
			}
			return right(ctx)
		}},
	}
}

// wrongStart is a server that dies, and starts on a host whose clock is wrong, which is
// then put right as by a time server.
func (s *soak) wrongStart(r *rand.Rand) disturbance {
	return disturbance{what: "started with a wrong clock", kills: true, lasts: time.Second, do: func(ctx context.Context) error {
		ahead := flat(r)
		say("  by %s", ahead)
		if r.IntN(2) == 0 {
			// It has been wrong for a while when the server dies.
			if err := errors.Join(s.clock.set(ahead), pause(ctx, r)); err != nil {
				return err
			}
		}
		err := s.killServer(ctx)
		s.clock.wrong(ahead)
		return err
	}, undo: func(ctx context.Context) error {
		return errors.Join(s.startServer(ctx), pause(ctx, r), pause(ctx, r), s.clock.set(0))
	}}
}

// pause lets the machines live under a clock for a while.
func pause(ctx context.Context, r *rand.Rand) error {
	select {
	case <-time.After(time.Duration(r.IntN(4000)) * time.Millisecond):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
