package integrity

import (
	"context"
	"crypto/sha1" //nolint:gosec // the format prescribes it; it finds damage, not forgery
	"errors"
	"slices"
	"sync"

	"castpoint/content/wim"
	"castpoint/content/wim/format"
)

// VerifySet hashes all parts of a WIM against their integrity tables, with
// several workers. progress, which may be nil, is called with bytes done and in
// total, by one goroutine at a time.
//
// Errors: those of Verify, with the name of the part. Parts without a table do
// not keep those with one from being checked.
func VerifySet(ctx context.Context, parts []wim.Part, workers int, progress func(done, total int64)) error {
	var missing error
	var files []*tableCheck
	total := int64(0)
	for _, p := range parts {
		c, err := NewChecker(p.R, p.Size)
		switch {
		case err == nil:
			t := &tableCheck{part: p, table: c.table, damage: DamageError{Chunks: c.table.chunks}}
			total += t.table.end - format.HeaderSize
			files = append(files, t)
		case errors.Is(err, ErrNoIntegrity):
			missing = p.Wrap(err)
		default:
			return p.Wrap(err)
		}
	}
	if err := verifyTables(ctx, files, workers, total, progress); err != nil {
		return err
	}
	for _, t := range files {
		if t.damage.Damaged > 0 {
			slices.SortFunc(t.damage.Ranges, func(a, b ByteRange) int { return int(min(max(a.Start-b.Start, -1), 1)) })
			return t.part.Wrap(&t.damage)
		}
	}
	return missing
}

// tableCheck is the check of one part against its table.
type tableCheck struct {
	part   wim.Part
	table  *table
	next   int64 // chunk
	damage DamageError
}

// verifyTables checks the chunks of all parts.
func verifyTables(ctx context.Context, files []*tableCheck, workers int, total int64, progress func(done, total int64)) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var mu sync.Mutex
	done := int64(0)
	take := func() (t *tableCheck, start, end int64, want format.Hash, err error) {
		mu.Lock()
		defer mu.Unlock()
		for len(files) > 0 && files[0].next == files[0].table.chunks {
			files = files[1:]
		}
		if len(files) == 0 {
			return nil, 0, 0, want, nil
		}
		t = files[0]
		start, end = t.table.chunk(format.HeaderSize + t.next*t.table.chunkSize)
		t.next++
		want, err = t.table.next()
		return t, start, end, want, err
	}
	work := func() error {
		buf := make([]byte, verifyBuffer)
		sum := sha1.New() //nolint:gosec // see the import
		for {
			t, start, end, want, err := take()
			if t == nil || err != nil {
				return err
			}
			sum.Reset()
			for at := start; at < end; {
				b := buf[:min(int64(len(buf)), end-at)]
				if err := context.Cause(ctx); err != nil {
					return err
				}
				if err := format.ReadFull(t.part.R, b, at, "image data"); err != nil {
					return t.part.Wrap(err)
				}
				sum.Write(b)
				at += int64(len(b))
				mu.Lock()
				if done += int64(len(b)); progress != nil {
					progress(done, total)
				}
				mu.Unlock()
			}
			if format.Hash(sum.Sum(nil)) == want {
				continue
			}
			mu.Lock()
			t.damage.Damaged++
			if len(t.damage.Ranges) < maxDamage {
				t.damage.Ranges = append(t.damage.Ranges, ByteRange{start, end})
			}
			mu.Unlock()
		}
	}
	var wg sync.WaitGroup
	for range max(workers, 1) {
		wg.Go(func() {
			if err := work(); err != nil {
				cancel(err)
			}
		})
	}
	wg.Wait()
	return context.Cause(ctx)
}
