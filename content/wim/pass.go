package wim

import (
	"cmp"
	"context"
	"crypto/sha1" //nolint:gosec // the format prescribes it; it finds damage, not forgery
	"fmt"
	"hash"
	"io"
	"io/fs"
	"slices"
	"sync"

	"castpoint/content/wim/format"
	"castpoint/content/wim/resource"
)

// A pass reads many blobs once, in the order of the file, with several
// workers. Its unit of work is some chunks of one resource; a worker
// decompresses a unit and hashes the blobs that lie in it as a whole. A blob
// that spans units is a chain: whoever completes the unit that comes next in it
// hashes that and those behind it that are ready.
const (
	// passUnit is the least size of a unit, decompressed, unless the resource is
	// smaller: large enough that handing units out costs nothing, small enough to
	// be in the cache when it is hashed.
	passUnit = 1 << 18
	// passMemory bounds the decompressed bytes of all units at work or waiting
	// for those before them in a chain: four of the common solid chunks, and one
	// of the largest that are read.
	passMemory = 256 << 20
)

// BlobWriter takes the content of one blob.
type BlobWriter interface {
	io.Writer
	// Done ends it: with nil when all bytes were written and their SHA-1 is
	// that of the blob, otherwise with the error that made the content useless.
	Done(err error) error
}

// VerifyBlobs decompresses every blob and the metadata of every image, each
// once, and compares the SHA-1. It works in the order of the file with the
// given number of workers, at least one. progress, which may be nil, is called
// with decompressed bytes done and in total, by one goroutine at a time.
//
// It finds damage in files without an integrity table, and says which blob is
// damaged (a *BlobError); Verify is faster. Errors: ErrCorrupt, ErrTruncated, the context's,
// or the reader's own: the first that was met, after all workers have ended.
func (r *Reader) VerifyBlobs(ctx context.Context, workers int, progress func(done, total int64)) error {
	return r.pass(ctx, slices.Concat(r.byHash, r.images), workers, nil, progress)
}

// ReadBlobs reads many blobs, each once whatever the order and number of
// hashes. For each, open, which may be nil, is called and gets the content; both are
// called by several goroutines, those of one blob one after the other. It is the fast way
// to many files: the bytes of a chunk are decompressed once for all of them.
//
// Errors: those of VerifyBlobs, of open and its writers; fs.ErrNotExist for a
// blob that the file does not have.
func (r *Reader) ReadBlobs(ctx context.Context, blobs []Hash, workers int, open func(h Hash) (BlobWriter, error), progress func(done, total int64)) error {
	entries := make([]int32, 0, len(blobs))
	for _, h := range blobs {
		i, ok := r.Find(h)
		if !ok {
			return fmt.Errorf("blob %v: %w", h, fs.ErrNotExist)
		}
		entries = append(entries, i)
	}
	slices.Sort(entries)
	return r.pass(ctx, slices.Compact(entries), workers, open, progress)
}

// BlobError says which blob cannot be read or has another SHA-1 than its own.
type BlobError struct {
	Hash Hash
	Err  error
}

func (e *BlobError) Error() string { return e.Err.Error() }

// Unwrap gives what is wrong with it.
func (e *BlobError) Unwrap() error { return e.Err }

// pass is one pass at work.
type pass struct {
	reader   *Reader
	open     func(h Hash) (BlobWriter, error) // nil when nobody wants the bytes
	cancel   context.CancelCauseFunc
	progress func(done, total int64)

	mu      sync.Mutex
	room    sync.Cond // bytes were given back, or the pass ends
	ended   bool
	bytes   int64              // of units that are out
	entries []int32            // what remains, in the order of the file
	at      *resource.Resource // the resource that the first of entries lies in
	next    int64              // what of it was handed out
	chain   *chain             // of the first of entries, when it was begun
	free    [][]byte
	chains  map[*chain]struct{} // those with an open writer

	count sync.Mutex
	done  int64
	total int64
}

// unit is a range of a resource, and the parts of blobs in it.
type unit struct {
	of         *resource.Resource
	start, end int64
	data       []byte
	pieces     []blobPiece
	waiting    int // pieces in chains, and one for the worker; pass.mu
}

// blobPiece is a part of a blob in a unit, or all of it.
type blobPiece struct {
	hash     Hash
	from, to int64  // in unit.data
	chain    *chain // nil when the blob is all there
	at       int64  // in the blob
	last     bool
	unit     *unit
}

