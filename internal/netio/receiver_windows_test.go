package netio

import (
	"bytes"
	"errors"
	"net"
	"net/netip"
	"os"
	"testing"
	"time"

	"golang.org/x/sys/windows"
)

// These tests also run under Wine, where the net package opens no UDP sockets:
// so what they receive is sent by a socket of theirs.

// testInterface is one that a group can be sent and joined on: the first with
// addresses of both families that is no loopback (Linux, below Wine, sends no
// IPv6 group back over that), or any.
func testInterface(t *testing.T) *net.Interface {
	t.Helper()
	all, err := net.Interfaces()
	if err != nil {
		t.Fatal(err)
	}
	var found *net.Interface
	for i := range all {
		if all[i].Flags&net.FlagUp == 0 {
			continue
		}
		_, err4 := AddressOn(&all[i], netip.IPv4Unspecified())
		_, err6 := AddressOn(&all[i], netip.IPv6Unspecified())
		if err4 == nil && err6 == nil && (found == nil || found.Flags&net.FlagLoopback != 0) {
			found = &all[i]
		}
	}
	if found == nil {
		t.Fatal("no interface with addresses of both families")
	}
	return found
}

// groupSocket sends to a group over an interface.
func groupSocket(t *testing.T, ifi *net.Interface, group netip.AddrPort) windows.Handle {
	t.Helper()
	family, at := socketFamily(group)
	s, err := openSocket(family)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { closeSocket(s) })
	if group.Addr().Is4() {
		local, err := AddressOn(ifi, group.Addr())
		if err != nil {
			t.Fatal(err)
		}
		err = windows.SetsockoptInet4Addr(s, windows.IPPROTO_IP, windows.IP_MULTICAST_IF, local.As4())
		if err != nil {
			t.Fatal(err)
		}
	} else if err := windows.SetsockoptInt(s, windows.IPPROTO_IPV6, windows.IPV6_MULTICAST_IF, ifi.Index); err != nil {
		t.Fatal(err)
	}
	if err := windows.Connect(s, at); err != nil {
		t.Fatal(err)
	}
	return s
}

func openPair(t *testing.T, group, feedback string) (*GroupReceiver, windows.Handle) {
	t.Helper()
	ifi, at := testInterface(t), netip.MustParseAddrPort(group)
	r, err := OpenGroupReceiver(GroupReceiverConfig{Interface: ifi.Name, Group: at, Feedback: netip.MustParseAddrPort(feedback)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Close() })
	return r, groupSocket(t, ifi, at)
}

func TestGroup(t *testing.T) {
	for _, c := range []struct{ name, group, feedback string }{
		{"IPv4", "239.192.67.250:17899", "127.0.0.1:17890"},
		{"IPv6", "[ff15::4343:50]:17898", "[::1]:17890"},
	} {
		t.Run(c.name, func(t *testing.T) {
			r, s := openPair(t, c.group, c.feedback)
			if err := r.Rejoin(); err != nil { // as a receiver does that hears nothing
				t.Fatal(err)
			}
			if err := r.SetReadDeadline(time.Now().Add(10 * time.Second)); err != nil {
				t.Fatal(err)
			}
			got, sent := 0, 0
			for sent < 300 {
				for range 100 {
					if err := sendConnected(s, bytes.Repeat([]byte{byte(sent)}, 1452-sent)); err != nil {
						t.Fatal(err)
					}
					sent++
				}
				for got < sent {
					if err := r.ReadGroup(func(d []byte, from netip.Addr, at time.Time) {
						if !from.IsValid() || from.IsMulticast() || from.Is4() != r.addr.Is4() || from.Zone() != "" {
							t.Errorf("datagram %d comes from %s", got, from)
						}
						if want := bytes.Repeat([]byte{byte(got)}, 1452-got); !bytes.Equal(d, want) {
							t.Errorf("datagram %d has %d bytes of %d, want %d", got, len(d), d[0], len(want))
						}
						if age := time.Since(at); age < 0 || age > 5*time.Second {
							t.Errorf("datagram arrived %v ago", age)
						}
						got++
					}); err != nil {
						t.Fatalf("after %d of %d datagrams: %v", got, sent, err)
					}
				}
			}
		})
	}
}

