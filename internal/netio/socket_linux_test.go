package netio

import (
	"bytes"
	"errors"
	"net"
	"net/netip"
	"slices"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// socketPair is a connected socket and its other end on loopback.
func socketPair(t *testing.T) (*Socket, *net.UDPConn) {
	t.Helper()
	peer, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = peer.Close() })
	conn, err := net.DialUDP("udp4", nil, peer.LocalAddr().(*net.UDPAddr))
	if err != nil {
		t.Fatal(err)
	}
	s, err := NewSocket(conn)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s, peer
}

// gathered are 21 datagrams of a header and a payload, the last one short.
func gathered() (parts [][]byte, want [][]byte) {
	for i := range byte(21) {
		n := 1468
		if i == 20 {
			n = 100
		}
		h, p := []byte{0, 3, 0, i}, bytes.Repeat([]byte{i}, n)
		parts = append(parts, h, p)
		want = append(want, slices.Concat(h, p))
	}
	return parts, want
}

func TestSendGathered(t *testing.T) {
	for _, tt := range []struct {
		name    string
		room    int
		segment bool
		fail    syscall.Errno // of a message with segments
		once    bool
		calls   int // of two times 21 datagrams
		err     error
	}{
		{"segmented", 1472, true, 0, false, 2, nil},
		{"without offload", 1472, false, 0, false, 2, nil},
		{"above the MTU", 1471, true, 0, false, 2, nil},
		{"EIO", 1472, true, unix.EIO, false, 3, nil},
		{"EINVAL", 1472, true, unix.EINVAL, false, 3, nil},
		{"EMSGSIZE", 1472, true, unix.EMSGSIZE, false, 3, nil},
		{"EOPNOTSUPP", 1472, true, unix.EOPNOTSUPP, false, 3, nil},
		{"an old error is met once", 1472, true, unix.ECONNREFUSED, true, 3, nil},
		{"full buffer", 1472, true, unix.EAGAIN, false, 1, unix.EAGAIN},
		{"other errors are told", 1472, true, unix.EPERM, false, 1, unix.EPERM},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s, peer := socketPair(t)
			w := s.Sender(SenderConfig{Room: tt.room, Segment: tt.segment, Control: unix.PktInfo4(&unix.Inet4Pktinfo{})})
			system, calls, failed := w.call, 0, false
			w.call = func(hdrs []mmsghdr) (int, syscall.Errno) {
				calls++
				if tt.fail != 0 && hdrs[0].hdr.Controllen > uint64(unix.CmsgSpace(unix.SizeofInet4Pktinfo)) && !(tt.once && failed) {
					failed = true
					return 0, tt.fail
				}
				return system(hdrs)
			}
			parts, want := gathered()
			for range 2 {
				n, err := w.SendGathered(parts, 2, 1472)
				if !errors.Is(err, tt.err) {
					t.Fatalf("%v, want %v", err, tt.err)
				}
				if err != nil {
					if n != 0 || calls != tt.calls {
						t.Errorf("%d sent in %d calls", n, calls)
					}
					return
				}
				if n != len(want) {
					t.Errorf("%d sent", n)
				}
				_ = peer.SetReadDeadline(time.Now().Add(10 * time.Second))
				for i := range want {
					b := make([]byte, 2000)
					n, err := peer.Read(b)
					if err != nil || !bytes.Equal(b[:n], want[i]) {
						t.Fatalf("datagram %d: %d bytes, %v", i, n, err)
					}
				}
			}
			if calls != tt.calls {
				t.Errorf("%d system calls, want %d", calls, tt.calls)
			}
		})
	}
}

func TestPoller(t *testing.T) {
	for _, coarse := range []bool{false, true} {
		p, err := NewPoller()
		if err != nil {
			t.Fatal(err)
		}
		p.coarse = coarse
		s, peer := socketPair(t)
		heard := 0
		if err := p.Add(s, func() { heard++ }); err != nil {
			t.Fatal(err)
		}
		if _, err := s.Read(make([]byte, 10)); !errors.Is(err, syscall.EAGAIN) {
			t.Errorf("an empty socket: %v", err)
		}
		start := time.Now()
		if err := p.Wait(20 * time.Millisecond); err != nil || heard != 0 || time.Since(start) < 20*time.Millisecond {
			t.Errorf("waited %v, %v", time.Since(start), err)
		}
		p.Wake()
		if err := p.Wait(-1); err != nil || heard != 0 {
			t.Errorf("woken: %v", err)
		}
		if _, err := peer.WriteToUDPAddrPort([]byte("ab"), s.Local()); err != nil {
			t.Fatal(err)
		}
		for range 2 { // as long as it is not read
			if err := p.Wait(10 * time.Second); err != nil {
				t.Fatal(err)
			}
		}
		if heard != 2 {
			t.Errorf("told %d times", heard)
		}
		b := make([]byte, 10)
		n, _, from, err := s.ReadFrom(b, make([]byte, 64))
		if err != nil || string(b[:n]) != "ab" || from != peer.LocalAddr().(*net.UDPAddr).AddrPort() {
			t.Errorf("%q from %v, %v", b[:n], from, err)
		}
		p.Remove(s)
		_ = p.Close()
	}
}

func TestRawAddress(t *testing.T) {
	s, err := net.ListenUDP("udp6", &net.UDPAddr{IP: net.IPv6loopback})
	if err != nil {
		t.Skip("no IPv6 here:", err)
	}
	sock, err := NewSocket(s)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = sock.Close() }()
	// To itself, and read back.
	if err := sock.Sender(SenderConfig{To: sock.Local()}).Send([]byte("x")); err != nil {
		t.Fatal(err)
	}
	if _, _, from, err := sock.ReadFrom(make([]byte, 10), nil); err != nil || from != sock.Local() {
		t.Errorf("from %v, %v", from, err)
	}
	raw := rawAddress(netip.MustParseAddrPort("[fe80::1%7]:69"), false)
	if raw[24] != 7 && raw[27] != 7 {
		t.Errorf("no scope in %x", raw)
	}
}
