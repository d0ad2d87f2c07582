package flow

import (
	"time"

	"golang.org/x/time/rate"

	"castpoint/tftp/wire"
)

// rateBurst is what a rate limit lets through at once, in bytes: the largest
// batch. More would let every client's first windows pass unlimited.
const rateBurst = wire.MaxBlockSize + wire.HeaderSize + 28

// NewLimiter is a limiter of bytes per second; nil for no limit.
func NewLimiter(bytesPerSecond int64) *rate.Limiter {
	if bytesPerSecond == 0 {
		return nil
	}
	return rate.NewLimiter(rate.Limit(bytesPerSecond), rateBurst)
}

// reserve takes n bytes, at most rateBurst, from every limiter, and returns how long
// to wait before they may be sent.
func reserve(n int, limiters []*rate.Limiter) time.Duration {
	var wait time.Duration
	now := time.Now()
	for _, l := range limiters {
		wait = max(wait, l.ReserveN(now, min(n, rateBurst)).DelayFrom(now))
	}
	return wait
}

// limiters are the limiters that exist.
func limiters(ls []*rate.Limiter) []*rate.Limiter {
	var have []*rate.Limiter
	for _, l := range ls {
		if l != nil {
			have = append(have, l)
		}
	}
	return have
}
