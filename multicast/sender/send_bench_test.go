//go:build linux

package sender

import (
	"context"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"castpoint/internal/simnet"
	"castpoint/multicast/block"
	"castpoint/multicast/rate"
	"castpoint/multicast/seal"
	"castpoint/test/objects"
)

// nowhere is a sender's edge that sends nothing.
type nowhere struct{ Conn }

func (nowhere) WriteGroup([]byte, int) error { return nil }

// cpuTime is what this process has used of the processor.
func cpuTime() time.Duration {
	var u syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// BenchmarkEmit is what the sender spends on a block of a file before the system
// gets it: reading, sealing, pacing.
func BenchmarkEmit(b *testing.B) {
	const blocks = 1400 // 252 MB: more than the processor's caches hold
	dir := "/dev/shm"
	if info, err := os.Stat(dir); err != nil || !info.IsDir() {
		dir = b.TempDir()
	}
	path := filepath.Join(dir, "castpoint-emit")
	f, err := os.Create(path)
	if err != nil {
		b.Fatal(err)
	}
	defer func() {
		_ = f.Close()
		_ = os.Remove(path)
	}()
	if _, err := io.CopyN(f, rand.NewChaCha8([32]byte{1}), blocks*objects.BlockSize); err != nil {
		b.Fatal(err)
	}
	for _, name := range []seal.Cipher{seal.AES256GCM, seal.ChaCha20} {
		b.Run(string(name), func(b *testing.B) {
			s, err := New(Config{ID: 1, Objects: []block.Object{{Size: blocks * objects.BlockSize, BlockSize: objects.BlockSize}}, Sources: []io.ReaderAt{f},
				Conn: nowhere{simnet.New(1).Sender()}, Group: testGroup, Cipher: name})
			if err != nil {
				b.Fatal(err)
			}
			e := s.newEmitter()
			defer e.timer.Stop()
			s.rate = rate.NewController(0, 100e9, 0)
			for i := range s.g.K {
				e.order = append(e.order, uint16(i))
			}
			order := e.order
			b.SetBytes(objects.BlockSize)
			b.ReportAllocs()
			n, before := 0, cpuTime()
			for b.Loop() {
				s.heard, s.edge, s.heardDue = 1<<60, 1<<60, time.Now().Add(time.Hour)
				e.order = order
				if err := e.emit(context.Background(), work{block: n % blocks, count: s.g.K, whole: true}); err != nil {
					b.Fatal(err)
				}
				n++
			}
			// Of processor time: what else the machine does then does not count.
			b.ReportMetric(float64(objects.BlockSize)*8*float64(b.N)/(cpuTime()-before).Seconds()/1e9, "Gbit/s/core")
		})
	}
}
