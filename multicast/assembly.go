package multicast

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"
	"sync"

	"github.com/zeebo/blake3"
)

// Target is where an object is put together: a file or a disk.
type Target interface {
	io.ReaderAt
	io.WriterAt
	Sync() error
}

// Errors of an Assembly.
var (
	// ErrBlock is returned by Put for bytes that are not the block's.
	ErrBlock = errors.New("block does not have the hash the manifest says")
	// ErrDigest is returned by Finish after HashWhole when all blocks are right but
	// the whole is not: the manifest and the object's digest contradict each other.
	ErrDigest = errors.New("object does not have the SHA-256 it is named by")
	// ErrIncomplete is returned by Finish while blocks are missing.
	ErrIncomplete = errors.New("object is not complete")
)

// Range is a run of blocks.
type Range struct{ First, Count int }

// Assembly puts an object together from blocks that come in any order. It
// writes a block only after its hash is right. The hashes came from the server
// together with the object's name, and the server computed both in one reading of
// the file, so blocks that are right are the object. All methods may be called
// concurrently.
type Assembly struct {
	obj    Object
	target Target
	// windowed is the target when it takes blocks in order only, like Stream.
	windowed windowed
	size     layout

	mu     sync.Mutex
	onDisk bitmap
	doneAt chan struct{} // closed when complete

	prefix sync.Mutex // held by the one goroutine that extends the digest
	sum    hash.Hash  // of the written prefix; nil unless HashWhole was called
	summed int        // blocks in sum; guarded by prefix
	buf    []byte
}

// NewAssembly starts with an empty set of blocks; Scan finds those that the
// target already holds.
func NewAssembly(obj Object, target Target) (*Assembly, error) {
	l, err := newLayout(&obj)
	if err != nil {
		return nil, fmt.Errorf("assemble object: %w", err)
	}
	a := &Assembly{
		obj: obj, target: target, size: l,
		onDisk: newBitmap(l.blocks), doneAt: make(chan struct{}),
	}
	a.windowed, _ = target.(windowed)
	return a, nil
}

// HashWhole makes Finish compare the SHA-256 of all bytes with the object's name
// as well. It is for who has the SHA-256 from elsewhere and wants to rely on
// nothing else: a member that got both from the server learns nothing by it, and
// spends as much time on it as on all else. Call it before the first Put.
func (a *Assembly) HashWhole() {
	a.sum, a.buf = sha256.New(), make([]byte, a.size.blockSize)
}

// Blocks is the number of blocks of the object.
func (a *Assembly) Blocks() int { return a.size.blocks }

// Length is the number of bytes in block b.
func (a *Assembly) Length(b int) int { return a.size.length(b) }

// Have is the number of blocks that are verified and written.
func (a *Assembly) Have() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.onDisk.n
}

// Complete reports whether every block is written.
func (a *Assembly) Complete() bool { return a.Have() == a.size.blocks }

// Done is closed when every block is written.
func (a *Assembly) Done() <-chan struct{} { return a.doneAt }

// Missing lists the blocks that are not written yet.
func (a *Assembly) Missing() []Range {
	a.mu.Lock()
	defer a.mu.Unlock()
	var out []Range
	n := a.size.blocks
	for at := a.onDisk.nextMissing(0, n); at < n; {
		end := a.onDisk.nextPresent(at, n)
		out = append(out, Range{First: at, Count: end - at})
		at = a.onDisk.nextMissing(end, n)
	}
	return out
}

// Put checks block b and writes it. Putting a block again does nothing. Errors:
// ErrBlock, and those of the target.
func (a *Assembly) Put(b int, data []byte) error {
	if b < 0 || b >= a.size.blocks || len(data) != a.size.length(b) {
		return fmt.Errorf("block %d of %d bytes: %w", b, len(data), ErrBlock)
	}
	a.mu.Lock()
	had := a.onDisk.has(b)
	a.mu.Unlock()
	if had {
		return nil
	}
	if !a.right(b, data) {
		return fmt.Errorf("block %d: %w", b, ErrBlock)
	}
	if _, err := a.target.WriteAt(data, int64(b)*int64(a.size.blockSize)); err != nil {
		return fmt.Errorf("write block %d: %w", b, err)
	}
	if a.sum == nil {
		a.note(b)
		return nil
	}
	if a.prefix.TryLock() {
		if b == a.summed {
			// In order, as most blocks come: no need to read it back.
			a.sum.Write(data)
			a.summed++
		}
		a.prefix.Unlock()
	}
	a.note(b)
	return a.follow()
}

