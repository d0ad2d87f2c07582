package library

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
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

// errSourceSize says that a source gave more or fewer bytes than it should.
var errSourceSize = errors.New("source changed size while it was read")

// sourceError is an error of reading, which says nothing against what has been
// read before.
type sourceError struct{ err error }

func (e *sourceError) Error() string { return e.err.Error() }
func (e *sourceError) Unwrap() error { return e.err }

// pass is how an object is read once.
type pass struct {
	// advance is called after each buffer with its length; an error from it ends
	// the reading.
	advance func(int64) error
	// written, when not nil, is called with the hashes of each buffer's blocks
	// after these were written.
	written func(hashes []byte) error
	// begin, when not nil, is called first in each goroutine that works.
	begin func()
}

// digestReader reads exactly size bytes from r, writes them to every one of
// dst, and returns their digest and block hashes.
//
// One goroutine reads ahead, one computes the SHA-256, the slowest part, this
// one computes the block hashes and writes to the first of dst, and each other of
// dst has one of its own. All have ended when digestReader returns.
func digestReader(ctx context.Context, r io.Reader, size int64, p pass, dst ...io.Writer) (*content.Manifest, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var working sync.WaitGroup
	start := func(f func()) {
		working.Go(func() {
			if p.begin != nil {
				p.begin()
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
			if err := p.advance(n); err != nil {
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
				send(buffer{err: fmt.Errorf("%w: it is longer than %d bytes", errSourceSize, size)})
			} else if err != nil && !errors.Is(err, io.EOF) {
				send(buffer{err: &sourceError{err}})
			}
			return
		}
		b = b[:min(int64(len(b)), left)]
		if _, err := io.ReadFull(r, b); err != nil {
			if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
				err = fmt.Errorf("%w: it ended %d bytes early", errSourceSize, left)
			} else {
				err = &sourceError{err}
			}
			send(buffer{err: err})
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

// sparseWriter writes a file that is all zeros so far, and leaves out zeros.
type sparseWriter struct {
	file *os.File
	at   int64
}

// sparsePiece is the unit in which zeros are left out, in bytes: a whole number
// of pages and of blocks of any file system.
const sparsePiece = 64 << 10

func (w *sparseWriter) Write(b []byte) (int, error) {
	for n := 0; n < len(b); {
		// Pieces begin at multiples of their size in the file.
		piece := b[n:min(len(b), n+int(sparsePiece-w.at%sparsePiece))]
		if len(bytes.TrimLeft(piece, "\x00")) > 0 {
			if _, err := w.file.WriteAt(piece, w.at); err != nil {
				return n, err
			}
		}
		n += len(piece)
		w.at += int64(len(piece))
	}
	return len(b), nil
}

// earlyWriter writes a file and has what was written go to the disk soon, while
// more is being read and hashed, and not all at once at the end.
type earlyWriter struct {
	file     *os.File
	at, sent int64
}

// earlyPiece is how much goes at a time, in bytes.
const earlyPiece = 32 << 20

func (w *earlyWriter) Write(b []byte) (int, error) {
	n, err := w.file.WriteAt(b, w.at)
	w.at += int64(n)
	if w.at-w.sent >= earlyPiece {
		startWriting(w.file, w.sent, w.at-w.sent)
		w.sent = w.at
	}
	return n, err
}
