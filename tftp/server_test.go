package tftp

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"castpoint/test/tftpclient"
	"castpoint/tftp/wire"
)

// slowFile is a File whose reads wait until it is let go.
type slowFile struct {
	tftpclient.PatternFile
	gate   chan struct{}
	closed *atomic.Int32
}

func (f slowFile) ReadAt(p []byte, off int64) (int, error) {
	<-f.gate
	return f.PatternFile.ReadAt(p, off)
}

func (f slowFile) Close() error {
	if f.closed != nil {
		f.closed.Add(1)
	}
	return nil
}

// exchange sends a request and returns the first answer.
func exchange(t *testing.T, w *udpWire, b []byte) []byte {
	t.Helper()
	w.Send(b)
	buf := make([]byte, 70000)
	n, err := w.Receive(buf, time.Now().Add(10*time.Second))
	if err != nil {
		t.Fatal(err)
	}
	return buf[:n]
}

func TestReadOverSockets(t *testing.T) {
	data := tftpclient.RandomBytes(700_001)
	for _, single := range []bool{false, true} {
		for _, noOffload := range []bool{false, true} {
			for _, addr := range []string{"127.0.0.1:0", "[::1]:0"} {
				for _, options := range [][]wire.Option{
					nil,
					{{Name: "blksize", Value: "1456"}, {Name: "windowsize", Value: "1"}},
					{{Name: "blksize", Value: "1456"}, {Name: "windowsize", Value: "64"}},
					{{Name: "blksize", Value: "60000"}, {Name: "windowsize", Value: "4"}}, // two do not fit one segmented message
					tftpclient.BootManager(1456, 16),
				} {
					t.Run(fmt.Sprintf("single %v, no offload %v, %s, %v", single, noOffload, addr, options), func(t *testing.T) {
						rec := newRecorder()
						s := startServer(t, Config{
							Open: serveFiles(map[string][]byte{"file": data}), SinglePort: single, NoOffload: noOffload,
							Observer: rec.observe,
						}, addr)
						w := dialWire(t, s.Addrs()[0])
						c := &tftpclient.Client{Wire: w, Options: options, NextWindow: func(int64) byte { return 32 }}
						if err := c.Get(`\file`); err != nil {
							t.Fatal(err)
						}
						if !bytes.Equal(c.File, data) {
							t.Errorf("%d bytes arrived, differing", len(c.File))
						}
						if samePort := w.server == s.Addrs()[0]; samePort != single {
							t.Errorf("the server sent from %v, listens on %v", w.server, s.Addrs()[0])
						}
						e := rec.await(t, Finished, 1)
						if e.Stats.Bytes != int64(len(data)) || e.Stats.RTT <= 0 || e.Stats.Rate() <= 0 || e.Transfer != 1 {
							t.Errorf("%+v", e)
						}
					})
				}
			}
		}
	}
}

// TestAnswersFromTheAddressAsked: a machine with several addresses answers from the
// one that the client knows.
func TestAnswersFromTheAddressAsked(t *testing.T) {
	for _, single := range []bool{false, true} {
		t.Run(fmt.Sprintf("single port %v", single), func(t *testing.T) {
			requests := make(chan Request, 2)
			s := startServer(t, Config{SinglePort: single, Open: func(_ context.Context, r Request) (File, error) {
				requests <- r
				if r.Path != "file" {
					return nil, ErrNotFound
				}
				return tftpclient.PatternFile(100), nil
			}}, "0.0.0.0:0")
			asked := netip.AddrPortFrom(netip.MustParseAddr("127.0.0.77"), s.Addrs()[0].Port())
			for _, name := range []string{"file", "missing"} {
				w := dialWire(t, asked)
				exchange(t, w, tftpclient.ReadRequest(name, "octet"))
				if w.server.Addr() != asked.Addr() {
					t.Errorf("%s: answered from %v, asked was %v", name, w.server, asked)
				}
				if name == "file" {
					w.Send(wire.AppendAck(nil, 1))
				}
				r := <-requests
				if r.Local != asked || r.Interface == 0 || !r.Peer.Addr().IsLoopback() {
					t.Errorf("request %+v", r)
				}
			}
		})
	}
}

