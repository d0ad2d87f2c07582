package tftp

import (
	"context"
	"time"

	"golang.org/x/time/rate"
)

// rateBurst is what a rate limit lets through at once, in bytes: the largest
// batch. More would let every client's first windows pass unlimited.
const rateBurst = maxBlockSize + headerSize + 28

// newLimiter is a limiter of bytes per second; nil for no limit.
func newLimiter(bytesPerSecond int64) *rate.Limiter {
	if bytesPerSecond == 0 {
		return nil
	}
	return rate.NewLimiter(rate.Limit(bytesPerSecond), rateBurst)
}

// pace waits until n bytes, at most rateBurst, may be sent under every limit.
func pace(ctx context.Context, n int, limiters ...*rate.Limiter) error {
	var wait time.Duration
	now := time.Now()
	for _, l := range limiters {
		if l == nil {
			continue
		}
		r := l.ReserveN(now, min(n, rateBurst))
		wait = max(wait, r.DelayFrom(now))
	}
	if wait <= 0 {
		return nil
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
