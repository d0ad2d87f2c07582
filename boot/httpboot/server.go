package httpboot

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net/http"
	"time"

	"go.uber.org/zap"

	"castpoint/internal/httpconn"
	"castpoint/internal/loglevel"
)

// ServerConfig is what [NewServer] needs.
type ServerConfig struct {
	// Handler answers. Required; a [Handler].
	Handler http.Handler
	// TLS, when set, is what ServeTLS("", "") of the server uses; see
	// [Authority.TLS] and [LoadTLS].
	TLS *tls.Config
	// MaxConns is how many connections there are at once; default 4096, -1 no
	// limit. When there are so many, a new one takes the place of the one that
	// has been idle for longest; without an idle one it is closed.
	MaxConns int
	// MaxPerClient is how many connections one address has at once; default 128,
	// -1 no limit: many clients behind one NAT address. A connection beyond it is
	// closed. A /64 of IPv6 has half of MaxConns at most.
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

// NewServer is a server for the boot listener with limits that suit
// firmware: slow to ask, long idle between files, few headers. The caller
// serves and shuts it down. How long an answer may take is up to [Handler].
func NewServer(cfg ServerConfig) (*http.Server, error) {
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

func (cfg *ServerConfig) fill() {
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

func (cfg *ServerConfig) server() *http.Server {
	return &http.Server{
		Handler:           cfg.Handler,
		TLSConfig:         cfg.TLS,
		ReadHeaderTimeout: cfg.HeaderTimeout,
		ReadTimeout:       2 * cfg.HeaderTimeout, // of a request; boot requests have no body
		IdleTimeout:       cfg.IdleTimeout,
		MaxHeaderBytes:    cfg.MaxHeader,
		ConnState:         httpconn.Limit(cfg.MaxConns, cfg.MaxPerClient, cfg.Log),
		ConnContext:       httpconn.Context,
		ErrorLog:          loglevel.HTTPErrors(cfg.Log.Named("http")),
		// HTTP/2 has no use here and no sendfile: a file would be cut into frames.
		TLSNextProto: map[string]func(*http.Server, *tls.Conn, http.Handler){},
	}
}
