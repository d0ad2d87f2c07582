package cli

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"os"
	"strings"

	"github.com/spf13/pflag"

	"castpoint/agent/command"
	"castpoint/agent/protocol"
	"castpoint/web/call"
)

// remote says how a server elsewhere is reached; without a URL it is the one of
// the data folder.
type remote struct {
	URL       string
	token     string
	tokenFile string
	ca        string
	pin       string
}

// Variables of the environment that stand for the flags, so that a secret is not
// in the list of processes.
const (
	envServer    = "CASTPOINT_SERVER"
	envToken     = "CASTPOINT_TOKEN"
	envTokenFile = "CASTPOINT_TOKEN_FILE"
	envCA        = "CASTPOINT_CA"
	envPin       = "CASTPOINT_PIN"
)

func (r *remote) Flags(f *pflag.FlagSet) {
	for _, v := range []struct {
		to               *string
		name, env, usage string
	}{
		{&r.URL, "server", envServer, "`URL` of the admin API of a server elsewhere"},
		{&r.token, "token", envToken, "`SECRET` of castpoint access token create, with --server; other users of this host can see it"},
		{&r.tokenFile, "token-file", envTokenFile, "`FILE` with that secret, with --server"},
		{&r.ca, "ca", envCA, "`FILE` of the CA of its certificate, PEM, with --server (default: those of the system)"},
		{&r.pin, "pin", envPin, "`SHA256` of its certificate, as in sha256:HEX, with --server; no CA is asked then"},
	} {
		f.StringVar(v.to, v.name, os.Getenv(v.env), v.usage+" (or "+v.env+")")
		f.Lookup(v.name).DefValue = "" // no secret of the environment in a help
	}
}

func (r *remote) client() (*call.Client, error) {
	u, err := url.Parse(r.URL)
	if err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http" || strings.Trim(u.Path, "/") != "" || u.RawQuery != "" || u.User != nil {
		return nil, command.Usage("--server %q: want a URL without a path, as in https://castpoint.example:8069", r.URL)
	}
	if u.Scheme == "http" && !isLoopback(u.Hostname()) {
		return nil, command.Usage("--server %s: the token would travel in clear; use https://%s", r.URL, u.Host)
	}
	token, err := r.secret()
	if err != nil {
		return nil, err
	}
	t, err := r.trust(u.Host)
	if err != nil {
		return nil, err
	}
	return call.NewRemote(u.Scheme+"://"+u.Host, token, t), nil
}

func isLoopback(host string) bool {
	addr, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && addr.IsLoopback()
}

// secret is the token that is shown to the server.
func (r *remote) secret() (string, error) {
	switch {
	case r.token != "":
		return r.token, nil
	case r.tokenFile == "":
		return "", command.Usage("--server needs a token: --token-file, or the variable %s or %s", envToken, envTokenFile)
	}
	text, err := os.ReadFile(r.tokenFile)
	if err != nil {
		return "", fmt.Errorf("read the token: %w", err)
	}
	token := strings.TrimSpace(string(text))
	if token == "" || strings.ContainsAny(token, " \t\n") {
		return "", fmt.Errorf("read the token: %s has to have one line, the secret of castpoint access token create", r.tokenFile)
	}
	return token, nil
}

// trust says which certificate the server may have.
func (r *remote) trust(host string) (*tls.Config, error) {
	t := &tls.Config{MinVersion: tls.VersionTLS12}
	if r.pin != "" {
		want, err := protocol.ParsePin(r.pin)
		if err != nil {
			return nil, command.Usage("--pin: %w", err)
		}
		t.InsecureSkipVerify = true // replaced by VerifyConnection: the pin names the one certificate
		t.VerifyConnection = func(state tls.ConnectionState) error {
			if len(state.PeerCertificates) == 0 {
				return errors.New("the server has no certificate")
			}
			if got := protocol.NewPin(state.PeerCertificates[0].Raw); got != want {
				return fmt.Errorf("the server at %s is not the one of --pin: its certificate is %s", host, got)
			}
			return nil
		}
		return t, nil
	}
	if r.ca == "" {
		return t, nil
	}
	text, err := os.ReadFile(r.ca)
	if err != nil {
		return nil, fmt.Errorf("read the CA: %w", err)
	}
	t.RootCAs = x509.NewCertPool()
	if !t.RootCAs.AppendCertsFromPEM(text) {
		return nil, fmt.Errorf("read the CA: %s has no certificate in PEM", r.ca)
	}
	return t, nil
}
