package config

import (
	"errors"
	"fmt"
	"net"
	"net/mail"
	"net/url"
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
	if c.NotifyMailUser != "" && c.NotifyPasswordFile == "" {
		return errors.New("notify-mail-user needs notify-password-file")
	}
	return nil
}
