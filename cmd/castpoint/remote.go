package main

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net/url"
	"os"

	"github.com/spf13/pflag"

	"castpoint/agent/command"
	"castpoint/web"
)

// remote says how a server elsewhere is reached; without a URL it is the one of
// the data folder.
type remote struct {
	url   string
	token string
	ca    string
}

// Variables of the environment that stand for the flags, so that a secret is not
// in the list of processes.
const (
	envServer = "CASTPOINT_SERVER"
	envToken  = "CASTPOINT_TOKEN"
	envCA     = "CASTPOINT_CA"
)

func (r *remote) flags(f *pflag.FlagSet) {
	f.StringVar(&r.url, "server", os.Getenv(envServer), "`URL` of the admin API of a server elsewhere (or "+envServer+")")
	f.StringVar(&r.token, "token", os.Getenv(envToken), "`SECRET` of castpoint access token create, with --server (or "+envToken+")")
	f.StringVar(&r.ca, "ca", os.Getenv(envCA), "`FILE` of the CA of its certificate, PEM, with --server (or "+envCA+"; default: those of the system)")
	for _, name := range []string{"server", "token", "ca"} {
		f.Lookup(name).DefValue = "" // no secret of the environment in a help
	}
}

func (r *remote) client() (*web.AdminClient, error) {
	u, err := url.Parse(r.url)
	if err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http" {
		return nil, command.Usage("--server %q: want a URL, as in https://castpoint.example:8069", r.url)
	}
	if r.token == "" {
		return nil, command.Usage("--server needs a token: --token, or the variable %s", envToken)
	}
	t := &tls.Config{MinVersion: tls.VersionTLS12}
	if r.ca != "" {
		text, err := os.ReadFile(r.ca)
		if err != nil {
			return nil, fmt.Errorf("read the CA: %w", err)
		}
		t.RootCAs = x509.NewCertPool()
		if !t.RootCAs.AppendCertsFromPEM(text) {
			return nil, fmt.Errorf("read the CA: %s has no certificate in PEM", r.ca)
		}
	}
	return web.NewRemoteClient(u.Scheme+"://"+u.Host, r.token, t), nil
}
