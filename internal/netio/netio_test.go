//go:build !windows

package netio

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"testing"
	"time"
)

// pair opens a sender and a receiver on the loopback interface.
func pair(t *testing.T, group string) (*GroupSender, *GroupReceiver) {
	t.Helper()
	at := netip.MustParseAddrPort(group)
	s, err := OpenGroupSender(GroupSenderConfig{Interface: "lo", Group: at})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	r, err := OpenGroupReceiver(GroupReceiverConfig{Group: at, Feedback: s.Local()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = r.Close() })
	return s, r
}

// collect reads until n datagrams have come.
func collect(t *testing.T, r *GroupReceiver, n int) [][]byte {
	t.Helper()
	var got [][]byte
	if err := r.SetReadDeadline(time.Now().Add(5 * time.Second)); err != nil {
		t.Fatal(err)
	}
	for len(got) < n {
		if err := r.ReadGroup(func(d []byte, _ netip.Addr, at time.Time) {
			if age := time.Since(at); age < 0 || age > 5*time.Second {
				t.Errorf("datagram arrived %v ago", age)
			}
			got = append(got, bytes.Clone(d))
		}); err != nil {
			t.Fatalf("after %d of %d datagrams: %v", len(got), n, err)
		}
	}
	return got
}

func TestGroup(t *testing.T) {
	for _, gso := range []bool{true, false} {
		t.Run(fmt.Sprintf("segmentation %v", gso), func(t *testing.T) {
			s, r := pair(t, "239.192.67.250:17899")
			if gso && !s.Segmenting() {
				t.Fatal("this kernel has no UDP_SEGMENT: the test needs Linux 4.18")
			}
			s.gso.Store(gso)
			const size = 1452
			var sent []byte
			for i := range 100 { // more than one send carries, the last one shorter
				n := size
				if i == 99 {
					n = 77
				}
				d := bytes.Repeat([]byte{byte(i)}, n)
				sent = append(sent, d...)
			}
			if err := s.WriteGroup(sent, size); err != nil {
				t.Fatal(err)
			}
			for i, d := range collect(t, r, 100) {
				want := sent[i*size : min((i+1)*size, len(sent))]
				if !bytes.Equal(d, want) {
					t.Fatalf("datagram %d has %d bytes of %#x, want %d of %#x", i, len(d), d[0], len(want), want[0])
				}
			}
			if err := r.WriteReport([]byte("report")); err != nil {
				t.Fatal(err)
			}
			buf := make([]byte, 100)
			n, from, err := s.ReadReport(buf)
			if err != nil || string(buf[:n]) != "report" || !from.Addr().IsLoopback() {
				t.Errorf("report %q from %v: %v", buf[:n], from, err)
			}
		})
	}
}

// TestRejoin looks whether a receiver gets the group after it has joined again.
func TestRejoin(t *testing.T) {
	s, r := pair(t, "239.192.67.249:17895")
	for range 3 {
		if err := r.Rejoin(); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.WriteGroup([]byte("again"), 100); err != nil {
		t.Fatal(err)
	}
	if got := collect(t, r, 1); string(got[0]) != "again" {
		t.Errorf("got %q", got[0])
	}
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	if err := r.Rejoin(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("of a closed receiver: %v", err)
	}
}

// TestOtherGroup checks that a receiver does not get what others on the host
// have joined on the same port.
func TestOtherGroup(t *testing.T) {
	s1, r1 := pair(t, "239.192.67.251:17898")
	at := netip.MustParseAddrPort("239.192.67.252:17898")
	r2, err := OpenGroupReceiver(GroupReceiverConfig{Group: at, Feedback: s1.Local()})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = r2.Close() }()
	if err := s1.WriteGroup([]byte("for group 1"), 11); err != nil {
		t.Fatal(err)
	}
	collect(t, r1, 1)
	if err := r2.SetReadDeadline(time.Now().Add(50 * time.Millisecond)); err != nil {
		t.Fatal(err)
	}
	err = r2.ReadGroup(func(d []byte, _ netip.Addr, _ time.Time) { t.Errorf("%q came to the receiver of another group", d) })
	if !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("waiting for nothing ends with %v, want %v", err, os.ErrDeadlineExceeded)
	}
}

func TestClose(t *testing.T) {
	s, r := pair(t, "239.192.67.253:17897")
	ended := make(chan error, 2)
	go func() {
		_, _, err := s.ReadReport(make([]byte, 10))
		ended <- err
	}()
	go func() { ended <- r.ReadGroup(func([]byte, netip.Addr, time.Time) {}) }()
	_ = s.Close()
	_ = r.Close()
	for range 2 {
		if err := <-ended; !errors.Is(err, net.ErrClosed) {
			t.Errorf("a blocked read ends with %v, want %v", err, net.ErrClosed)
		}
	}
}

func TestRefused(t *testing.T) {
	group := netip.MustParseAddrPort("239.192.67.250:17896")
	if _, err := OpenGroupSender(GroupSenderConfig{Interface: "lo", Group: netip.MustParseAddrPort("192.0.2.1:1")}); err == nil {
		t.Error("a unicast group was accepted")
	}
	if _, err := OpenGroupSender(GroupSenderConfig{Interface: "nosuch0", Group: group}); err == nil {
		t.Error("an interface that is not there was accepted")
	}
	s, _ := pair(t, "239.192.67.250:17896")
	if _, err := OpenGroupSender(GroupSenderConfig{Interface: "lo", Group: s.group}); err == nil {
		t.Error("the same port was bound twice")
	}
}

// Each datagram comes with the address that it was sent from.
func TestSender(t *testing.T) {
	s, r := pair(t, "239.192.67.250:17899")
	if err := s.WriteGroup(bytes.Repeat([]byte("x"), 3000), 1000); err != nil {
		t.Fatal(err)
	}
	if err := r.SetReadDeadline(time.Now().Add(5 * time.Second)); err != nil {
		t.Fatal(err)
	}
	for got := 0; got < 3; {
		if err := r.ReadGroup(func(_ []byte, from netip.Addr, _ time.Time) {
			if got++; from != s.Local().Addr() {
				t.Errorf("datagram %d comes from %s, want %s", got, from, s.Local().Addr())
			}
		}); err != nil {
			t.Fatal(err)
		}
	}
}
