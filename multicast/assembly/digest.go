package assembly

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"
	"sync"
)

// whole follows the SHA-256 of each object over the blocks that are written without
// a gap. The zero value does nothing.
type whole struct {
	mu    sync.Mutex // held by the one goroutine that extends the digests
	sum   hash.Hash  // of the object that next is of; nil unless HashWhole was called
	next  int        // the block that is hashed next
	wrong int        // index of the first object that was not right, plus one
	buf   []byte
}

// HashWhole makes Finish compare the SHA-256 of all bytes of each object with its
// name as well. It is for who has the SHA-256 from elsewhere and wants to rely on
// nothing else: a member that got both from the server learns nothing by it, and
// spends as much time on it as on all else. Call it before the first Put.
func (a *Assembly) HashWhole() {
	a.whole.sum, a.whole.buf = sha256.New(), make([]byte, a.size.BlockSize)
	a.skip()
}

// skip moves on to the next block of an object that is wanted.
func (a *Assembly) skip() {
	w := &a.whole
	for w.next < a.size.Blocks {
		i := a.size.Object(w.next)
		if a.targets[i] != nil {
			return
		}
		w.next = a.size.Objects[i].First + a.size.Objects[i].Blocks
	}
}

// add hashes the next block. The lock is held.
func (a *Assembly) add(data []byte) {
	w := &a.whole
	w.sum.Write(data)
	i := a.size.Object(w.next)
	w.next++
	if w.next < a.size.Objects[i].First+a.size.Objects[i].Blocks {
		return
	}
	if w.wrong == 0 && !bytes.Equal(w.sum.Sum(nil), a.objects[i].Digest[:]) {
		w.wrong = i + 1
	}
	w.sum.Reset()
	a.skip()
}

// hashed takes a block that was written in order, as most blocks come: there is no
// need to read it back.
func (a *Assembly) hashed(b int, data []byte) {
	w := &a.whole
	if w.sum == nil || !w.mu.TryLock() {
		return
	}
	if b == w.next {
		a.add(data)
	}
	w.mu.Unlock()
}

// follow extends the digests over the blocks that are written without a gap, and
// reads those back that came out of order. Only one goroutine does it; others go
// on, and what they wrote is picked up by it.
func (a *Assembly) follow() error {
	w := &a.whole
	for w.sum != nil && w.mu.TryLock() {
		err := a.extend(context.Background())
		next := w.next
		w.mu.Unlock()
		if err != nil {
			return err
		}
		// A block may have been noted between the last look and the unlock.
		if next == a.size.Blocks || !a.Has(next) {
			return nil
		}
	}
	return nil
}

// extend hashes what is written from the next block on. The lock is held.
func (a *Assembly) extend(ctx context.Context) error {
	w := &a.whole
	for w.next < a.size.Blocks && a.Has(w.next) {
		if err := ctx.Err(); err != nil {
			return err
		}
		i, off := a.size.At(w.next)
		data := w.buf[:a.size.Length(w.next)]
		if n, err := a.targets[i].ReadAt(data, off); n < len(data) {
			if err == nil || errors.Is(err, io.EOF) {
				err = io.ErrUnexpectedEOF
			}
			return fmt.Errorf("read back block %d: %w", w.next, err)
		}
		a.add(data)
	}
	return nil
}

// digests finishes the digests and compares them.
func (a *Assembly) digests(ctx context.Context) error {
	w := &a.whole
	if w.sum == nil {
		return nil
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if err := a.extend(ctx); err != nil {
		return err
	}
	if w.wrong > 0 {
		return fmt.Errorf("object %s: %w", a.objects[w.wrong-1].SHA256, ErrDigest)
	}
	return nil
}
