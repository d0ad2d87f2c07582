package boot

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"time"

	"go.uber.org/zap"

	"castpoint/internal/loglevel"
	"castpoint/internal/netio"
)

// HTTPServerConfig is what [NewLimitedHTTPServer] needs.
type HTTPServerConfig struct {
	// Handler answers. Required; a [Handler].
	Handler http.Handler
	// TLS, when set, is what ServeTLS("", "") of the server uses; see
	// [Authority.TLS] and [LoadTLS].
	TLS *tls.Config
	// MaxConns is how many connections there are at once; default 4096, -1 no
	// limit. When there are so many, a new one takes the place of the one that
	// has been idle for longest; without an idle one it is closed.
	MaxConns int
	// MaxPerClient is how many connections one address has at once (an IPv6
	// client counts by its /64); default 128, -1 no limit: many clients behind
	// one NAT address. A connection beyond it is closed.
	MaxPerClient int
	// HeaderTimeout is how long a client may take to ask, the TLS handshake
	// included; default 15 s.
	HeaderTimeout time.Duration
	// IdleTimeout is how long a connection stays open between two requests;
	// default 3 minutes: a loader unpacks one file before it asks for the next.
	IdleTimeout time.Duration
	// MaxHeader is the most bytes of headers that are read; default 16 KiB.
	// net/http adds 4 KiB.
	MaxHeader int
	Log       *zap.Logger
}

// NewHTTPServer is [NewLimitedHTTPServer] with all defaults.
func NewHTTPServer(handler http.Handler, log *zap.Logger) *http.Server {
	cfg := HTTPServerConfig{Handler: handler, Log: log}
	cfg.fill()
	return cfg.server()
}

// NewLimitedHTTPServer is a server for the boot listener with limits that suit
// firmware: slow to ask, long idle between files, few headers. The caller
// serves and shuts it down. How long an answer may take is up to [Handler].
func NewLimitedHTTPServer(cfg HTTPServerConfig) (*http.Server, error) {
	cfg.fill()
	switch {
	case cfg.Handler == nil:
		return nil, errors.New("boot HTTP server: no handler given")
	case cfg.MaxConns < -1 || cfg.MaxPerClient < -1:
		return nil, errors.New("boot HTTP server: a limit of connections below -1")
	case cfg.HeaderTimeout < time.Second || cfg.IdleTimeout < time.Second:
		return nil, fmt.Errorf("boot HTTP server: header timeout %s, idle timeout %s: want at least 1s each", cfg.HeaderTimeout, cfg.IdleTimeout)
	case cfg.MaxHeader < 1<<10:
		return nil, fmt.Errorf("boot HTTP server: header limit of %d bytes: want at least 1024", cfg.MaxHeader)
	}
	return cfg.server(), nil
}

func (cfg *HTTPServerConfig) fill() {
	if cfg.MaxConns == 0 {
		cfg.MaxConns = 4096
	}
	if cfg.MaxPerClient == 0 {
		cfg.MaxPerClient = 128
	}
	if cfg.HeaderTimeout == 0 {
		cfg.HeaderTimeout = 15 * time.Second
	}
	if cfg.IdleTimeout == 0 {
		cfg.IdleTimeout = 3 * time.Minute
	}
	if cfg.MaxHeader == 0 {
		cfg.MaxHeader = 16 << 10
	}
	if cfg.Log == nil {
		cfg.Log = zap.NewNop()
	}
}

func (cfg *HTTPServerConfig) server() *http.Server {
	conns := &connTable{
		max: cfg.MaxConns, perClient: cfg.MaxPerClient, log: cfg.Log,
		conns: make(map[net.Conn]*connEntry), clients: make(map[netip.Addr]int),
	}
	return &http.Server{
		Handler:           cfg.Handler,
		TLSConfig:         cfg.TLS,
		ReadHeaderTimeout: cfg.HeaderTimeout,
		ReadTimeout:       2 * cfg.HeaderTimeout, // of a request; boot requests have no body
		IdleTimeout:       cfg.IdleTimeout,
		MaxHeaderBytes:    cfg.MaxHeader,
		ConnState:         conns.change,
		ConnContext:       netio.WithPlace,
		ErrorLog:          loglevel.HTTPErrors(cfg.Log.Named("http")),
		// HTTP/2 has no use here and no sendfile: a file would be cut into frames.
		TLSNextProto: map[string]func(*http.Server, *tls.Conn, http.Handler){},
	}
}

// connTable counts a server's connections by what net/http says about them, so
// that the limits hold for every listener the server is given.
type connTable struct {
	max, perClient int // -1: no limit
	log            *zap.Logger

	mu      sync.Mutex
	conns   map[net.Conn]*connEntry
	clients map[netip.Addr]int
	warned  time.Time
}

type connEntry struct {
	client netip.Addr
	idle   time.Time // since when; zero while it is in use
}

// warnEvery is how often the log says that connections are refused.
const warnEvery = 10 * time.Second

// change is http.Server.ConnState. net/http calls it with StateNew before it
// starts the connection's goroutine; a connection closed there ends at its
// first read.
func (t *connTable) change(c net.Conn, state http.ConnState) {
	t.mu.Lock()
	defer t.mu.Unlock()
	switch state {
	case http.StateNew:
		t.admit(c)
	case http.StateActive:
		if e := t.conns[c]; e != nil {
			e.idle = time.Time{}
		}
	case http.StateIdle:
		if e := t.conns[c]; e != nil {
			e.idle = time.Now()
		}
	case http.StateClosed, http.StateHijacked:
		t.forget(c)
	}
}

// admit books a new connection or closes it. t.mu is held.
func (t *connTable) admit(c net.Conn) {
	client := clientAddr(c)
	if t.perClient >= 0 && t.clients[client] >= t.perClient {
		t.refuse(c, client, "too many connections of one client")
		return
	}
	if t.max >= 0 && len(t.conns) >= t.max {
		old := t.longestIdle()
		if old == nil {
			t.refuse(c, client, "too many connections")
			return
		}
		t.forget(old)
		_ = old.Close() // its goroutine finds out at its read
	}
	t.conns[c] = &connEntry{client: client}
	t.clients[client]++
}

func (t *connTable) refuse(c net.Conn, client netip.Addr, why string) {
	_ = c.Close()
	if now := time.Now(); now.Sub(t.warned) >= warnEvery {
		t.warned = now
		t.log.Warn("connection refused", zap.String("reason", why), zap.Stringer("peer", client),
			zap.Int("connections", len(t.conns)), zap.Int("of_peer", t.clients[client]))
	}
}

func (t *connTable) forget(c net.Conn) {
	e := t.conns[c]
	if e == nil {
		return
	}
	delete(t.conns, c)
	if t.clients[e.client]--; t.clients[e.client] == 0 {
		delete(t.clients, e.client)
	}
}

func (t *connTable) longestIdle() net.Conn {
	var found net.Conn
	var since time.Time
	for c, e := range t.conns {
		if !e.idle.IsZero() && (found == nil || e.idle.Before(since)) {
			found, since = c, e.idle
		}
	}
	return found
}

// clientAddr is what a connection's limit goes by: a host has a whole /64 of IPv6.
func clientAddr(c net.Conn) netip.Addr {
	ap, err := netip.ParseAddrPort(c.RemoteAddr().String())
	if err != nil {
		return netip.Addr{}
	}
	a := ap.Addr().Unmap().WithZone("")
	if a.Is6() {
		if p, err := a.Prefix(64); err == nil {
			return p.Addr()
		}
	}
	return a
}
