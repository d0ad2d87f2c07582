package object

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"

	"castpoint/content"

	"github.com/zeebo/blake3"
)

// copyBuffer is the unit of reading and writing while an object is hashed: a
// whole number of blocks, large enough that handing it from goroutine to
// goroutine costs nothing.
const copyBuffer = 8 * content.BlockSize

// readAhead is how many of them there are: what one stage may be ahead of
// another, so that all have something to do while the disk takes its time.
const readAhead = 8

// ErrSource is in the errors that came of reading what was to be hashed or stored.
var ErrSource = errors.New("source cannot be used")

// errSourceSize says that a source gave more or fewer bytes than it should.
var errSourceSize = errors.New("source changed size while it was read")

// sourceError is an ErrSource with a text of its own.
type sourceError struct {
	err  error
	read bool // reading failed, which says nothing against what has been read before
}

func (e *sourceError) Error() string        { return e.err.Error() }
func (e *sourceError) Unwrap() error        { return e.err }
func (e *sourceError) Is(target error) bool { return target == ErrSource }

// Pass is how bytes are read once.
type Pass struct {
	// Advance is called after each buffer with its length; an error from it ends
	// the reading.
	Advance func(int64) error
	// Begin, when not nil, is called first in each goroutine that works.
	Begin func()
	// written, when not nil, is called with the hashes of each buffer's blocks
	// after these were written.
	written func(hashes []byte) error
}

// Hash reads exactly size bytes from r, writes them to every one of dst, and returns
// their digest and block hashes. The end of ctx comes before the error that it caused.
//
// Errors: ErrSource; those of dst, with ErrNoSpace for a full disk.
func Hash(ctx context.Context, r io.Reader, size int64, p Pass, dst ...io.Writer) (*content.Manifest, error) {
	m, err := hash(ctx, r, size, p, dst...)
	if err != nil {
		return nil, readError(ctx, err)
	}
	return m, nil
}

// readError prefers the reason why ctx ended to the error it caused.
func readError(ctx context.Context, err error) error {
	if cause := context.Cause(ctx); cause != nil {
		return cause
	}
	return spaceError(err)
}

// hash is Hash with the errors as they are.
//
// One goroutine reads ahead, one computes the SHA-256, the slowest part, this
// one computes the block hashes and writes to the first of dst, and each other of
// dst has one of its own. All have ended when hash returns.
func hash(ctx context.Context, r io.Reader, size int64, p Pass, dst ...io.Writer) (*content.Manifest, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var working sync.WaitGroup
	start := func(f func()) {
		working.Go(func() {
			if p.Begin != nil {
				p.Begin()
			}
			f()
		})
	}
	read, free := make(chan buffer), make(chan []byte, readAhead)
	for range readAhead {
		free <- make([]byte, min(copyBuffer, size+1))
	}
	start(func() { readBuffers(ctx, r, size, free, read) })

	sum := sha256.New()
	beside := []io.Writer{sum}
	if len(dst) > 1 {
		beside, dst = append(beside, dst[1:]...), dst[:1]
	}
	var stages []chan *shared
	for _, w := range beside {
		stage := make(chan *shared, readAhead) // never full: there are no more buffers
		stages = append(stages, stage)
		start(func() {
			for b := range stage {
				if _, err := w.Write(b.bytes); err != nil {
					cancel(err)
				}
				b.release(free)
			}
		})
	}
	m := &content.Manifest{Size: size, BlockSize: content.BlockSize}
	m.Hashes = make([]byte, 0, content.BlockCount(size)*content.HashSize)
	err := func() error {
		for b := range read {
			if b.err != nil {
				return b.err
			}
			share := &shared{bytes: b.bytes}
			share.users.Store(int32(len(stages)) + 1)
			for _, stage := range stages {
				stage <- share
			}
			n := int64(len(b.bytes))
			err := hashAndWrite(m, b.bytes, p.written, dst)
			share.release(free)
			if err != nil {
				return err
			}
			if err := p.Advance(n); err != nil {
				return err
			}
		}
		return nil
	}()
	if err != nil {
		cancel(err)
	}
	for _, stage := range stages {
		close(stage)
	}
	working.Wait()
	if err := context.Cause(ctx); err != nil {
		return nil, err
	}
	sum.Sum(m.Digest[:0])
	return m, nil
}

// shared is a buffer that several goroutines read.
type shared struct {
	bytes []byte
	users atomic.Int32
}

// release gives the buffer back when nobody reads it any more.
func (b *shared) release(free chan<- []byte) {
	if b.users.Add(-1) == 0 {
		free <- b.bytes[:cap(b.bytes)]
	}
}

// buffer is what was read, or why nothing was.
type buffer struct {
	bytes []byte
	err   error
}

// readBuffers reads exactly size bytes from r into the buffers of free and hands
// them out; out is closed at the end.
func readBuffers(ctx context.Context, r io.Reader, size int64, free <-chan []byte, out chan<- buffer) {
	defer close(out)
	send := func(b buffer) bool {
		select {
		case out <- b:
			return b.err == nil
		case <-ctx.Done():
			return false
		}
	}
	for left := size; ; {
		var b []byte
		select {
		case b = <-free:
		case <-ctx.Done():
			return
		}
		if left == 0 {
			if n, err := r.Read(b[:1]); n > 0 {
				send(buffer{err: &sourceError{err: fmt.Errorf("%w: it is longer than %d bytes", errSourceSize, size)}})
			} else if err != nil && !errors.Is(err, io.EOF) {
				send(buffer{err: &sourceError{err: err, read: true}})
			}
			return
		}
		b = b[:min(int64(len(b)), left)]
		if _, err := io.ReadFull(r, b); err != nil {
			if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
				send(buffer{err: &sourceError{err: fmt.Errorf("%w: it ended %d bytes early", errSourceSize, left)}})
			} else {
				send(buffer{err: &sourceError{err: err, read: true}})
			}
			return
		}
		left -= int64(len(b))
		if !send(buffer{bytes: b}) {
			return
		}
	}
}

// hashAndWrite appends the hashes of the blocks in b to m and writes b. All
// calls but the last have whole blocks.
func hashAndWrite(m *content.Manifest, b []byte, written func(hashes []byte) error, dst []io.Writer) error {
	before := len(m.Hashes)
	for rest := b; len(rest) > 0; {
		n := min(len(rest), content.BlockSize)
		h := blake3.Sum256(rest[:n])
		m.Hashes = append(m.Hashes, h[:]...)
		rest = rest[n:]
	}
	for _, w := range dst {
		if _, err := w.Write(b); err != nil {
			return err
		}
	}
	if written == nil {
		return nil
	}
	return written(m.Hashes[before:])
}
