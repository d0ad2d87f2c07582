package tftp

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strconv"
	"testing"

	"castpoint/test/tftpclient"
	"castpoint/tftp/wire"

	pin "github.com/pin/tftp/v3"
)

const benchSize = 32 << 20

// BenchmarkRead is loopback throughput by window; the pin/tftp server, which
// knows no window, is beside it.
func BenchmarkRead(b *testing.B) {
	for _, window := range []int{1, 4, 16, 64} {
		b.Run(fmt.Sprintf("castpoint/window=%d", window), func(b *testing.B) {
			s := startServer(b, Config{
				Open: func(context.Context, Request) (File, error) { return tftpclient.ZeroFile(benchSize), nil },
			})
			benchmarkRead(b, s.Addrs()[0], window)
		})
	}
	b.Run("castpoint/window=16/nooffload", func(b *testing.B) {
		s := startServer(b, Config{NoOffload: true,
			Open: func(context.Context, Request) (File, error) { return tftpclient.ZeroFile(benchSize), nil },
		})
		benchmarkRead(b, s.Addrs()[0], 16)
	})
	b.Run("castpoint/window=16/singleport", func(b *testing.B) {
		s := startServer(b, Config{SinglePort: true,
			Open: func(context.Context, Request) (File, error) { return tftpclient.ZeroFile(benchSize), nil },
		})
		benchmarkRead(b, s.Addrs()[0], 16)
	})
	b.Run("pin/window=1", func(b *testing.B) {
		conn, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
		if err != nil {
			b.Fatal(err)
		}
		s := pin.NewServer(func(_ string, rf io.ReaderFrom) error {
			_, err := rf.ReadFrom(io.NewSectionReader(tftpclient.ZeroFile(benchSize), 0, benchSize))
			return err
		}, nil)
		s.SetBlockSize(1468)
		done := make(chan struct{})
		go func() { defer close(done); _ = s.Serve(conn) }()
		b.Cleanup(func() { s.Shutdown(); <-done })
		benchmarkRead(b, conn.LocalAddr().(*net.UDPAddr).AddrPort(), 1)
	})
}

func benchmarkRead(b *testing.B, server netip.AddrPort, window int) {
	b.SetBytes(benchSize)
	b.ReportAllocs()
	for b.Loop() {
		got := 0
		c := &tftpclient.Client{
			Wire:    dialWire(b, server),
			Options: []wire.Option{{Name: "blksize", Value: "1468"}, {Name: "windowsize", Value: strconv.Itoa(window)}},
			Sink:    func(p []byte) { got += len(p) },
		}
		if err := c.Get("file"); err != nil {
			b.Fatal(err)
		}
		if got != benchSize {
			b.Fatalf("got %d bytes", got)
		}
	}
}