func TestPortRange(t *testing.T) {
	gate := make(chan struct{})
	// A range of two ports that are free now.
	lo := uint16(0)
	for port := uint16(41000); port < 41900; port += 2 {
		a, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1), Port: int(port)})
		if err != nil {
			continue
		}
		b, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1), Port: int(port) + 1})
		_ = a.Close()
		if err == nil {
			_ = b.Close()
			lo = port
			break
		}
	}
	if lo == 0 {
		t.Fatal("no two free ports")
	}
	s := startServer(t, Config{
		Open:    func(context.Context, Request) (File, error) { return slowFile{PatternFile: 10000, gate: gate}, nil },
		PortMin: lo, PortMax: lo + 1,
	})
	ports := make(map[uint16]bool)
	for range 2 {
		w := dialWire(t, s.Addrs()[0])
		if b := exchange(t, w, tftpclient.ReadRequest("a", "octet", wire.Option{Name: "tsize", Value: "0"})); wire.Opcode(b) != wire.OpOACK {
			t.Fatalf("%q", b)
		}
		ports[w.server.Port()] = true
	}
	if !ports[lo] || !ports[lo+1] {
		t.Errorf("ports %v, the range is %d to %d", ports, lo, lo+1)
	}
	// Both ports are taken, but by other clients' connections: a third client may
	// share neither.
	w := dialWire(t, s.Addrs()[0])
	if e, ok := wire.ParseError(exchange(t, w, tftpclient.ReadRequest("a", "octet", wire.Option{Name: "tsize", Value: "0"}))); !ok || !strings.Contains(e.Text, "busy") {
		t.Errorf("%+v", e)
	}
	close(gate)
}

func TestProbe(t *testing.T) {
	for _, tt := range []struct {
		name    string
		options []wire.Option
		answer  []byte // to the OACK
		want    Kind
	}{
		{"EDK2 and the Windows boot manager", []wire.Option{{Name: "tsize", Value: "0"}}, wire.AppendError(nil, 8, "User aborted the transfer"), Probe},
		{"by error 0", []wire.Option{{Name: "tsize", Value: "0"}, {Name: "blksize", Value: "1456"}}, wire.AppendError(nil, 0, "aborted"), Probe},
		{"no size asked", []wire.Option{{Name: "blksize", Value: "1456"}}, wire.AppendError(nil, 8, ""), Aborted},
		{"disk full", []wire.Option{{Name: "tsize", Value: "0"}}, wire.AppendError(nil, 3, ""), Aborted},
	} {
		for _, single := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, single port %v", tt.name, single), func(t *testing.T) {
				rec := newRecorder()
				s := startServer(t, Config{
					Open: serveFiles(map[string][]byte{"boot.wim": make([]byte, 12345)}), Observer: rec.observe, SinglePort: single,
				})
				w := dialWire(t, s.Addrs()[0])
				if b := exchange(t, w, tftpclient.ReadRequest("boot.wim", "octet", tt.options...)); wire.Opcode(b) != wire.OpOACK {
					t.Fatalf("%q", b)
				}
				w.Send(tt.answer)
				e := rec.await(t, tt.want, 1)
				if tt.want == Probe && (e.Err != nil || e.Stats.Size != 12345) {
					t.Errorf("%+v", e)
				}
				var pe *wire.PeerError
				if tt.want == Aborted && !errors.As(e.Err, &pe) {
					t.Errorf("%v", e.Err)
				}
			})
		}
	}
}

// TestProbeThenClosedPort: a client that only closes its port after the size.
func TestProbeThenClosedPort(t *testing.T) {
	rec := newRecorder()
	s := startServer(t, Config{Open: serveFiles(map[string][]byte{"a": make([]byte, 5)}), Observer: rec.observe})
	w := dialWire(t, s.Addrs()[0])
	exchange(t, w, tftpclient.ReadRequest("a", "octet", wire.Option{Name: "tsize", Value: "0"}, wire.Option{Name: "timeout", Value: "1"}))
	_ = w.conn.Close()
	rec.await(t, Probe, 1)
}

func TestAbortInTheMiddle(t *testing.T) {
	rec := newRecorder()
	var closed atomic.Int32
	gate := make(chan struct{})
	close(gate)
	s := startServer(t, Config{
		Open: func(context.Context, Request) (File, error) {
			return slowFile{PatternFile: 100000, gate: gate, closed: &closed}, nil
		},
		Observer: rec.observe,
	})
	w := dialWire(t, s.Addrs()[0])
	exchange(t, w, tftpclient.ReadRequest("a", "octet"))
	w.Send(wire.AppendAck(nil, 1))
	w.Send(wire.AppendError(nil, 0, "reset by user"))
	e := rec.await(t, Aborted, 1)
	var pe *wire.PeerError
	if !errors.As(e.Err, &pe) || pe.Text != "reset by user" || e.Stats.Bytes != 512 {
		t.Errorf("%+v", e)
	}
	// The event comes before the file is closed.
	for end := time.Now().Add(5 * time.Second); closed.Load() == 0 && time.Now().Before(end); {
		time.Sleep(time.Millisecond)
	}
	if closed.Load() != 1 {
		t.Errorf("the file was closed %d times", closed.Load())
	}
}

