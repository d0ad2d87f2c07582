package multicast

import (
	"bytes"
	"context"
	"errors"
	"io"
	"testing"
	"testing/synctest"
	"time"

	"castpoint/internal/simnet"
	"castpoint/multicast/block"
)

// program takes what is written to it at a pace.
type program struct {
	bytes.Buffer
	pause time.Duration // for each block
	fails int           // at this block, when it is above 0
	n     int
}

func (p *program) Write(b []byte) (int, error) {
	time.Sleep(p.pause)
	if p.n++; p.n == p.fails {
		return 0, io.ErrClosedPipe
	}
	return p.Buffer.Write(b)
}

// streamed joins a member that hands the object to a program.
func (l *lab) streamed(name string, link simnet.Link, blocks int, p *program) (*receiver, *Stream, chan error) {
	l.t.Helper()
	s, err := NewStream(&l.obj, int64(blocks)*testBlock)
	if err != nil {
		l.t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- s.Run(context.Background(), p) }()
	return l.joinTo(name, link, simnet.Link{}, s), s, ended
}

// A member with a window of 16 blocks gets everything in order: from the start,
// late, with loss, and with a program that is slow; and others are not held up.
func TestStream(t *testing.T) {
	for _, c := range []struct {
		name  string
		late  time.Duration
		loss  float64
		pause time.Duration
	}{
		{"from the start", 0, 0, 0},
		{"loss", 0, 0.03, 0},
		{"late", 800 * time.Millisecond, 0.01, 0},
		{"slow program", 0, 0, 100 * time.Millisecond},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l := newLab(t, 11, 200*testBlock+77, nil)
				l.net.SetUplink(200e6)
				file := l.join("file", simnet.Link{}, simnet.Link{}, nil)
				time.Sleep(c.late)
				p := &program{pause: c.pause}
				rc, s, ended := l.streamed("program", simnet.Link{Loss: c.loss}, 16, p)
				most := int64(0)
				go func() {
					for {
						select {
						case <-rc.done:
							return
						case <-time.After(10 * time.Millisecond):
							s.mu.Lock()
							most = max(most, int64(len(s.early)))
							s.mu.Unlock()
						}
					}
				}()
				l.verify(file)
				<-rc.done
				if err := <-ended; err != nil || rc.err != nil {
					t.Fatal(err, rc.err)
				}
				if !bytes.Equal(p.Bytes(), l.data) {
					t.Errorf("the program got %d bytes that are not the object's %d", p.Len(), len(l.data))
				}
				if most > 16 {
					t.Errorf("%d blocks waited, the window has 16", most)
				}
				l.close()
				if c.pause == 0 && c.late == 0 && file.took > 10*time.Second || c.pause > 0 && file.took > rc.took/2 {
					t.Errorf("the file took %v, the program %v", file.took, rc.took)
				}
				t.Logf("file %v, program %v, %d of %d bytes sent, %d blocks waited at most", file.took, rc.took, l.s.Status().Sent, l.obj.Size, most)
			})
		})
	}
}

// The end of the program, and of the context, end everything that waits.
func TestStreamEnds(t *testing.T) {
	obj, data := object(20*testBlock, 3)
	t.Run("program", func(t *testing.T) {
		s, err := NewStream(&obj, 0)
		if err != nil {
			t.Fatal(err)
		}
		ended := make(chan error, 1)
		go func() { ended <- s.Run(t.Context(), &program{fails: 3}) }()
		a, err := NewAssembly([]block.Object{obj}, []Target{s})
		if err != nil {
			t.Fatal(err)
		}
		for b := range 20 { // in order, as unicast comes
			if err = a.Put(b, data[b*testBlock:(b+1)*testBlock]); err != nil {
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
		if _, err := s.WriteAt(data[:testBlock], 19*testBlock); !errors.Is(err, io.ErrNoProgress) {
			t.Error(err)
		}
	})
}
