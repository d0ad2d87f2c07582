package httpconn

import (
	"context"
	"net"
	"net/http"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"castpoint/internal/netio"
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
	srv := &http.Server{
		ConnContext: func(ctx context.Context, c net.Conn) context.Context {
			accepted = c
			return Context(ctx, c)
		},
		Handler: http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			for _, size := range []int64{netio.BulkFrom - 1, netio.BulkFrom, 10} {
				TakePlace(r.Context(), netio.PlaceOf(size))
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
	if len(seen) != 3 || seen[0] != 0 || seen[1] != int(netio.Bulk) || seen[2] != 0 {
		t.Error(seen)
	}
	_ = srv.Close()
	<-done
	TakePlace(t.Context(), netio.Bulk) // of no connection
}
