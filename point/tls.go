package point

import (
	"crypto/tls"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"

	"castpoint/boot/httpboot"
	"castpoint/internal/config"
	"castpoint/point/host"
)

// bootTLS is the certificate of the boot listener with TLS: the one that is
// given, or one of castpoint's own authority for the addresses of this server,
// whose certificate machines have to be given (authority, PEM).
func bootTLS(cfg *config.Config, links []host.Link) (t *tls.Config, authority []byte, err error) {
	if cfg.HTTPSCert != "" {
		t, err = httpboot.LoadTLS(cfg.HTTPSCert, cfg.HTTPSKey)
		return t, nil, err
	}
	a, err := httpboot.LoadAuthority(filepath.Join(cfg.Data, "tls"))
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

// adminTLS is the certificate of the admin listener: the one that is given, or,
// when the listener is wider than loopback, one of castpoint's own authority. nil
// is plain HTTP.
func adminTLS(cfg *config.Config, links []host.Link) (*tls.Config, error) {
	if cfg.AdminCert != "" {
		t, err := httpboot.LoadTLS(cfg.AdminCert, cfg.AdminKey)
		if err != nil {
			return nil, fmt.Errorf("admin-cert: %w", err)
		}
		return t, nil
	}
	if cfg.AdminIsLocal() {
		return nil, nil
	}
	a, err := httpboot.LoadAuthority(filepath.Join(cfg.Data, "tls"))
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
