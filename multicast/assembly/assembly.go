package assembly

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"sync"

	"github.com/zeebo/blake3"

	"castpoint/multicast/block"
)

// Target is where one object is put together: a file or a disk.
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

// Range is a run of blocks, all of one object.
type Range struct{ First, Count int }

// Assembly puts the objects that a member wants together from blocks that come in any
// order. It writes a block only after its hash is right. The hashes came from the server
// together with the objects' names, and the server computed both in one reading of
// each file, so blocks that are right are the objects. All methods may be called
// concurrently.
type Assembly struct {
	objects []block.Object
	targets []Target // by object; nil for one that is not wanted
	size    block.Layout
	// stream is the target when it takes blocks in order only, like Stream, and
	// streamed its object.
	stream   windowed
	streamed int

	blocks int   // of the objects that are wanted
	bytes  int64 // of these

	mu      sync.Mutex
	onDisk  block.Set     // with the blocks that are not wanted
	written int64         // bytes
	doneAt  chan struct{} // closed when complete

	whole whole
}

// New starts with an empty set of blocks; Scan finds those that the
// targets already hold. objects are all those of the session, in order, and targets
// where they go: nil for an object that is not wanted, which needs no hashes.
func New(objects []block.Object, targets []Target) (*Assembly, error) {
	l, err := block.NewLayout(objects)
	if err != nil {
		return nil, fmt.Errorf("assemble: %w", err)
	}
	if len(targets) != len(objects) {
		return nil, fmt.Errorf("assemble %d objects into %d targets", len(objects), len(targets))
	}
	a := &Assembly{objects: objects, targets: targets, size: l, onDisk: block.NewSet(l.Blocks), doneAt: make(chan struct{})}
	wanted := 0
	for i, e := range l.Objects {
		if targets[i] == nil {
			for b := range e.Blocks {
				a.onDisk.Add(e.First + b)
			}
			continue
		}
		wanted++
		a.blocks += e.Blocks
		a.bytes += e.Size
		if len(objects[i].Hashes) != e.Blocks*block.HashSize {
			return nil, fmt.Errorf("assemble object %s: it came without hashes of its blocks", objects[i].SHA256)
		}
		if w, ok := targets[i].(windowed); ok {
			a.stream, a.streamed = w, i
		}
	}
	if a.stream != nil && wanted > 1 {
		return nil, fmt.Errorf("assemble %d objects: a stream takes one", wanted)
	}
	if a.onDisk.Len() == l.Blocks {
		close(a.doneAt)
	}
	return a, nil
}

// Adopt takes over what another assembly has written into the same targets, for
// another session with the same objects or some of them.
func (a *Assembly) Adopt(old *Assembly) {
	from := make(map[[32]byte]block.Extent)
	for i, e := range old.size.Objects {
		if old.targets[i] != nil {
			from[old.objects[i].Digest] = e
		}
	}
	for i, e := range a.size.Objects {
		was, ok := from[a.objects[i].Digest]
		if !ok || a.targets[i] == nil || was.Blocks != e.Blocks {
			continue
		}
		for b := range e.Blocks {
			if old.Has(was.First + b) {
				a.note(e.First + b)
			}
		}
	}
}

// Blocks is the number of blocks that are wanted.
func (a *Assembly) Blocks() int { return a.blocks }

// Size is the number of bytes that are wanted.
func (a *Assembly) Size() int64 { return a.bytes }

// Length is the number of bytes in block b.
func (a *Assembly) Length(b int) int { return a.size.Length(b) }

// Place is the object that block b is of, by its index, and where it begins in it.
func (a *Assembly) Place(b int) (object int, offset int64) { return a.size.At(b) }

// Have is the number of blocks that are verified and written.
func (a *Assembly) Have() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.blocks - (a.size.Blocks - a.onDisk.Len())
}

// Bytes is the number of bytes that are verified and written.
func (a *Assembly) Bytes() int64 {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.written
}

// Complete reports whether every block is written.
func (a *Assembly) Complete() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.onDisk.Len() == a.size.Blocks
}