// chain is a blob that spans units.
type chain struct {
	mu     sync.Mutex
	busy   bool // somebody hashes
	next   int64
	ready  []blobPiece
	sum    hash.Hash
	writer BlobWriter
}

func (r *Reader) pass(ctx context.Context, entries []int32, workers int, open func(Hash) (BlobWriter, error), progress func(done, total int64)) error {
	p := &pass{reader: r, open: open, progress: progress, entries: entries, chains: map[*chain]struct{}{}}
	p.room.L = &p.mu
	for _, i := range entries {
		if p.total += r.entrySize(i); p.total > resource.MaxSize {
			return format.Corrupt("%s: the contents are beyond any disk", format.TableBlobs)
		}
	}
	r.sortByPlace(entries)
	ctx, p.cancel = context.WithCancelCause(ctx)
	defer p.cancel(nil)
	// Who waits for room must notice the end.
	stop := context.AfterFunc(ctx, func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.ended = true
		p.room.Broadcast()
	})
	var wg sync.WaitGroup
	for range max(workers, 1) {
		wg.Go(func() {
			if err := p.work(); err != nil {
				p.cancel(err)
			}
		})
	}
	wg.Wait()
	stop()
	err := context.Cause(ctx)
	for c := range p.chains {
		_ = c.writer.Done(fmt.Errorf("not complete: %w", err))
	}
	return err
}

// sortByPlace puts entries in the order of the file.
func (r *Reader) sortByPlace(entries []int32) {
	type place struct {
		part, inside int64
		at           int64
		entry        int32
	}
	places := make([]place, 0, len(entries))
	for _, i := range entries {
		res, _ := r.Entry(i).Resource() // index has checked it
		l := place{part: int64(r.partOf(i).header.Part), at: res.Offset, entry: i}
		if in, ok := r.solidPlace(i); ok {
			l.at, l.inside = r.solids[in.resource].Position().Offset, in.offset
		}
		places = append(places, l)
	}
	slices.SortFunc(places, func(a, b place) int {
		return cmp.Or(cmp.Compare(a.part, b.part), cmp.Compare(a.at, b.at), cmp.Compare(a.inside, b.inside), cmp.Compare(a.entry, b.entry))
	})
	for i, l := range places {
		entries[i] = l.entry
	}
}

// work takes units until there are none.
func (p *pass) work() error {
	var s resource.Scratch
	for {
		u, err := p.take()
		if u == nil || err != nil {
			return err
		}
		if err := u.read(&s); err != nil {
			return &BlobError{u.pieces[0].hash, err}
		}
		for i := range u.pieces {
			b := &u.pieces[i]
			if b.chain != nil {
				err = p.link(b)
			} else {
				err = p.whole(b)
			}
			if err != nil {
				return err
			}
		}
		size := u.end - u.start
		p.giveBack(u)
		p.count.Lock()
		p.done += min(size, p.total-p.done)
		if p.progress != nil {
			p.progress(p.done, p.total)
		}
		p.count.Unlock()
	}
}

// take gives the next unit, nil when there is none.
func (p *pass) take() (*unit, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.ended || len(p.entries) == 0 {
		return nil, nil
	}
	of, start, group, err := p.position()
	if err != nil {
		return nil, err
	}
	end := min(start+group, of.Size())
	for p.bytes > 0 && p.bytes+end-start > passMemory {
		p.room.Wait()
		if p.ended || len(p.entries) == 0 {
			return nil, nil
		}
		// Another worker may have taken it.
		if of, start, group, err = p.position(); err != nil {
			return nil, err
		}
		end = min(start+group, of.Size())
	}
	u := &unit{of: of, start: start, end: end, waiting: 1}
	p.pieces(u)
	p.bytes += end - start
	if k := len(p.free); k > 0 {
		u.data, p.free = p.free[k-1], p.free[:k-1]
	}
	return u, nil
}

// position finds where the next unit begins and how long it is at most. mu is
// held.
func (p *pass) position() (of *resource.Resource, start, group int64, err error) {
	i := p.entries[0]
	in, solid := p.reader.solidPlace(i)
	switch {
	case p.at != nil && p.chain != nil:
	case solid:
		if s := p.reader.solids[in.resource]; s != p.at {
			p.at, p.next = s, 0
		}
	default:
		b, err := p.reader.blobAt(i, "blob "+Hash(p.reader.Entry(i).Hash()).String())
		if err != nil {
			return nil, 0, 0, err
		}
		p.at, p.next = b.Resource(), 0
	}
	chunk := p.at.ChunkSize()
	group = (passUnit + chunk - 1) / chunk * chunk
	// What nobody wants is left out. A unit that was handed out already is not
	// needed again: its blobs were taken with it.
	start = max(p.next, in.offset/group*group)
	return p.at, start, group, nil
}

