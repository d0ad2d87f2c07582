package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// usage is what a process holds.
type usage struct {
	Goroutines float64
	Files      float64 // open file descriptors
	Heap       float64 // bytes that lived through the last collection
	Resident   float64 // bytes
	Sessions   float64 // multicast, whatever state
	Collected  float64 // collections of garbage so far
}

func (u usage) String() string {
	return fmt.Sprintf("%.0f goroutines, %.0f files, %.1f MB of heap, %.1f MB resident", u.Goroutines, u.Files, u.Heap/1e6, u.Resident/1e6)
}

// What a process may hold more than it held before the wear. Goroutines and files
// come and go with connections of the metrics themselves and the pool of the
// database; tables of machines that have asked grow to their bounds.
const (
	moreGoroutines = 4
	moreFiles      = 4
	moreHeap       = 6e6  // bytes, beside a fifth of what there was
	moreResident   = 60e6 // bytes, beside a fifth of what there was
)

// growth lists what has grown beyond what is allowed.
func (u usage) growth(base usage) []string {
	var grown []string
	check := func(what string, now, before, allowed float64) {
		if now > before+allowed {
			grown = append(grown, fmt.Sprintf("%s have grown from %.0f to %.0f, and %.0f more are allowed", what, before, now, allowed))
		}
	}
	check("goroutines", u.Goroutines, base.Goroutines, moreGoroutines)
	check("file descriptors", u.Files, base.Files, moreFiles)
	check("bytes of heap", u.Heap, base.Heap, base.Heap/5+moreHeap)
	check("resident bytes", u.Resident, base.Resident, base.Resident/5+moreResident)
	return grown
}

// readUsage reads the metrics of a server.
func readUsage(ctx context.Context, c *http.Client, url string) (u usage, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return u, err
	}
	res, err := c.Do(req)
	if err != nil {
		return u, fmt.Errorf("read metrics: %w", err)
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return u, fmt.Errorf("read metrics: status %s", res.Status)
	}
	return parseUsage(res.Body)
}

// parseUsage takes the numbers out of Prometheus' text format.
func parseUsage(r io.Reader) (u usage, err error) {
	missing := map[string]*float64{
		"go_goroutines":                 &u.Goroutines,
		"process_open_fds":              &u.Files,
		"go_memstats_next_gc_bytes":     &u.Heap,
		"process_resident_memory_bytes": &u.Resident,
		"go_gc_duration_seconds_count":  &u.Collected,
	}
	lines := bufio.NewScanner(r)
	for lines.Scan() {
		name, value, _ := strings.Cut(lines.Text(), " ")
		label := strings.HasPrefix(name, "castpoint_multicast_sessions{")
		to := missing[name]
		if to == nil && !label {
			continue
		}
		v, err := strconv.ParseFloat(value, 64)
		if err != nil {
			return u, fmt.Errorf("metric %s: %w", name, err)
		}
		if label {
			u.Sessions += v
			continue
		}
		*to = v
		delete(missing, name)
	}
	if err := lines.Err(); err != nil {
		return u, fmt.Errorf("read metrics: %w", err)
	}
	for name := range missing {
		err = errors.Join(err, fmt.Errorf("there is no metric %s", name))
	}
	// The collector begins when the heap has doubled (GOGC=100): half of that is what
	// lived through the last collection.
	u.Heap /= 2
	return u, err
}

// Tuning of rests.
const (
	restStep   = 100 * time.Millisecond // between two looks; looking makes garbage, and so collections
	restSteady = 15 * time.Second       // of numbers that do not fall any more
	restMost   = 5 * time.Minute        // longer than any time limit of the server
	restCycles = 3                      // collections: what finalizers and pools hold goes with the second
)

// rest waits until a server that is left alone holds no less than before, and
// returns what that is.
func rest(ctx context.Context, read func(context.Context) (usage, error)) (usage, error) {
	ctx, cancel := context.WithTimeout(ctx, restMost)
	defer cancel()
	var least usage
	var collected float64
	since := time.Now()
	tick := time.NewTicker(restStep)
	defer tick.Stop()
	for {
		u, err := read(ctx)
		switch {
		case err != nil && ctx.Err() != nil:
		case err != nil:
			return u, err
		case least.Goroutines == 0:
			least, collected, since = u, u.Collected, time.Now()
		default:
			if u.Goroutines < least.Goroutines || u.Files < least.Files || u.Sessions < least.Sessions {
				since, collected = time.Now(), u.Collected
			}
			least.Goroutines, least.Files = min(least.Goroutines, u.Goroutines), min(least.Files, u.Files)
			least.Sessions = min(least.Sessions, u.Sessions)
			least.Heap, least.Resident = u.Heap, u.Resident
			if u.Sessions == 0 && time.Since(since) > restSteady && u.Collected >= collected+restCycles {
				return least, nil
			}
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			if least.Goroutines > 0 {
				return least, nil // it does not come to rest: the numbers will tell
			}
			return least, fmt.Errorf("wait for rest: %w", context.Cause(ctx))
		}
	}
}
