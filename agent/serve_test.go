//go:build !windows

package agent

import (
	"crypto/tls"
	"net"
	"net/netip"
	"testing"

	"castpoint/boot"
	"castpoint/web"
)

// served is a server with a join listener.
type served struct {
	*web.Server
	addr string
}

func serve(t *testing.T, cfg web.Config) *served {
	t.Helper()
	s, err := web.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	srv := s.JoinServer()
	done := make(chan error, 1)
	go func() { done <- srv.Serve(tls.NewListener(l, s.Identity().TLS())) }()
	t.Cleanup(func() {
		_ = srv.Close()
		<-done
		s.Close()
	})
	return &served{s, l.Addr().String()}
}

// bootClient is a machine as the boot script sees it.
func bootClient(mac []byte) boot.Client {
	return boot.Client{MAC: mac, Server: netip.MustParseAddr("127.0.0.1")}
}
