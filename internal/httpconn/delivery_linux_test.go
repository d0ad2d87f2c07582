package httpconn

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"testing"
	"time"
)

// unread is a connection with a megabyte in it that its client has not read, in a
// context of a server's.
func unread(t *testing.T) (ctx context.Context, client *net.TCPConn) {
	t.Helper()
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	c, err := net.Dial("tcp4", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	s, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _, _ = c.Close(), s.Close() })
	client = c.(*net.TCPConn)
	_ = client.SetReadBuffer(64 << 10)
	_ = s.(*net.TCPConn).SetWriteBuffer(2 << 20)
	if _, err := s.Write(make([]byte, 1<<20)); err != nil {
		t.Fatal(err)
	}
	return Context(t.Context(), s), client
}

// TestDelivered: a client that takes nothing is waited for so long and no longer, one
// that takes it until it has all.
func TestDelivered(t *testing.T) {
	ctx, client := unread(t)
	if err := Delivered(ctx, 50*time.Millisecond); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatalf("a client that reads nothing: %v", err)
	}
	read := make(chan error, 1)
	go func() {
		_, err := io.CopyN(io.Discard, client, 1<<20)
		read <- err
	}()
	if err := Delivered(ctx, time.Minute); err != nil {
		t.Error(err)
	}
	if err := <-read; err != nil {
		t.Error(err)
	}
	if err := Delivered(t.Context(), 0); err != nil { // of no connection
		t.Error(err)
	}
}

// TestDeliveredGone: nobody is waited for who has gone.
func TestDeliveredGone(t *testing.T) {
	ctx, client := unread(t)
	gone := make(chan error, 1)
	go func() { gone <- Delivered(ctx, time.Minute) }()
	_ = client.SetLinger(0) // a reset
	_ = client.Close()
	if err := <-gone; err != nil {
		t.Error(err)
	}
}
