package assembly

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"

	"castpoint/multicast/block"
)

// Stream is a Target that keeps nothing: it hands the object in order to a
// writer, a program's standard input. Blocks that come early wait in a window of
// bounded memory. A member does not ask for blocks beyond the window, and lets
// those pass that come all the same; when the window has moved on, it lacks them
// like any others.
//
// A writer that is slow holds the window back. What waits for it is reported as
// backlog, as for a slow disk.
type Stream struct {
	size   block.Layout
	window int // blocks

	mu    sync.Mutex
	moved sync.Cond      // next has changed, or err
	early map[int][]byte // verified blocks from next on
	next  int            // the block that the writer takes now
	err   error          // of the writer, or of the end of Run's context
	free  [][]byte       // buffers
}

// NewStream makes a window of about memory bytes, at least 8 blocks.
func NewStream(obj *block.Object, memory int64) (*Stream, error) {
	l, err := block.NewLayout([]block.Object{*obj})
	if err != nil {
		return nil, fmt.Errorf("stream object: %w", err)
	}
	s := &Stream{size: l, early: map[int][]byte{}}
	s.window = int(min(max(memory/int64(l.BlockSize), 8), int64(l.Blocks)))
	s.moved.L = &s.mu
	return s, nil
}

// Run writes the object to w; it returns when all of it is written, with the
// error of w, or when ctx ends. A write that blocks must be ended by the caller.
func (s *Stream) Run(ctx context.Context, w io.Writer) error {
	defer context.AfterFunc(ctx, func() { s.fail(context.Cause(ctx)) })()
	for b := range s.size.Blocks {
		data, err := s.await(b)
		if err != nil {
			return err
		}
		if _, err := w.Write(data); err != nil {
			err = fmt.Errorf("write block %d: %w", b, err)
			s.fail(err)
			return err
		}
		s.taken(b, data)
	}
	return nil
}

// await is block b when it is there.
func (s *Stream) await(b int) ([]byte, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for s.early[b] == nil && s.err == nil {
		s.moved.Wait()
	}
	return s.early[b], s.err
}

// taken moves the window on.
func (s *Stream) taken(b int, data []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.early, b)
	s.free = append(s.free, data[:0])
	s.next = b + 1
	s.moved.Broadcast()
}

func (s *Stream) fail(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err == nil {
		s.err = err
	}
	s.moved.Broadcast()
}

// WriteAt takes one block. It waits while the block is beyond the window, which
// only blocks that were fetched in order are.
func (s *Stream) WriteAt(data []byte, off int64) (int, error) {
	b := int(off / int64(s.size.BlockSize))
	s.mu.Lock()
	defer s.mu.Unlock()
	for b >= s.next+s.window && s.err == nil {
		s.moved.Wait()
	}
	if s.err != nil {
		return 0, s.err
	}
	if b < s.next || s.early[b] != nil {
		return len(data), nil
	}
	var buf []byte
	if n := len(s.free); n > 0 {
		buf, s.free = s.free[n-1], s.free[:n-1]
	}
	s.early[b] = append(slices.Grow(buf, s.size.BlockSize), data...)
	if b == s.next {
		s.moved.Broadcast()
	}
	return len(data), nil
}

// ReadAt is for targets that keep what was written.
func (s *Stream) ReadAt([]byte, int64) (int, error) { return 0, errors.ErrUnsupported }

// Sync waits until the writer has taken everything.
func (s *Stream) Sync() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for s.next < s.size.Blocks && s.err == nil {
		s.moved.Wait()
	}
	return s.err
}

// limit is the first block beyond the window.
func (s *Stream) limit() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return min(s.next+s.window, s.size.Blocks)
}

// waiting is how many bytes the writer could take at once.
func (s *Stream) waiting() int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := 0
	for s.early[s.next+n] != nil {
		n++
	}
	return int64(n) * int64(s.size.BlockSize)
}

// windowed is a target that takes blocks only up to a limit, which grows.
type windowed interface {
	limit() int
	waiting() int64
}

// Limit is the first block that the target does not take yet.
func (a *Assembly) Limit() int {
	if a.stream == nil {
		return a.size.Blocks
	}
	e, n := &a.size.Objects[a.streamed], a.stream.limit()
	if n == e.Blocks {
		return a.size.Blocks
	}
	return e.First + n
}

// Waiting is how many bytes are verified and wait for the target, beside what
// the receiver counts itself.
func (a *Assembly) Waiting() int64 {
	if a.stream == nil {
		return 0
	}
	return a.stream.waiting()
}