func (a *Assembly) right(b int, data []byte) bool {
	h := blake3.Sum256(data)
	return bytes.Equal(h[:], a.obj.Hashes[b*HashSize:(b+1)*HashSize])
}

func (a *Assembly) note(b int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.onDisk.add(b) && a.onDisk.n == a.size.blocks {
		close(a.doneAt)
	}
}

// follow extends the digest over the blocks that are written without a gap, and
// reads those back that came out of order. Only one goroutine does it; others go
// on, and what they wrote is picked up by it.
func (a *Assembly) follow() error {
	for a.sum != nil && a.prefix.TryLock() {
		err := a.extend(context.Background(), nil)
		next := a.summed
		a.prefix.Unlock()
		if err != nil {
			return err
		}
		// A block may have been noted between the last look and the unlock.
		a.mu.Lock()
		again := next < a.size.blocks && a.onDisk.has(next)
		a.mu.Unlock()
		if !again {
			return nil
		}
	}
	return nil
}

func (a *Assembly) extend(ctx context.Context, progress func(done, total int)) error {
	for a.summed < a.size.blocks {
		a.mu.Lock()
		ok := a.onDisk.has(a.summed)
		a.mu.Unlock()
		if !ok {
			return nil
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		data := a.buf[:a.size.length(a.summed)]
		if _, err := a.target.ReadAt(data, int64(a.summed)*int64(a.size.blockSize)); err != nil && !errors.Is(err, io.EOF) {
			return fmt.Errorf("read back block %d: %w", a.summed, err)
		}
		a.sum.Write(data)
		a.summed++
		if progress != nil {
			progress(a.summed, a.size.blocks)
		}
	}
	return nil
}

// Scan looks which blocks the target already holds, and trusts none it has not
// hashed. progress may be nil.
func (a *Assembly) Scan(ctx context.Context, progress func(done, total int)) error {
	data := make([]byte, a.size.blockSize)
	for b := range a.size.blocks {
		if err := ctx.Err(); err != nil {
			return err
		}
		buf := data[:a.size.length(b)]
		n, err := a.target.ReadAt(buf, int64(b)*int64(a.size.blockSize))
		if n < len(buf) {
			if err == nil || errors.Is(err, io.EOF) {
				break // the target ends here
			}
			return fmt.Errorf("read block %d: %w", b, err)
		}
		if a.right(b, buf) {
			a.note(b)
		}
		if progress != nil {
			progress(b+1, a.size.blocks)
		}
	}
	return a.follow()
}

// whole finishes the digest of the whole and compares it.
func (a *Assembly) whole(ctx context.Context) error {
	if a.sum == nil {
		return nil
	}
	a.prefix.Lock()
	defer a.prefix.Unlock()
	if err := a.extend(ctx, nil); err != nil {
		return err
	}
	if !bytes.Equal(a.sum.Sum(nil), a.obj.Digest[:]) {
		return ErrDigest
	}
	return nil
}

// Finish makes the object durable, after HashWhole once the digest of the whole is
// right. Errors: ErrIncomplete, ErrDigest, and those of the target.
func (a *Assembly) Finish(ctx context.Context) error {
	if !a.Complete() {
		return fmt.Errorf("%w: %d of %d blocks", ErrIncomplete, a.Have(), a.size.blocks)
	}
	if err := a.whole(ctx); err != nil {
		return err
	}
	if err := a.target.Sync(); err != nil {
		return fmt.Errorf("sync: %w", err)
	}
	return nil
}