func TestReport(t *testing.T) {
	for _, feedback := range []string{"127.0.0.1:17891", "[::1]:17891"} {
		at := netip.MustParseAddrPort(feedback)
		family, local := socketFamily(at)
		s, err := openSocket(family)
		if err != nil {
			t.Fatal(err)
		}
		defer closeSocket(s)
		if err := windows.Bind(s, local); err != nil {
			t.Fatal(err)
		}
		r, err := OpenGroupReceiver(GroupReceiverConfig{Interface: testInterface(t).Name, Group: netip.MustParseAddrPort("239.192.67.249:17892"), Feedback: at})
		if err != nil {
			t.Fatal(err)
		}
		defer r.Close()
		if err := r.WriteReport([]byte("report")); err != nil {
			t.Fatal(err)
		}
		buf := make([]byte, 100)
		n, _, err := windows.Recvfrom(s, buf, 0)
		if err != nil || string(buf[:n]) != "report" {
			t.Errorf("report to %s: %q, %v", feedback, buf[:n], err)
		}
	}
}

func TestDeadline(t *testing.T) {
	r, s := openPair(t, "239.192.67.251:17897", "127.0.0.1:17890")
	none := func(d []byte, _ netip.Addr, _ time.Time) { t.Errorf("%q has come", d) }
	if err := r.SetReadDeadline(time.Now().Add(20 * time.Millisecond)); err != nil {
		t.Fatal(err)
	}
	if err := r.ReadGroup(none); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("waiting for nothing ends with %v, want %v", err, os.ErrDeadlineExceeded)
	}
	// The read that was under way then is still there: nothing is lost.
	if err := sendConnected(s, []byte("later")); err != nil {
		t.Fatal(err)
	}
	if err := r.SetReadDeadline(time.Now().Add(5 * time.Second)); err != nil {
		t.Fatal(err)
	}
	got := ""
	if err := r.ReadGroup(func(d []byte, _ netip.Addr, _ time.Time) { got = string(d) }); err != nil || got != "later" {
		t.Errorf("%q, %v", got, err)
	}
	// Another goroutine ends a read that waits without end.
	if err := r.SetReadDeadline(time.Time{}); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error)
	go func() { ended <- r.ReadGroup(none) }()
	if err := r.SetReadDeadline(time.Now().Add(-time.Second)); err != nil {
		t.Fatal(err)
	}
	if err := <-ended; !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("the read ends with %v, want %v", err, os.ErrDeadlineExceeded)
	}
}

func TestClose(t *testing.T) {
	r, _ := openPair(t, "239.192.67.252:17896", "127.0.0.1:17890")
	ended := make(chan error)
	go func() { ended <- r.ReadGroup(func([]byte, netip.Addr, time.Time) {}) }()
	if err := r.Close(); err != nil {
		t.Error(err)
	}
	if err := <-ended; !errors.Is(err, net.ErrClosed) {
		t.Errorf("a blocked read ends with %v, want %v", err, net.ErrClosed)
	}
	for name, err := range map[string]error{
		"Close": r.Close(), "WriteReport": r.WriteReport([]byte("x")), "SetReadDeadline": r.SetReadDeadline(time.Now()),
		"ReadGroup": r.ReadGroup(func([]byte, netip.Addr, time.Time) {}),
	} {
		if !errors.Is(err, net.ErrClosed) {
			t.Errorf("%s after Close: %v, want %v", name, err, net.ErrClosed)
		}
	}
}

func TestRefused(t *testing.T) {
	group, feedback := netip.MustParseAddrPort("239.192.67.250:17895"), netip.MustParseAddrPort("127.0.0.1:1")
	if _, err := OpenGroupReceiver(GroupReceiverConfig{Interface: "nosuch0", Group: group, Feedback: feedback}); err == nil {
		t.Error("an interface that is not there was accepted")
	}
	if _, err := OpenGroupReceiver(GroupReceiverConfig{Group: netip.MustParseAddrPort("192.0.2.1:17895"), Feedback: feedback}); err == nil {
		t.Error("a unicast group was accepted")
	}
}

func TestInterfaceFor(t *testing.T) {
	for _, remote := range []string{"127.0.0.1", "::1"} {
		ifi, local, err := InterfaceFor(netip.MustParseAddr(remote))
		if err != nil || local.String() != remote || ifi.Flags&net.FlagLoopback == 0 {
			t.Errorf("%s is reached over %v from %v: %v", remote, ifi, local, err)
		}
	}
}
