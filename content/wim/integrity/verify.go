// Package integrity checks WIM files against their integrity table, which holds a
// SHA-1 for each chunk of the file from the end of the header to the end of the
// blob table: a file or all parts of a split one (Verify, VerifySet), or one that
// passes by (Checker). And it says what table a file needs that is made of a
// stored one (Stored). The table finds damage, not forgery.
package integrity

import (
	"context"
	"io"

	"castpoint/content/wim/format"
)

// Verify hashes the file against its integrity table. progress, which may be
// nil, is called from this goroutine with bytes done and in total.
//
// Errors: those of Describe; ErrNoIntegrity when there is no table and so
// nothing was checked; ErrCorrupt (a *DamageError) when chunks do not match.
func Verify(ctx context.Context, r io.ReaderAt, size int64, progress func(done, total int64)) error {
	c, err := NewChecker(r, size)
	if err != nil {
		return err
	}
	if progress == nil {
		progress = func(int64, int64) {}
	}
	buf := make([]byte, verifyBuffer)
	progress(0, c.table.end)
	for c.offset < c.table.end {
		if err := ctx.Err(); err != nil {
			return err
		}
		b := buf[:min(int64(len(buf)), c.table.end-c.offset)]
		if err := format.ReadFull(r, b, c.offset, "image data"); err != nil {
			return err
		}
		if _, err := c.Write(b); err != nil {
			return err
		}
		progress(c.offset, c.table.end)
	}
	return c.Close()
}