func TestRefused(t *testing.T) {
	rec := newRecorder()
	s := startServer(t, Config{Open: serveFiles(nil), Observer: rec.observe})
	for i, tt := range []struct {
		request  []byte
		code     wire.Code
		text     string
		ordinary bool
	}{
		{tftpclient.ReadRequest("boot.wim", "octet"), wire.CodeNotFound, "file not found: boot.wim", false},
		{tftpclient.ReadRequest(`\EFI\Microsoft\Boot\SecureBootPolicy.p7b`, "octet", wire.Option{Name: "tsize", Value: "0"}), wire.CodeNotFound,
			"file not found: EFI/Microsoft/Boot/SecureBootPolicy.p7b", true},
		{tftpclient.ReadRequest("../shadow", "octet"), wire.CodeForbidden, "access denied: the file name leads upwards (..)", false},
		{tftpclient.ReadRequest("", "octet"), wire.CodeNotFound, "file not found: the request names no file", false},
		{tftpclient.ReadRequest("a", "mail"), wire.CodeIllegal, `illegal request: transfer mode "mail" is not served, use octet`, false},
		{tftpclient.Request(wire.OpWRQ, "log", "octet"), wire.CodeForbidden, "access denied: this server does not take uploads", false},
		{[]byte("\x00\x01abc"), wire.CodeIllegal, "illegal request: the file name has no end", false},
		{[]byte("\x00\x03\x00\x01data"), wire.CodeUnknownTID, "no such transfer, start over", false},
		{[]byte("\x00\x04\x00\x01"), wire.CodeUnknownTID, "no such transfer, start over", false},
	} {
		e, ok := wire.ParseError(exchange(t, dialWire(t, s.Addrs()[0]), tt.request))
		if !ok || e.Code != tt.code || e.Text != tt.text {
			t.Errorf("%q: answered %+v", tt.request, e)
		}
		if tt.code != wire.CodeUnknownTID {
			if ev := rec.await(t, Refused, i+1); ev.Err == nil || ev.Ordinary != tt.ordinary {
				t.Errorf("%q: event %+v", tt.request, ev)
			}
		}
	}
	if n := s.Transfers(); n != 0 {
		t.Errorf("%d transfers are left", n)
	}
}

// TestRepeatedRequest: a client that repeats its request gets one transfer; one
// that asks for something else from the same port gets that.
func TestRepeatedRequest(t *testing.T) {
	gate := make(chan struct{})
	rec := newRecorder()
	opened := make(chan string, 10)
	s := startServer(t, Config{
		Open: func(_ context.Context, r Request) (File, error) {
			opened <- r.Path
			<-gate
			return tftpclient.PatternFile(100), nil
		},
		Observer: rec.observe,
	})
	w := dialWire(t, s.Addrs()[0])
	for range 5 {
		w.Send(tftpclient.ReadRequest("a", "octet"))
	}
	w.Send(tftpclient.ReadRequest("b", "octet"))
	if a, b := <-opened, <-opened; a+b != "ab" && a+b != "ba" {
		t.Errorf("opened %s and %s", a, b)
	}
	close(gate)
	if e := rec.await(t, Refused, 1); e.Request.Path != "a" || !errors.Is(e.Err, ErrReplaced) {
		t.Errorf("%+v", e)
	}
	buf := make([]byte, 2000)
	n, err := w.Receive(buf, time.Now().Add(10*time.Second))
	for err == nil && wire.Opcode(buf[:n]) != wire.OpDATA {
		n, err = w.Receive(buf, time.Now().Add(10*time.Second))
	}
	if err != nil {
		t.Fatal(err)
	}
	w.Send(wire.AppendAck(nil, 1))
	if e := rec.await(t, Finished, 1); e.Request.Path != "b" {
		t.Errorf("%+v", e)
	}
	select {
	case p := <-opened:
		t.Errorf("%s was opened again", p)
	default:
	}
}

