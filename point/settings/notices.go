package settings

import (
	"bytes"
	"crypto/x509"
	"fmt"
	"os"
	"strings"

	"go.uber.org/zap"

	"castpoint/internal/config"
	"castpoint/internal/notice"
)

// shortestKey is the shortest key that webhooks are signed with, in bytes.
const shortestKey = 16

// Notices makes what tells people, as the settings say.
func Notices(cfg *config.Config, log *zap.Logger) (*notice.Sender, error) {
	m := notice.Mail{Server: cfg.NotifyMailServer, TLS: cfg.NotifyMailTLS, From: cfg.NotifyMailFrom, To: cfg.NotifyMail, User: cfg.NotifyMailUser}
	if cfg.NotifyPasswordFile != "" {
		b, err := os.ReadFile(cfg.NotifyPasswordFile)
		if err != nil {
			return nil, fmt.Errorf("notify-password-file: %w", err)
		}
		m.Password = strings.TrimSpace(string(b))
	}
	c := notice.Config{Webhooks: cfg.NotifyWebhook, Mail: m, Log: log.Named("notify")}
	if cfg.NotifyKeyFile != "" {
		b, err := os.ReadFile(cfg.NotifyKeyFile)
		if err != nil {
			return nil, fmt.Errorf("notify-key-file: %w", err)
		}
		if c.Key = bytes.TrimSpace(b); len(c.Key) < shortestKey {
			return nil, fmt.Errorf("notify-key-file: %s has %d bytes: want %d or more, as from openssl rand -hex 32", cfg.NotifyKeyFile, len(c.Key), shortestKey)
		}
	}
	if cfg.NotifyCAFile != "" {
		b, err := os.ReadFile(cfg.NotifyCAFile)
		if err != nil {
			return nil, fmt.Errorf("notify-ca-file: %w", err)
		}
		if c.CAs, err = x509.SystemCertPool(); err != nil {
			c.CAs = x509.NewCertPool() // a system without any
		}
		if !c.CAs.AppendCertsFromPEM(b) {
			return nil, fmt.Errorf("notify-ca-file: %s has no certificate in PEM form", cfg.NotifyCAFile)
		}
	}
	return notice.New(c), nil
}
