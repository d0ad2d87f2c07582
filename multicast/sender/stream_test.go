package sender

import (
	"bytes"
	"context"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"castpoint/internal/simnet"
	"castpoint/multicast/assembly"
	"castpoint/test/objects"
)

// program takes what is written to it at a pace.
type program struct {
	bytes.Buffer
	pause time.Duration // for each block
	n     atomic.Int64  // blocks
}

func (p *program) Write(b []byte) (int, error) {
	time.Sleep(p.pause)
	p.n.Add(1)
	return p.Buffer.Write(b)
}

// watched is a stream and how many blocks waited in it at most.
type watched struct {
	*assembly.Stream
	p *program

	mu        sync.Mutex
	put, most int64
}

func (w *watched) WriteAt(b []byte, off int64) (int, error) {
	n, err := w.Stream.WriteAt(b, off)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.put++
	w.most = max(w.most, w.put-w.p.n.Load())
	return n, err
}

// streamed joins a member that hands the object to a program.
func (l *lab) streamed(name string, link simnet.Link, blocks int, p *program) (*machine, *watched, chan error) {
	l.t.Helper()
	s, err := assembly.NewStream(&l.obj, int64(blocks)*objects.BlockSize)
	if err != nil {
		l.t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- s.Run(context.Background(), p) }()
	w := &watched{Stream: s, p: p}
	return l.joinTo(name, link, simnet.Link{}, w), w, ended
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
				l := newLab(t, 11, 200*objects.BlockSize+77, nil)
				l.net.SetUplink(200e6)
				file := l.join("file", simnet.Link{}, simnet.Link{}, nil)
				time.Sleep(c.late)
				p := &program{pause: c.pause}
				rc, s, ended := l.streamed("program", simnet.Link{Loss: c.loss}, 16, p)
				l.verify(file)
				<-rc.done
				if err := <-ended; err != nil || rc.err != nil {
					t.Fatal(err, rc.err)
				}
				if !bytes.Equal(p.Bytes(), l.data) {
					t.Errorf("the program got %d bytes that are not the object's %d", p.Len(), len(l.data))
				}
				if most := s.most; most > 16 {
					t.Errorf("%d blocks waited, the window has 16", most)
				}
				l.close()
				if c.pause == 0 && c.late == 0 && file.took > 10*time.Second || c.pause > 0 && file.took > rc.took/2 {
					t.Errorf("the file took %v, the program %v", file.took, rc.took)
				}
				t.Logf("file %v, program %v, %d of %d bytes sent, %d blocks waited at most", file.took, rc.took, l.s.Status().Sent, l.obj.Size, s.most)
			})
		})
	}
}