func TestLimits(t *testing.T) {
	gate := make(chan struct{})
	open := func(context.Context, Request) (File, error) {
		return slowFile{PatternFile: 100, gate: gate}, nil
	}
	defer close(gate)
	ask := func(s *Server) *udpWire {
		w := dialWire(t, s.Addrs()[0])
		w.Send(tftpclient.ReadRequest("a", "octet", wire.Option{Name: "tsize", Value: "0"}))
		return w
	}
	t.Run("per client", func(t *testing.T) {
		rec := newRecorder()
		s := startServer(t, Config{Open: open, MaxPerClient: 2, Observer: rec.observe})
		ask(s)
		ask(s)
		rec.await(t, Started, 2)
		e, ok := wire.ParseError(exchange(t, dialWire(t, s.Addrs()[0]), tftpclient.ReadRequest("a", "octet")))
		if !ok || e.Code != 0 || !strings.Contains(e.Text, "busy") {
			t.Errorf("%+v", e)
		}
		if ev := rec.await(t, Refused, 1); !errors.Is(ev.Err, ErrBusy) {
			t.Errorf("%v", ev.Err)
		}
	})
	t.Run("in all", func(t *testing.T) {
		rec := newRecorder()
		s := startServer(t, Config{Open: open, MaxTransfers: 2, Observer: rec.observe})
		first := ask(s)
		ask(s)
		rec.await(t, Started, 2)
		third := ask(s)
		if ev := rec.await(t, Refused, 1); !errors.Is(ev.Err, errFull) {
			t.Errorf("%v", ev.Err)
		}
		// No answer; and when a place is free, the repeated request is served.
		buf := make([]byte, 100)
		if n, err := first.Receive(buf, time.Now().Add(10*time.Second)); err != nil || wire.Opcode(buf[:n]) != wire.OpOACK {
			t.Fatal(err)
		}
		first.Send(wire.AppendError(nil, 8, ""))
		rec.await(t, Probe, 1)
		for deadline := time.Now().Add(10 * time.Second); s.Transfers() > 1; { // free a moment after the event
			if time.Now().After(deadline) {
				t.Fatal("the place is not free")
			}
			time.Sleep(time.Millisecond)
		}
		if b := exchange(t, third, tftpclient.ReadRequest("a", "octet", wire.Option{Name: "tsize", Value: "0"})); wire.Opcode(b) != wire.OpOACK {
			t.Errorf("%q", b)
		}
	})
}

func TestShutdownTellsClients(t *testing.T) {
	for _, single := range []bool{false, true} {
		t.Run(fmt.Sprintf("single port %v", single), func(t *testing.T) {
			rec := newRecorder()
			var closed atomic.Int32
			gate := make(chan struct{})
			close(gate)
			s, err := New(Config{
				Open: func(context.Context, Request) (File, error) {
					return slowFile{PatternFile: 1 << 30, gate: gate, closed: &closed}, nil
				},
				Observer: rec.observe, SinglePort: single,
			})
			if err != nil {
				t.Fatal(err)
			}
			if err := s.Listen(Endpoint{Address: netip.MustParseAddrPort("127.0.0.1:0")}); err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithCancel(t.Context())
			served := make(chan error, 1)
			go func() { served <- s.Serve(ctx) }()
			wires := make([]*udpWire, 3)
			for i := range wires {
				wires[i] = dialWire(t, s.Addrs()[0])
				exchange(t, wires[i], tftpclient.ReadRequest("a", "octet"))
			}
			cancel()
			if err := <-served; err != nil {
				t.Fatal(err)
			}
			if n := closed.Load(); n != 3 {
				t.Errorf("%d files closed of 3", n)
			}
			buf := make([]byte, 2000)
			for i, w := range wires {
				for {
					n, err := w.Receive(buf, time.Now().Add(10*time.Second))
					if err != nil {
						t.Fatal(err)
					}
					if e, ok := wire.ParseError(buf[:n]); ok {
						if e.Code != 0 || e.Text != "server is shutting down" {
							t.Errorf("%+v", e)
						}
						break
					}
				}
				if e := rec.await(t, Aborted, i+1); !errors.Is(e.Err, ErrShutdown) {
					t.Errorf("%v", e.Err)
				}
			}
		})
	}
}