// Done is closed when every block is written.
func (a *Assembly) Done() <-chan struct{} { return a.doneAt }

// Tag is the short name of the objects in datagrams.
func (a *Assembly) Tag() uint32 { return a.size.Tag }

// Gaps calls f for each run of blocks that are not written, in order and up to Limit,
// until f returns false; f must not use the assembly. It returns how many blocks are
// written or not wanted, and Limit.
func (a *Assembly) Gaps(f func(from, to int) bool) (complete, limit int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	n := a.Limit()
	for from := a.onDisk.NextMissing(0, n); from < n; {
		to := a.onDisk.NextPresent(from, n)
		if !f(from, to) {
			break
		}
		from = a.onDisk.NextMissing(to, n)
	}
	return a.onDisk.Len(), n
}

// Missing lists the blocks that are not written yet.
func (a *Assembly) Missing() []Range {
	a.mu.Lock()
	defer a.mu.Unlock()
	var out []Range
	n := a.size.Blocks
	for at := a.onDisk.NextMissing(0, n); at < n; {
		e := &a.size.Objects[a.size.Object(at)]
		end := min(a.onDisk.NextPresent(at, n), e.First+e.Blocks)
		out = append(out, Range{First: at, Count: end - at})
		at = a.onDisk.NextMissing(end, n)
	}
	return out
}

// Put checks block b and writes it. Putting a block again does nothing. Errors:
// ErrBlock, and those of the target.
func (a *Assembly) Put(b int, data []byte) error {
	if b < 0 || b >= a.size.Blocks || len(data) != a.size.Length(b) {
		return fmt.Errorf("block %d of %d bytes: %w", b, len(data), ErrBlock)
	}
	if a.Has(b) {
		return nil
	}
	if !a.right(b, data) {
		return fmt.Errorf("block %d: %w", b, ErrBlock)
	}
	i, off := a.size.At(b)
	if _, err := a.targets[i].WriteAt(data, off); err != nil {
		return fmt.Errorf("write block %d: %w", b, err)
	}
	a.hashed(b, data)
	a.note(b)
	return a.follow()
}

// Has reports whether block b is written, or not wanted.
func (a *Assembly) Has(b int) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.onDisk.Has(b)
}

func (a *Assembly) right(b int, data []byte) bool {
	i := a.size.Object(b)
	at := (b - a.size.Objects[i].First) * block.HashSize
	h := blake3.Sum256(data)
	return bytes.Equal(h[:], a.objects[i].Hashes[at:at+block.HashSize])
}

func (a *Assembly) note(b int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if !a.onDisk.Add(b) {
		return
	}
	a.written += int64(a.size.Length(b))
	if a.onDisk.Len() == a.size.Blocks {
		close(a.doneAt)
	}
}

// Scan looks which blocks the targets already hold, and trusts none it has not
// hashed. progress may be nil.
func (a *Assembly) Scan(ctx context.Context, progress func(done, total int)) error {
	data := make([]byte, a.size.BlockSize)
	seen := 0
	for i, e := range a.size.Objects {
		if a.targets[i] == nil {
			continue
		}
		for b := e.First; b < e.First+e.Blocks; b++ {
			if err := ctx.Err(); err != nil {
				return err
			}
			buf := data[:a.size.Length(b)]
			n, err := a.targets[i].ReadAt(buf, int64(b-e.First)*int64(a.size.BlockSize))
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
				progress(seen+b-e.First+1, a.blocks)
			}
		}
		seen += e.Blocks
	}
	return a.follow()
}

// Finish makes the objects durable, after HashWhole once their digests are
// right. Errors: ErrIncomplete, ErrDigest, and those of the targets.
func (a *Assembly) Finish(ctx context.Context) error {
	if !a.Complete() {
		return fmt.Errorf("%w: %d of %d blocks", ErrIncomplete, a.Have(), a.blocks)
	}
	if err := a.digests(ctx); err != nil {
		return err
	}
	for _, t := range a.targets {
		if t == nil {
			continue
		}
		if err := t.Sync(); err != nil {
			return fmt.Errorf("sync: %w", err)
		}
	}
	return nil
}
