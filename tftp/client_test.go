package tftp

import (
	"bytes"
	"context"
	"net"
	"net/netip"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// memFile is a File in memory that counts how often it is closed.
type memFile struct {
	*bytes.Reader
	closed func()
}

func (f *memFile) Close() error {
	if f.closed != nil {
		f.closed()
	}
	return nil
}

// udpWire is a wire over a real socket; it follows the server's port.
type udpWire struct {
	conn   *net.UDPConn
	server netip.AddrPort
	fixed  bool // the server's port is known
}

func dialWire(t testing.TB, server netip.AddrPort) *udpWire {
	t.Helper()
	host := "127.0.0.1:0"
	network := "udp4"
	if server.Addr().Is6() {
		host, network = "[::1]:0", "udp6"
	}
	conn, err := net.ListenUDP(network, net.UDPAddrFromAddrPort(netip.MustParseAddrPort(host)))
	if err != nil {
		t.Fatal(err)
	}
	_ = conn.SetReadBuffer(4 << 20)
	t.Cleanup(func() { _ = conn.Close() })
	return &udpWire{conn: conn, server: server}
}

func (w *udpWire) Send(b []byte) { _, _ = w.conn.WriteToUDPAddrPort(b, w.server) }

func (w *udpWire) Receive(buf []byte, deadline time.Time) (int, error) {
	if err := w.conn.SetReadDeadline(deadline); err != nil {
		return 0, err
	}
	for {
		n, from, err := w.conn.ReadFromUDPAddrPort(buf)
		if err != nil {
			return 0, err
		}
		if !w.fixed {
			w.server, w.fixed = from, true
		}
		if from == w.server {
			return n, nil
		}
	}
}

// recorder collects events.
type recorder struct {
	mu     sync.Mutex
	events []Event
	more   chan struct{}
}

func newRecorder() *recorder { return &recorder{more: make(chan struct{}, 1)} }

func (r *recorder) observe(e Event) {
	r.mu.Lock()
	r.events = append(r.events, e)
	r.mu.Unlock()
	select {
	case r.more <- struct{}{}:
	default:
	}
}

// await returns the n-th event (from 1) of a kind, and fails the test when it
// does not come.
func (r *recorder) await(t testing.TB, kind Kind, n int) Event {
	t.Helper()
	deadline := time.After(10 * time.Second)
	for {
		r.mu.Lock()
		seen := 0
		for _, e := range r.events {
			if e.Kind == kind {
				if seen++; seen == n {
					r.mu.Unlock()
					return e
				}
			}
		}
		r.mu.Unlock()
		select {
		case <-r.more:
		case <-deadline:
			t.Fatalf("event %v no. %d did not come; have %v", kind, n, r.kinds())
		}
	}
}

func (r *recorder) kinds() []Kind {
	r.mu.Lock()
	defer r.mu.Unlock()
	var ks []Kind
	for _, e := range r.events {
		ks = append(ks, e.Kind)
	}
	return ks
}

// startServer runs a server on loopback until the test ends.
func startServer(t testing.TB, cfg Config, addrs ...string) *Server {
	t.Helper()
	s, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	if len(addrs) == 0 {
		addrs = []string{"127.0.0.1:0"}
	}
	for _, a := range addrs {
		if err := s.Listen(Endpoint{Address: netip.MustParseAddrPort(a)}); err != nil {
			t.Fatal(err)
		}
	}
	served := make(chan error, 1)
	go func() { served <- s.Serve(context.Background()) }()
	t.Cleanup(func() {
		_ = s.Close()
		if err := <-served; err != nil {
			t.Errorf("serve: %v", err)
		}
	})
	return s
}

// serveFiles is an Open over files in memory, by path.
func serveFiles(files map[string][]byte) func(context.Context, Request) (File, error) {
	return func(_ context.Context, r Request) (File, error) {
		b, ok := files[r.Path]
		if !ok {
			return nil, ErrNotFound
		}
		return &memFile{Reader: bytes.NewReader(b)}, nil
	}
}