func TestListenErrors(t *testing.T) {
	taken, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = taken.Close() }()
	addr := taken.LocalAddr().(*net.UDPAddr).AddrPort()
	s, err := New(Config{Open: serveFiles(nil)})
	if err != nil {
		t.Fatal(err)
	}
	free := netip.MustParseAddrPort("127.0.0.1:0")
	err = s.Listen(Endpoint{Address: free}, Endpoint{Address: addr})
	if err == nil || !strings.Contains(err.Error(), fmt.Sprintf("UDP port %d of 127.0.0.1", addr.Port())) ||
		!strings.Contains(err.Error(), "another program has the port") {
		t.Errorf("%v", err)
	}
	if n := len(s.Addrs()); n != 0 {
		t.Errorf("%d sockets are bound after a failure", n)
	}
	if err := s.Listen(Endpoint{Address: netip.MustParseAddrPort("203.0.113.9:6969")}); err == nil ||
		!strings.Contains(err.Error(), "this machine does not have the address") {
		t.Errorf("%v", err)
	}
	if err := s.Listen(Endpoint{Address: free, Device: "nosuchdevice0"}); err == nil || !strings.Contains(err.Error(), "nosuchdevice0") {
		t.Errorf("%v", err)
	}
	if err := s.Serve(t.Context()); err == nil {
		t.Error("served without a socket")
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	if err := s.Listen(Endpoint{Address: free}); err == nil {
		t.Error("listened after close")
	}
}

func TestOrderOfUse(t *testing.T) {
	s, err := New(Config{Open: serveFiles(map[string][]byte{"a": nil})})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Listen(Endpoint{Address: netip.MustParseAddrPort("127.0.0.1:0")}, Endpoint{Address: netip.MustParseAddrPort("127.0.0.2:0"), Device: "lo"}); err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- s.Serve(t.Context()) }()
	for _, a := range s.Addrs() {
		w := dialWire(t, a)
		if b := exchange(t, w, tftpclient.ReadRequest("a", "octet")); !bytes.Equal(b, []byte{0, 3, 0, 1}) {
			t.Errorf("%q", b)
		}
		w.Send(wire.AppendAck(nil, 1))
	}
	if err := s.Serve(t.Context()); err == nil {
		t.Error("served twice")
	}
	for range 2 {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}
	if err := <-served; err != nil {
		t.Error(err)
	}
	if err := s.Serve(t.Context()); err != nil {
		t.Errorf("serve after close: %v", err)
	}
}

func TestBlockLimit(t *testing.T) {
	v4, v6 := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("2001:db8::1")
	for _, tt := range []struct {
		cfg  Config
		peer netip.Addr
		mtu  int
		want int
	}{
		{Config{}, v4, 1500, 1468},
		{Config{}, v6, 1500, 1448},
		{Config{}, v4, 1492, 1460}, // PPPoE
		{Config{}, v4, 1420, 1388}, // WireGuard
		{Config{}, v4, 9000, 8968},
		{Config{}, v4, 65536, 65464},
		{Config{}, v4, 68, 512}, // what every client may use
		{Config{MaxBlockSize: 1024}, v4, 1500, 1024},
		{Config{MaxBlockSize: 512}, v4, 1500, 512},
		{Config{Fragment: true}, v4, 1500, 65464},
		{Config{Fragment: true, MaxBlockSize: 8192}, v4, 1500, 8192},
	} {
		tt.cfg.Open = serveFiles(nil)
		s, err := New(tt.cfg)
		if err != nil {
			t.Fatal(err)
		}
		if got := s.blockLimit(tt.peer, tt.mtu); got != tt.want {
			t.Errorf("%+v, MTU %d: %d, want %d", tt.cfg, tt.mtu, got, tt.want)
		}
	}
}

// TestNoise sends what is no TFTP at all; the server goes on.
func TestNoise(t *testing.T) {
	s := startServer(t, Config{Open: serveFiles(map[string][]byte{"a": {1}})})
	w := dialWire(t, s.Addrs()[0])
	for _, b := range [][]byte{{}, {0}, {0, 0}, {0, 5, 0, 5, 0}, {0, 6, 0}, {0xff, 0xff, 1, 2}, bytes.Repeat([]byte{7}, 60000)} {
		w.Send(b)
	}
	if b := exchange(t, w, tftpclient.ReadRequest("a", "octet")); !bytes.Equal(b, []byte{0, 3, 0, 1, 1}) {
		t.Errorf("%q", b)
	}
	w.Send(wire.AppendAck(nil, 1))
}
