package tftp

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"strconv"
	"strings"
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

// patternFile is a File of any size that holds no memory: byte i is a function of
// i that no shift by a block maps onto itself.
type patternFile int64

func (f patternFile) Size() int64  { return int64(f) }
func (f patternFile) Close() error { return nil }
func (f patternFile) ReadAt(p []byte, off int64) (int, error) {
	for i := range p {
		p[i] = patternByte(off + int64(i))
	}
	return len(p), nil
}

func patternByte(i int64) byte {
	x := uint64(i) * 0x9e3779b97f4a7c15
	return byte(x >> 56)
}

// randomBytes are n bytes that are the same in every run.
func randomBytes(n int) []byte {
	b := make([]byte, n)
	r := rand.NewChaCha8([32]byte{1})
	_, _ = r.Read(b)
	return b
}

// wire is what a testClient talks through.
type wire interface {
	send(b []byte)
	receive(buf []byte, deadline time.Time) (int, error)
}

// habit is how a client acknowledges what is out of order.
type habit uint8

const (
	ackGapOnce  habit = iota // RFC 7440: one ACK for a gap
	ackEveryGap              // EDK2: one for each block that is not the expected one
	ackNothing               // only after its timeout
	ackEach                  // acknowledges every block, whatever window it asked for
)

// testClient is a client as a test wants it: exact where the protocol is exact,
// and misbehaving where it is told to.
type testClient struct {
	wire    wire
	options []Option
	mode    string
	habit   habit
	timeout time.Duration // before it repeats itself
	// nextWindow, when set, is the byte behind each ACK (msftwindow); it is given
	// the block that is acknowledged.
	nextWindow func(block int64) byte
	// vanish ends the client without its last ACK.
	vanish bool
	sink   func(p []byte) // takes the file; nil keeps it

	// Results.
	agreed   []Option
	file     []byte
	size     int64
	blocks   int64 // received in order
	received int64 // DATA datagrams received in all
	acks     int64 // sent
}

// get fetches a file. The error is *PeerError when the server sent an ERROR.
func (c *testClient) get(name string) error {
	if c.timeout == 0 {
		c.timeout = time.Second
	}
	if c.mode == "" {
		c.mode = "octet"
	}
	rrq := rrqBytes(name, c.mode, c.options...)
	buf := make([]byte, 70000)
	last := rrq
	c.wire.send(rrq)

	blksize, window, varWindow := 512, 1, false
	var expect int64 = 1
	count, gap, tries := 0, false, 0
	ackBuf := make([]byte, 0, 8)
	ackTo := func(block int64) {
		b := appendAck(ackBuf[:0], uint16(block))
		if varWindow {
			w := c.nextWindow(block)
			b = append(b, w)
			window = max(1, int(w))
		}
		last = b
		count = 0
		c.acks++
		c.wire.send(b)
	}
	deadline := time.Now().Add(c.timeout)
	for {
		n, err := c.wire.receive(buf, deadline)
		if errors.Is(err, os.ErrDeadlineExceeded) {
			if tries++; tries > 60 {
				return errors.New("the server is silent")
			}
			if expect > 1 && last[1] != opACK {
				last = appendAck(nil, uint16(expect-1))
			}
			if expect > 1 {
				ackTo(expect - 1)
			} else {
				c.wire.send(last)
			}
			deadline = time.Now().Add(c.timeout)
			continue
		}
		if err != nil {
			return err
		}
		b := buf[:n]
		switch opcode(b) {
		case opERROR:
			e, _ := parseError(b)
			return &e
		case opOACK:
			if expect > 1 {
				continue
			}
			options, ok := parseOACK(b)
			if !ok {
				return fmt.Errorf("bad OACK %x", b)
			}
			first := c.agreed == nil
			c.agreed = options
			for _, o := range options {
				n, _ := strconv.Atoi(o.Value)
				switch strings.ToLower(o.Name) {
				case "blksize":
					blksize = n
				case "windowsize":
					if first {
						window = n
					}
				case "tsize":
					c.size = int64(n)
				case "msftwindow":
					varWindow = c.nextWindow != nil
				}
			}
			ackTo(0)
			deadline = time.Now().Add(c.timeout)
		case opDATA:
			c.received++
			block := binary.BigEndian.Uint16(b[2:])
			distance := int16(block - uint16(expect))
			if distance != 0 {
				switch c.habit {
				case ackGapOnce:
					if !gap || distance < 0 && window == 1 {
						gap = true
						ackTo(expect - 1)
					}
				case ackEveryGap, ackEach:
					ackTo(expect - 1)
				}
				continue
			}
			gap, tries = false, 0
			payload := b[headerSize:]
			if c.sink != nil {
				c.sink(payload)
			} else {
				c.file = append(c.file, payload...)
			}
			expect++
			c.blocks++
			count++
			deadline = time.Now().Add(c.timeout)
			if len(payload) < blksize {
				if !c.vanish {
					ackTo(expect - 1)
				}
				return nil
			}
			if count >= window || c.habit == ackEach {
				ackTo(expect - 1)
			}
		}
	}
}

// agreedTo is the value of an option of the OACK.
func (c *testClient) agreedTo(name string) string {
	v, _ := findOption(c.agreed, name)
	return v
}

// rrqBytes is a read request.
func rrqBytes(name, mode string, options ...Option) []byte {
	return requestBytes(opRRQ, name, mode, options...)
}

func requestBytes(op byte, name, mode string, options ...Option) []byte {
	b := append([]byte{0, op}, name...)
	b = append(b, 0)
	b = append(append(b, mode...), 0)
	for _, o := range options {
		b = append(append(b, o.Name...), 0)
		b = append(append(b, o.Value...), 0)
	}
	return b
}

// bootManager is what the Windows boot manager asks for, in its order.
func bootManager(blksize, window int) []Option {
	return []Option{
		{"tsize", "0"}, {"blksize", strconv.Itoa(blksize)},
		{"windowsize", strconv.Itoa(window)}, {"msftwindow", "31416"},
	}
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

func (w *udpWire) send(b []byte) { _, _ = w.conn.WriteToUDPAddrPort(b, w.server) }

func (w *udpWire) receive(buf []byte, deadline time.Time) (int, error) {
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
