package point

import (
	"crypto/tls"
	"net/http"
	"path/filepath"

	"go.uber.org/zap"

	"castpoint/boot"
	"castpoint/internal/config"
	"castpoint/point/host"
)

// bootServer makes the server of a boot listener; t is nil for plain HTTP.
func bootServer(cfg *config.Config, handler http.Handler, t *tls.Config, log *zap.Logger) (*http.Server, error) {
	return boot.NewLimitedHTTPServer(boot.HTTPServerConfig{
		Handler: handler, TLS: t, MaxConns: cfg.HTTPConns, MaxPerClient: cfg.HTTPClientConns,
		HeaderTimeout: cfg.HTTPHeader, IdleTimeout: cfg.HTTPIdle, Log: log,
	})
}

// bootTLS is the certificate of the boot listener with TLS: the one that is
// given, or one of castpoint's own authority for the addresses of this server,
// whose certificate machines have to be given (authority, PEM).
func bootTLS(cfg *config.Config, links []host.Link) (t *tls.Config, authority []byte, err error) {
	if cfg.HTTPSCert != "" {
		t, err = boot.LoadTLS(cfg.HTTPSCert, cfg.HTTPSKey)
		return t, nil, err
	}
	a, err := boot.LoadAuthority(filepath.Join(cfg.Data, "tls"))
	if err != nil {
		return nil, nil, err
	}
	var hosts []string
	for _, l := range links {
		hosts = append(hosts, l.Address.String())
	}
	t, err = a.TLS(append(hosts, cfg.HTTPSName...)...)
	return t, a.PEM(), err
}
