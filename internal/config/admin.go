package config

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"strings"
)

// AdminIsLocal says whether the admin listener is on loopback alone.
func (c *Config) AdminIsLocal() bool {
	host, _, err := net.SplitHostPort(c.Admin)
	if err != nil {
		return false
	}
	a, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && a.IsLoopback()
}

// checkAdmin checks what concerns the admin listener and who may use it.
func (c *Config) checkAdmin() error {
	if (c.AdminCert == "") != (c.AdminKey == "") {
		return errors.New("admin-cert and admin-key go together")
	}
	for _, name := range c.AdminName {
		if name == "" || strings.ContainsAny(name, ":/ *") {
			return fmt.Errorf("admin-name %q: want a host name, as in castpoint.example", name)
		}
	}
	if c.OIDCIssuer == "" {
		for name, value := range map[string]string{"oidc-client": c.OIDCClient, "oidc-secret-file": c.OIDCSecretFile, "oidc-url": c.OIDCURL, "oidc-claim": c.OIDCClaim} {
			if value != "" {
				return fmt.Errorf("%s needs oidc-issuer", name)
			}
		}
		return nil
	}
	for name, value := range map[string]string{"oidc-issuer": c.OIDCIssuer, "oidc-url": c.OIDCURL} {
		if u, err := url.Parse(value); err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http" {
			return fmt.Errorf("%s %q: want a URL, as in https://castpoint.example:8069", name, value)
		}
	}
	if c.OIDCClient == "" {
		return errors.New("oidc-issuer needs oidc-client")
	}
	_, err := c.OIDCGroups()
	return err
}

// OIDCGroups is OIDCScope, parsed: groups by scope.
func (c *Config) OIDCGroups() (map[string][]string, error) {
	groups := make(map[string][]string)
	for _, row := range c.OIDCScope {
		scope, group, ok := strings.Cut(row, "=")
		if !ok || group == "" || scope != "read" && scope != "operate" && scope != "admin" {
			return nil, fmt.Errorf("oidc-scope %q: want read=GROUP, operate=GROUP or admin=GROUP", row)
		}
		groups[scope] = append(groups[scope], group)
	}
	if len(groups) == 0 {
		return nil, errors.New("oidc-issuer needs oidc-scope, as in admin=GROUP: nobody could log in")
	}
	return groups, nil
}
