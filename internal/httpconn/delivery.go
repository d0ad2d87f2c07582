package httpconn

import (
	"context"
	"fmt"
	"os"
	"time"
)

// firstLook is when Delivered looks for the first time, and twice as late each time
// after that up to lookEvery.
const (
	firstLook = 5 * time.Millisecond
	lookEvery = 100 * time.Millisecond
)

// Delivered waits until the client has acknowledged what was written to the connection
// of a request, or has gone. It returns an error that matches os.ErrDeadlineExceeded
// when the client has acknowledged nothing for stall.
//
// A connection with an answer in its buffer is not to be closed. Linux goes on sending,
// but with less patience: when the link's queue is full, what finds no room is dropped
// before it leaves, and tried again every 500 ms (TCP_RESOURCE_PROBE_INTERVAL). These
// tries are counted as if the client were silent (tcp_send_probe0 of
// net/ipv4/tcp_output.c), and the 8th in a row ends a connection that the program has
// closed, as early as 4 s after the last byte has left; one that is open has
// net.ipv4.tcp_retries2 of them, 15.
func Delivered(ctx context.Context, stall time.Duration) error {
	c, ok := ctx.Value(connKey{}).(*conn)
	if !ok {
		return nil
	}
	timer := time.NewTimer(firstLook)
	defer timer.Stop()
	var last sendState
	moved := time.Now()
	for wait := firstLook; ; wait = min(2*wait, lookEvery) {
		s, ok := sending(c.socket)
		if !ok || s.left == 0 {
			return nil
		}
		now := time.Now()
		if s != last {
			last, moved = s, now
		}
		if now.Sub(moved) >= stall {
			return fmt.Errorf("the client has acknowledged none of the last %d bytes for %s: %w", s.left, stall, os.ErrDeadlineExceeded)
		}
		timer.Reset(wait)
		<-timer.C
	}
}

// sendState is what a TCP connection has sent.
type sendState struct {
	acked uint64 // bytes that the peer has acknowledged
	left  int    // bytes that were written and are not acknowledged
}
