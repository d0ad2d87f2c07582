// Package joinserver is a server with a join listener on the loopback interface, in the
// process of the test.
package joinserver

import (
	"crypto/tls"
	"errors"
	"math/rand/v2"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"testing"
	"time"

	"castpoint/boot"
	"castpoint/content"
	"castpoint/content/library"
	"castpoint/web"
	"castpoint/web/admin/sessions"
	"castpoint/web/session"
)

// BlockSize is that of the contents.
const BlockSize = content.BlockSize

// Multicast is for contents that may be sent by multicast to whoever asks.
var Multicast = content.Distribution{Multicast: true}

// Server is the real server side, with one content called image.
type Server struct {
	*web.Server
	Content *content.Content
	Data    []byte
	URL     string
	Config  web.Config
}

// New makes one with a content of the given size, until the test ends. change
// may change its settings.
func New(t *testing.T, size int, d content.Distribution, change func(*web.Config)) *Server {
	t.Helper()
	lib, err := library.OpenOptions(filepath.Join(t.TempDir(), "library"), library.Options{Reserve: -1})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = lib.Close() })
	data := make([]byte, size)
	_, _ = rand.NewChaCha8([32]byte{1}).Read(data)
	src := filepath.Join(t.TempDir(), "src")
	if err := errors.Join(os.Mkdir(src, 0o755), os.WriteFile(filepath.Join(src, "image.wim"), data, 0o644)); err != nil {
		t.Fatal(err)
	}
	ct, err := lib.Add(t.Context(), content.AddRequest{Kind: content.KindPackage, Path: src, Name: "image", Distribution: d})
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	cfg := web.Config{
		Data: t.TempDir(), Library: lib, JoinURL: "https://" + l.Addr().String(),
		Sessions: &session.Config{Interface: "lo", Address: netip.MustParseAddr("127.0.0.1"), Rate: 400e6, Linger: time.Second},
	}
	if change != nil {
		change(&cfg)
	}
	s, err := web.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	srv := s.JoinServer()
	served := make(chan error, 1)
	go func() { served <- srv.Serve(tls.NewListener(l, s.Identity().TLS())) }()
	t.Cleanup(func() {
		_ = srv.Close()
		if err := <-served; !errors.Is(err, http.ErrServerClosed) {
			t.Error(err)
		}
		s.Close()
	})
	return &Server{s, ct, data, cfg.JoinURL, cfg}
}

// Token makes a token for the content.
func (s *Server) Token(t *testing.T) string {
	t.Helper()
	var k sessions.CreatedToken
	if err := s.Client().Call(t.Context(), http.MethodPost, "/tokens", sessions.CreateToken{Content: "image"}, &k); err != nil {
		t.Fatal(err)
	}
	return k.Token
}

// Served is a server with a join listener.
type Served struct {
	*web.Server
	Addr string
}

// Serve makes a server without contents, until the test ends.
func Serve(t *testing.T, cfg web.Config) *Served {
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
		if err := <-done; !errors.Is(err, http.ErrServerClosed) {
			t.Error(err)
		}
		s.Close()
	})
	return &Served{s, l.Addr().String()}
}

// BootClient is a machine as the boot script sees it.
func BootClient(mac []byte) boot.Client {
	return boot.Client{MAC: mac, Server: netip.MustParseAddr("127.0.0.1")}
}
