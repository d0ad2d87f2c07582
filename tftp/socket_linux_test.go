package tftp

import (
	"net"
	"net/netip"
	"testing"

	"golang.org/x/sys/unix"

	"castpoint/test/tftpclient"
)

func TestArrival(t *testing.T) {
	// The kernel fills in both addresses; on a broadcast they differ.
	oob := unix.PktInfo4(&unix.Inet4Pktinfo{Ifindex: 3, Spec_dst: [4]byte{192, 0, 2, 1}, Addr: [4]byte{192, 0, 2, 255}})
	a, ok := parseArrival(append(unix.UnixRights(1), oob...))
	if !ok || a.index != 3 || a.local.String() != "192.0.2.1" || a.dst.String() != "192.0.2.255" {
		t.Errorf("%+v, %v", a, ok)
	}
	var ll [16]byte
	ll[0], ll[1], ll[15] = 0xfe, 0x80, 9
	a, ok = parseArrival(unix.PktInfo6(&unix.Inet6Pktinfo{Ifindex: 7, Addr: ll}))
	if !ok || a.index != 7 || a.dst.String() != "fe80::9%7" {
		t.Errorf("%+v, %v", a, ok)
	}
	for n := range oob {
		if _, ok := parseArrival(oob[:n]); ok && n < unix.CmsgLen(unix.SizeofInet4Pktinfo) {
			t.Errorf("understood %d bytes", n)
		}
	}
	if got, ok := parseArrival(sourceOOB(a.dst, a.index)); !ok || got.dst != a.dst {
		t.Errorf("source address comes back as %+v", got)
	}
}

// TestBroadcastIsIgnored: RFC 1123 section 4.2.3.5.
func TestBroadcastIsIgnored(t *testing.T) {
	rec := newRecorder()
	s, err := New(Config{Open: serveFiles(nil), Observer: rec.observe})
	if err == nil {
		err = s.Listen(Endpoint{Address: netip.MustParseAddrPort("127.0.0.1:0")})
	}
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = s.Close() }()
	w := dialWire(t, s.Addrs()[0])
	l := s.listeners[0]
	oob := unix.PktInfo4(&unix.Inet4Pktinfo{Spec_dst: [4]byte{127, 0, 0, 1}, Addr: [4]byte{255, 255, 255, 255}})
	l.ctx = t.Context()
	l.take(tftpclient.ReadRequest("a", "octet"), oob, w.conn.LocalAddr().(*net.UDPAddr).AddrPort())
	if ks := rec.kinds(); len(ks) != 0 {
		t.Errorf("events %v", ks)
	}
	oob = unix.PktInfo4(&unix.Inet4Pktinfo{Spec_dst: [4]byte{127, 0, 0, 1}, Addr: [4]byte{127, 0, 0, 1}})
	l.take(tftpclient.ReadRequest("a", "octet"), oob, w.conn.LocalAddr().(*net.UDPAddr).AddrPort())
	rec.await(t, Refused, 1)
}
