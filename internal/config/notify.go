package config

import (
	"errors"
	"fmt"
	"net"
	"net/mail"
	"net/url"
	"slices"
)

// checkNotify checks who is told when something needs people.
func (c *Config) checkNotify() error {
	for _, hook := range c.NotifyWebhook {
		if u, err := url.Parse(hook); err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http" {
			return fmt.Errorf("notify-webhook %q: want a URL, as in https://chat.example/hook", hook)
		}
	}
	if len(c.NotifyMail) == 0 {
		return nil
	}
	for _, address := range append([]string{c.NotifyMailFrom}, c.NotifyMail...) {
		if a, err := mail.ParseAddress(address); err != nil || a.Address != address {
			return fmt.Errorf("notify-mail %q: notify-mail and notify-mail-from want addresses, as in ops@example.com", address)
		}
	}
	if _, _, err := net.SplitHostPort(c.NotifyMailServer); err != nil {
		return fmt.Errorf("notify-mail-server %q: want HOST:PORT, as in mail.example.com:587", c.NotifyMailServer)
	}
	if !slices.Contains([]string{"", "auto", "starttls", "tls", "none"}, c.NotifyMailTLS) {
		return fmt.Errorf("notify-mail-tls %q: want auto, starttls, tls or none", c.NotifyMailTLS)
	}
	if c.NotifyMailUser != "" && c.NotifyMailTLS == "none" {
		return errors.New("notify-mail-tls: none shows nobody a password: leave out notify-mail-user, or take another")
	}
	if c.NotifyMailUser != "" && c.NotifyPasswordFile == "" {
		return errors.New("notify-mail-user needs notify-password-file")
	}
	return nil
}
