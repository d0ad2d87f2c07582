package settings

import (
	"fmt"
	"os"
	"strings"

	"go.uber.org/zap"

	"castpoint/internal/config"
	"castpoint/web/access"
)

// OIDC is the identity provider of the settings, nil for none.
func OIDC(cfg *config.Config, log *zap.Logger) (*access.Provider, error) {
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
