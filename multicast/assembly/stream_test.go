package assembly

import (
	"context"
	"errors"
	"io"
	"testing"

	"castpoint/multicast/block"
	"castpoint/test/objects"
)

// brokenPipe is a program that ends at its third block.
type brokenPipe struct{ n int }

func (p *brokenPipe) Write(b []byte) (int, error) {
	if p.n++; p.n == 3 {
		return 0, io.ErrClosedPipe
	}
	return len(b), nil
}

// The end of the program, and of the context, end everything that waits.
func TestStreamEnds(t *testing.T) {
	obj, data := objects.New(20*objects.BlockSize, 3)
	t.Run("program", func(t *testing.T) {
		s, err := NewStream(&obj, 0)
		if err != nil {
			t.Fatal(err)
		}
		ended := make(chan error, 1)
		go func() { ended <- s.Run(t.Context(), &brokenPipe{}) }()
		a, err := New([]block.Object{obj}, []Target{s})
		if err != nil {
			t.Fatal(err)
		}
		for b := range 20 { // in order, as unicast comes
			if err = a.Put(b, data[b*objects.BlockSize:(b+1)*objects.BlockSize]); err != nil {
				break
			}
		}
		if !errors.Is(err, io.ErrClosedPipe) || !errors.Is(<-ended, io.ErrClosedPipe) || !errors.Is(s.Sync(), io.ErrClosedPipe) {
			t.Errorf("%v", err)
		}
	})
	t.Run("context", func(t *testing.T) {
		s, err := NewStream(&obj, 0)
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancelCause(t.Context())
		ended := make(chan error, 2)
		go func() { ended <- s.Run(ctx, io.Discard) }()
		go func() { ended <- s.Sync() }()
		cancel(io.ErrNoProgress)
		for range 2 {
			if err := <-ended; !errors.Is(err, io.ErrNoProgress) {
				t.Error(err)
			}
		}
		if _, err := s.WriteAt(data[:objects.BlockSize], 19*objects.BlockSize); !errors.Is(err, io.ErrNoProgress) {
			t.Error(err)
		}
	})
}
