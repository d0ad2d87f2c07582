package netio

import (
	"context"
	"net"
	"net/http"
	"net/netip"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// TestPlaces: an image's connection stands behind, and before again with what is small.
func TestPlaces(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var accepted net.Conn
	now := func() int {
		rc, err := accepted.(syscall.Conn).SyscallConn()
		if err != nil {
			t.Fatal(err)
		}
		var priority int
		if cerr := rc.Control(func(fd uintptr) { priority, err = unix.GetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_PRIORITY) }); cerr != nil || err != nil {
			t.Fatal(cerr, err)
		}
		return priority
	}
	var seen []int
	srv := &http.Server{ //nolint:gosec // of a test
		ConnContext: func(ctx context.Context, c net.Conn) context.Context {
			accepted = c
			return WithPlace(ctx, c)
		},
		Handler: http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			for _, size := range []int64{BulkFrom - 1, BulkFrom, 10} {
				TakePlace(r.Context(), PlaceOf(size))
				seen = append(seen, now())
			}
		}),
	}
	done := make(chan error, 1)
	go func() { done <- srv.Serve(l) }()
	res, err := http.Get("http://" + l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	_ = res.Body.Close()
	if len(seen) != 3 || seen[0] != 0 || seen[1] != int(Bulk) || seen[2] != 0 {
		t.Error(seen)
	}
	_ = srv.Close()
	<-done
	TakePlace(t.Context(), Bulk) // of no connection
}

// TestPromised: a session stands with the images, but for what it was promised.
func TestPromised(t *testing.T) {
	s, err := OpenGroupSender(GroupSenderConfig{Interface: "lo", Group: netip.MustParseAddrPort("239.192.67.9:7899")})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	for _, c := range []struct {
		promised bool
		want     Place
	}{{false, Bulk}, {true, Ordinary}, {true, Ordinary}, {false, Bulk}} {
		s.Promised(c.promised)
		priority, err := unix.GetsockoptInt(s.out.fd, unix.SOL_SOCKET, unix.SO_PRIORITY)
		if err != nil {
			t.Fatal(err)
		}
		if priority != int(c.want) {
			t.Errorf("promised %v: priority %d", c.promised, priority)
		}
	}
}
