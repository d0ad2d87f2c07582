package point

import (
	"crypto/tls"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"

	"go.uber.org/zap"

	"castpoint/boot"
	"castpoint/internal/config"
	"castpoint/point/host"
	"castpoint/web/access"
)

// adminTLS is the certificate of the admin listener: the one that is given, or,
// when the listener is wider than loopback, one of castpoint's own authority. nil
// is plain HTTP.
func adminTLS(cfg *config.Config, links []host.Link) (*tls.Config, error) {
	if cfg.AdminCert != "" {
		t, err := boot.LoadTLS(cfg.AdminCert, cfg.AdminKey)
		if err != nil {
			return nil, fmt.Errorf("admin-cert: %w", err)
		}
		return t, nil
	}
	if cfg.AdminIsLocal() {
		return nil, nil
	}
	a, err := boot.LoadAuthority(filepath.Join(cfg.Data, "tls"))
	if err != nil {
		return nil, err
	}
	if err := os.WriteFile(filepath.Join(cfg.Data, fileBootCA), a.PEM(), 0o644); err != nil {
		return nil, fmt.Errorf("certificate of castpoint's own CA: %w", err)
	}
	hosts := []string{"localhost", "127.0.0.1", "::1"}
	if host, _, err := net.SplitHostPort(cfg.Admin); err == nil {
		if addr, err := netip.ParseAddr(host); err == nil && !addr.IsUnspecified() {
			hosts = append(hosts, addr.String())
		}
	}
	for _, l := range links {
		hosts = append(hosts, l.Address.String())
	}
	t, err := a.TLS(append(hosts, cfg.AdminName...)...)
	if err != nil {
		return nil, fmt.Errorf("certificate of the admin listener: %w", err)
	}
	return t, nil
}

// oidcProvider is the identity provider of the settings, nil for none.
func oidcProvider(cfg *config.Config, log *zap.Logger) (*access.Provider, error) {
	if cfg.OIDCIssuer == "" {
		return nil, nil
	}
	rows, err := cfg.OIDCGroups()
	if err != nil {
		return nil, err
	}
	groups := make(map[access.Scope][]string, len(rows))
	for scope, list := range rows {
		groups[access.Scope(scope)] = list
	}
	o := access.OIDC{Issuer: cfg.OIDCIssuer, ClientID: cfg.OIDCClient, URL: cfg.OIDCURL, Claim: cfg.OIDCClaim, Groups: groups, Log: log}
	if cfg.OIDCSecretFile != "" {
		secret, err := os.ReadFile(cfg.OIDCSecretFile)
		if err != nil {
			return nil, fmt.Errorf("oidc-secret-file: %w", err)
		}
		o.ClientSecret = strings.TrimSpace(string(secret))
	}
	return access.NewProvider(o)
}
