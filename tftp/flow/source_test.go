package flow

import (
	"bytes"
	"errors"
	"fmt"
	"testing"
	"time"

	"castpoint/test/tftpclient"
	"castpoint/tftp/wire"

	"castpoint/internal/netio"
)

// nullLink is a link whose client is deaf and mute.
type nullLink struct{}

func (nullLink) Receive([]byte, time.Time) (int, error)   { return 0, ErrInterrupted }
func (nullLink) Blocking()                                {}
func (nullLink) Send([]byte) error                        { return nil }
func (nullLink) SendBlocks(int64, int, int, []byte) error { return nil }
func (nullLink) Stand(netio.Place)                        {}

func (nullLink) Sleep(d time.Duration) error {
	time.Sleep(d)
	return nil
}

func never() bool { return false }
func nothing()    {}

// readAll reads a source to its end in steps of limit, going back a window now and
// then.
func readAll(t *testing.T, s source, blockSize, window, limit int, back bool) []byte {
	t.Helper()
	var out []byte
	for next := int64(1); ; {
		data, count, last, err := s.read(next, limit)
		if err != nil {
			t.Fatal(err)
		}
		if count < 1 || count > limit {
			t.Fatalf("%d blocks, asked for %d", count, limit)
		}
		if want := count * blockSize; !last && len(data) != want || last && (len(data) >= want || len(data) < want-blockSize) {
			t.Fatalf("block %d: %d bytes in %d blocks, last %v", next, len(data), count, last)
		}
		out = append(out[:(next-1)*int64(blockSize)], data...)
		next += int64(count)
		if last {
			return out
		}
		if back && next%5 == 0 && next > int64(window) {
			back = next%10 == 0
			next -= int64(window)
		}
	}
}

func TestSources(t *testing.T) {
	for _, size := range []int{0, 1, 7, 8, 9, 511, 512, 513, 1024, 100000, chunkLimit, chunkLimit + 1, 3*chunkLimit + 17} {
		for _, blockSize := range []int{8, 512, 1468, 65464} {
			if size/blockSize > 20000 {
				continue
			}
			for _, window := range []int{1, 4, 64} {
				for _, limit := range []int{1, window, MaxBatch} {
					limit = min(limit, window)
					name := fmt.Sprintf("%d bytes, blksize %d, window %d, limit %d", size, blockSize, window, limit)
					data := tftpclient.ASCIIBytes(size)
					octet := newOctets(bytes.NewReader(data), int64(size), blockSize, window, nothing)
					if got := readAll(t, octet, blockSize, window, limit, true); !bytes.Equal(got, data) {
						t.Errorf("%s: octets differ", name)
					}
					if len(octet.chunks[0].buf) > max(chunkLimit, blockSize) || len(octet.chunks[1].buf) > max(chunkLimit, blockSize) {
						t.Errorf("%s: holds %d and %d bytes", name, len(octet.chunks[0].buf), len(octet.chunks[1].buf))
					}
					ascii := newNetascii(bytes.NewReader(data), int64(size), blockSize, window, nothing)
					if got := readAll(t, ascii, blockSize, window, limit, true); !bytes.Equal(got, tftpclient.ToNetascii(data)) {
						t.Errorf("%s: netascii differs", name)
					}
				}
			}
		}
	}
}

func TestNetasciiPairsAcrossBlocks(t *testing.T) {
	// With blocks of 8 bytes the pair of '\n' is cut between two blocks.
	data := []byte("1234567\nabc\r\r\n\n")
	s := newNetascii(bytes.NewReader(data), int64(len(data)), 8, 4, nothing)
	want := "1234567\r\nabc\r\x00\r\x00\r\n\r\n"
	if got := readAll(t, s, 8, 4, 1, false); string(got) != want {
		t.Errorf("%q, want %q", got, want)
	}
}

func TestFileThatShrinks(t *testing.T) {
	short := bytes.NewReader(make([]byte, 1000))
	for name, s := range map[string]source{
		"octet":    newOctets(short, 5000, 512, 4, nothing),
		"netascii": newNetascii(short, 5000, 512, 4, nothing),
	} {
		var err error
		for next := int64(1); err == nil && next < 20; {
			var count int
			_, count, _, err = s.read(next, 4)
			next += int64(count)
		}
		if !errors.Is(err, ErrChanged) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestLargeFile reads at the end of a file of 20 GB: positions are 64-bit
// everywhere, and memory does not follow the size.
func TestLargeFile(t *testing.T) {
	const size = 20_000_000_123
	f := tftpclient.PatternFile(size)
	s := newOctets(f, size, 1456, 16, nothing)
	lastBlock := int64(size/1456 + 1)
	data, count, last, err := s.read(lastBlock-3, 16)
	if err != nil || count != 4 || !last {
		t.Fatalf("%d blocks, last %v, %v", count, last, err)
	}
	for i, b := range data {
		if want := tftpclient.PatternByte((lastBlock-4)*1456 + int64(i)); b != want {
			t.Fatalf("byte %d is %d, want %d", i, b, want)
		}
	}
	if len(data) != 3*1456+size%1456 {
		t.Errorf("%d bytes", len(data))
	}
	if _, _, _, err := s.read(lastBlock+1, 1); err == nil {
		t.Error("read behind the end")
	}
	if n := len(s.chunks[0].buf) + len(s.chunks[1].buf); n > 2*chunkLimit {
		t.Errorf("holds %d bytes", n)
	}
}

// TestLargeTransfer carries a file of 20 GB through the transfer loop, with the
// ACKs made up: block numbers turn around 209 times.
func TestLargeTransfer(t *testing.T) {
	const size = 20_000_000_123
	l := &echoLink{blocks: size/1456 + 1}
	stats := Stats{}
	r := &Sender{
		link: l, src: newOctets(tftpclient.ZeroFile(size), size, 1456, 64, nothing), stats: &stats, idle: time.Minute, heard: func() {}, moved: never,
		terms: wire.Terms{BlockSize: 1456, Window: 64},
	}
	if err := r.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	if stats.Bytes != size || stats.Blocks != l.blocks || l.bytes != size || stats.Retransmitted != 0 {
		t.Errorf("%+v, the client got %d bytes", stats, l.bytes)
	}
}

// echoLink is a link whose client acknowledges at once whatever it gets.
type echoLink struct {
	nullLink
	blocks, bytes int64
	last          uint16
}

func (l *echoLink) SendBlocks(first int64, count, _ int, data []byte) error {
	l.last = uint16(first + int64(count) - 1)
	l.bytes += int64(len(data))
	return nil
}

func (l *echoLink) Receive(buf []byte, _ time.Time) (int, error) {
	return copy(buf, wire.AppendAck(buf[:0], l.last)), nil
}

// TestNoAllocation: the transfer loop makes no garbage, however long the file.
func TestNoAllocation(t *testing.T) {
	for _, window := range []int{1, 16} {
		run := func(size int64) float64 {
			return testing.AllocsPerRun(3, func() {
				r := &Sender{
					link: &echoLink{}, src: newOctets(tftpclient.ZeroFile(size), size, 1456, window, nothing), stats: &Stats{},
					idle: time.Minute, heard: func() {}, moved: never, terms: wire.Terms{BlockSize: 1456, Window: window},
				}
				if err := r.Run(t.Context()); err != nil {
					t.Fatal(err)
				}
			})
		}
		if short, long := run(1<<20), run(50<<20); long > short {
			t.Errorf("window %d: %v allocations for 1 MiB, %v for 50 MiB", window, short, long)
		}
	}
}
