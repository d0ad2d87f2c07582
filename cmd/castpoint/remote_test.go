package main

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"castpoint/agent/protocol"
	"castpoint/content/library"
	"castpoint/web"
)

// authority makes a CA, and a certificate of it for loopback.
func authority(t *testing.T) (ca string, cert tls.Certificate) {
	t.Helper()
	make := func(c, parent *x509.Certificate, signer *ecdsa.PrivateKey) ([]byte, *ecdsa.PrivateKey) {
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		if parent == nil {
			parent, signer = c, key
		}
		der, err := x509.CreateCertificate(rand.Reader, c, parent, key.Public(), signer)
		if err != nil {
			t.Fatal(err)
		}
		return der, key
	}
	until := time.Now().Add(time.Hour)
	root := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "lab"}, NotAfter: until, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}
	rootDER, rootKey := make(root, nil, nil)
	der, key := make(&x509.Certificate{SerialNumber: big.NewInt(2), NotAfter: until, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}}, root, rootKey)
	ca = filepath.Join(t.TempDir(), "ca.crt")
	if err := os.WriteFile(ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: rootDER}), 0o600); err != nil {
		t.Fatal(err)
	}
	return ca, tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

// TestServerElsewhere: commands reach a server by URL, over TLS of its own CA or by its
// pin, and say what is wrong when they do not.
func TestServerElsewhere(t *testing.T) {
	library, err := library.OpenOptions(t.TempDir(), library.Options{Reserve: -1})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = library.Close() }()
	s, err := web.New(web.Config{Library: library, Data: t.TempDir(), Version: "test"})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	handler := s.AdminServer("the-secret").Handler
	ca, cert := authority(t)
	secure := httptest.NewUnstartedServer(handler)
	secure.TLS = &tls.Config{Certificates: []tls.Certificate{cert}}
	secure.Config.ErrorLog = log.New(io.Discard, "", 0)
	secure.StartTLS()
	defer secure.Close()
	plain := httptest.NewServer(handler)
	defer plain.Close()
	other := httptest.NewServer(http.NotFoundHandler())
	defer other.Close()
	pin := protocol.NewPin(cert.Certificate[0]).String()
	file := func(text string) string {
		path := filepath.Join(t.TempDir(), "token")
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	good, wrong := file("the-secret\n"), file("another")
	closed := httptest.NewServer(handler)
	closed.Close()
	insecure := "http" + strings.TrimPrefix(secure.URL, "https")
	for what, c := range map[string]struct {
		args []string
		code int
		says string
	}{
		"its CA":               {[]string{"--server", secure.URL, "--ca", ca, "--token-file", good}, 0, "contents"},
		"its pin":              {[]string{"--server", secure.URL + "/", "--pin", pin, "--token", "the-secret"}, 0, "contents"},
		"loopback":             {[]string{"--server", plain.URL, "--token-file", good}, 0, "contents"},
		"no CA":                {[]string{"--server", secure.URL, "--token-file", good}, 1, "--ca names its CA"},
		"another pin":          {[]string{"--server", secure.URL, "--pin", strings.Replace(pin, pin[len(pin)-4:], "0000", 1), "--token-file", good}, 1, "not the one of --pin"},
		"no pin":               {[]string{"--server", secure.URL, "--pin", "x", "--token-file", good}, 2, "--pin"},
		"another token":        {[]string{"--server", secure.URL, "--ca", ca, "--token-file", wrong}, 5, "does not know who asks"},
		"no token":             {[]string{"--server", secure.URL, "--ca", ca}, 2, "--token-file"},
		"an empty file":        {[]string{"--server", secure.URL, "--ca", ca, "--token-file", file("")}, 1, "one line"},
		"no such file":         {[]string{"--server", secure.URL, "--ca", ca, "--token-file", "/nothing/there"}, 4, "/nothing/there"},
		"no such CA":           {[]string{"--server", secure.URL, "--ca", "/nothing/there", "--token-file", good}, 4, "/nothing/there"},
		"no certificate":       {[]string{"--server", secure.URL, "--ca", good, "--token-file", good}, 1, "no certificate"},
		"a path":               {[]string{"--server", secure.URL + "/api/v1", "--ca", ca, "--token-file", good}, 2, "without a path"},
		"no scheme":            {[]string{"--server", "127.0.0.1:8069", "--token-file", good}, 2, "want a URL"},
		"in clear":             {[]string{"--server", "http://192.0.2.1:8069", "--token-file", good}, 2, "in clear"},
		"HTTP to HTTPS":        {[]string{"--server", insecure, "--token-file", good}, 1, "use https://"},
		"HTTPS to HTTP":        {[]string{"--server", "https" + strings.TrimPrefix(plain.URL, "http"), "--ca", ca, "--token-file", good}, 1, "use http://"},
		"nobody there":         {[]string{"--server", closed.URL, "--token-file", good}, 1, "refused"},
		"something else there": {[]string{"--server", other.URL, "--token-file", good}, 4, "404 Not Found to GET /status"},
	} {
		var out, errs bytes.Buffer
		code := run(t.Context(), append([]string{"status"}, c.args...), &out, &errs)
		if text := out.String() + errs.String(); code != c.code || !strings.Contains(text, c.says) || strings.Contains(errs.String(), "the-secret") {
			t.Errorf("%s: exit code %d, want %d and %q: %s", what, code, c.code, c.says, text)
		}
	}
	// By the environment, as in a script.
	for name, value := range map[string]string{"CASTPOINT_SERVER": secure.URL, "CASTPOINT_TOKEN_FILE": good, "CASTPOINT_CA": ca} {
		t.Setenv(name, value)
	}
	if out := succeeds(t, "content", "list", "--json"); !strings.HasPrefix(out, "[]") {
		t.Errorf("%s", out)
	}
	if help := succeeds(t, "status", "--help"); strings.Contains(help, good) || strings.Contains(help, secure.URL) {
		t.Errorf("the help tells what the environment has: %s", help)
	}
}
