package e2e

import (
	"bytes"
	"context"
	"io"
	"net"
	"net/http"
	"net/netip"
	"testing"
	"time"

	"castpoint/internal/lab"
	"castpoint/test/client"
)

// A download outlives a time in which the queue of the server's own link takes nothing,
// also when it is the last of its connection: a connection that is closed with a part of
// the file in it is given up by the kernel after 4 s.
func TestHTTPOutlivesFullQueue(t *testing.T) {
	const outage = 6 * time.Second
	p := newPoint(t, lab.Config{Clients: 1})
	file := bytes.Repeat([]byte("castpoint "), 40<<10)
	tftpFolder(t, p, map[string][]byte{"big.efi": file})
	conn, err := client.Dial(t.Context(), p.Network.Clients[0], netip.AddrPortFrom(lab.ServerAddr, client.HTTPPort))
	if err != nil {
		t.Fatal(err)
	}
	_ = conn.(*net.TCPConn).SetReadBuffer(32 << 10)
	queue := func(args ...string) {
		t.Helper()
		if out, code, err := p.Network.Server.Run(t.Context(), append([]string{"tc", "qdisc"}, args...)...); err != nil || code != 0 {
			t.Fatal(out, code, err)
		}
	}
	transport := &http.Transport{DisableKeepAlives: true, DialContext: func(context.Context, string, string) (net.Conn, error) { return conn, nil }}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://castpoint/big.efi", nil)
	if err != nil {
		t.Fatal(err)
	}
	res, err := transport.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	got := make([]byte, len(file)-(90<<10))
	if _, err := io.ReadFull(res.Body, got); err != nil {
		t.Fatal(err)
	}
	// The rest is in the server's buffer and in the client's.
	queue("add", "dev", "eth0", "root", "pfifo", "limit", "0") // drops, and tells the sender
	full := time.Now()
	rest := make(chan error, 1)
	go func() {
		b, err := io.ReadAll(res.Body)
		got = append(got, b...)
		rest <- err
	}()
	select {
	case err := <-rest:
		t.Fatalf("the queue takes nothing, and %d bytes of %d came: %v", len(got), len(file), err)
	case <-time.After(outage):
	}
	queue("del", "dev", "eth0", "root")
	select {
	case err = <-rest:
	case <-time.After(patience):
		_ = conn.Close()
		err = <-rest
	}
	if err != nil || !bytes.Equal(got, file) {
		t.Errorf("%d bytes of %d after %s: %v", len(got), len(file), time.Since(full), err)
	}
}