// pieces takes the entries that lie in u. mu is held.
func (p *pass) pieces(u *unit) {
	p.next = u.end
	for len(p.entries) > 0 {
		i := p.entries[0]
		in, solid := p.reader.solidPlace(i)
		if len(u.pieces) > 0 && (!solid || p.reader.solids[in.resource] != u.of || in.offset >= u.end && in.offset > u.start) {
			return
		}
		size := p.reader.entrySize(i)
		b := blobPiece{hash: Hash(p.reader.Entry(i).Hash()), chain: p.chain, unit: u}
		from := max(in.offset, u.start)
		to := min(in.offset+size, u.end)
		b.from, b.to, b.at = from-u.start, to-u.start, from-in.offset
		b.last = to == in.offset+size
		if !b.last && b.chain == nil {
			p.chain = &chain{sum: sha1.New()} //nolint:gosec // see the import
			b.chain = p.chain
		}
		if b.chain != nil {
			u.waiting++
		}
		u.pieces = append(u.pieces, b)
		if !b.last {
			return
		}
		p.chain = nil
		p.entries = p.entries[1:]
		if !solid {
			return
		}
	}
}

// read decompresses a unit.
func (u *unit) read(s *resource.Scratch) error {
	size := u.end - u.start
	if int64(cap(u.data)) < size {
		u.data = make([]byte, size)
	}
	u.data = u.data[:size]
	if size == 0 {
		return nil
	}
	return u.of.ReadRange(u.data, u.start, s)
}

// giveBack says that a worker or a chain does not need a unit any more.
func (p *pass) giveBack(u *unit) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if u.waiting--; u.waiting > 0 {
		return
	}
	p.bytes -= u.end - u.start
	if cap(u.data) <= 2*passUnit || len(p.free) == 0 {
		p.free = append(p.free, u.data)
	}
	u.data = nil
	p.room.Broadcast()
}

// whole checks a blob that is all there and hands it over.
func (p *pass) whole(b *blobPiece) error {
	data := b.unit.data[b.from:b.to]
	if err := b.check(sha1.Sum(data)); err != nil { //nolint:gosec // see the import
		return err
	}
	if p.open == nil {
		return nil
	}
	w, err := p.open(b.hash)
	if err != nil {
		return err
	}
	_, err = w.Write(data)
	return w.Done(err)
}

// check compares the SHA-1 that the content has.
func (b *blobPiece) check(have Hash) error {
	if have == b.hash {
		return nil
	}
	return &BlobError{b.hash, format.CheckHash("blob "+b.hash.String(), have, b.hash)}
}

// link puts a piece into its chain and works off what is ready there.
func (p *pass) link(b *blobPiece) error {
	c := b.chain
	c.mu.Lock()
	defer c.mu.Unlock()
	c.ready = append(c.ready, *b)
	if c.busy {
		return nil
	}
	c.busy = true
	defer func() { c.busy = false }()
	for {
		k := slices.IndexFunc(c.ready, func(b blobPiece) bool { return b.at == c.next })
		if k < 0 {
			return nil
		}
		b := c.ready[k]
		c.ready = slices.Delete(c.ready, k, k+1)
		c.mu.Unlock()
		err := p.follow(c, &b)
		p.giveBack(b.unit)
		c.mu.Lock()
		if err != nil {
			return err
		}
		c.next += b.to - b.from
	}
}

// follow hashes the next piece of a chain and hands it over.
func (p *pass) follow(c *chain, b *blobPiece) error {
	data := b.unit.data[b.from:b.to]
	c.sum.Write(data)
	if p.open != nil && b.at == 0 {
		w, err := p.open(b.hash)
		if err != nil {
			return err
		}
		p.mu.Lock()
		c.writer = w
		p.chains[c] = struct{}{}
		p.mu.Unlock()
	}
	if c.writer != nil {
		if _, err := c.writer.Write(data); err != nil {
			return err
		}
	}
	if !b.last {
		return nil
	}
	err := b.check(Hash(c.sum.Sum(nil)))
	if c.writer == nil {
		return err
	}
	p.mu.Lock()
	delete(p.chains, c)
	p.mu.Unlock()
	return c.writer.Done(err)
}
