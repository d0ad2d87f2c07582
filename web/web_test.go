package web

import (
	"bytes"
	"crypto/tls"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"net/netip"
	"testing"
	"time"

	"go.uber.org/goleak"

	"castpoint/agent/protocol"
	"castpoint/content"
	"castpoint/content/library"
	"castpoint/multicast"
	"castpoint/test/contents"
	"castpoint/web/admit"
	"castpoint/web/session"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// loopback are sessions that do not leave this machine.
func loopback() *session.Config {
	return &session.Config{Interface: "lo", Address: netip.MustParseAddr("127.0.0.1"), Rate: 200e6, Linger: time.Second}
}

// point is a server with its join listener on loopback, over real TLS.
type point struct {
	*Server
	lib  *library.Library
	ct   *content.Content
	data []byte
	url  string
	http *http.Client
}

func newPoint(t testing.TB, d content.Distribution, change func(*Config)) *point {
	t.Helper()
	lib, ct, data := contents.New(t, 500_000, d)
	cfg := Config{Data: t.TempDir(), Library: lib, Sessions: loopback(), JoinURL: "https://127.0.0.1:8443", Version: "test"}
	if change != nil {
		change(&cfg)
	}
	s, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	srv := s.JoinServer()
	served := make(chan error, 1)
	go func() { served <- srv.Serve(tls.NewListener(l, s.Identity().TLS())) }()
	transport := &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true, MinVersion: tls.VersionTLS13}}
	t.Cleanup(func() {
		transport.CloseIdleConnections()
		_ = srv.Close()
		<-served
		s.Close()
	})
	return &point{s, lib, ct, data, "https://" + l.Addr().String(), &http.Client{Transport: transport}}
}

func (p *point) token(t testing.TB, want admit.Token) string {
	t.Helper()
	if want.Content == "" && !want.Boot {
		want.Content = p.ct.ID
	}
	secret, _, err := p.Tokens().Create(want, time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	return secret
}

// do sends a request to the join listener and returns status and body.
func (p *point) do(t *testing.T, method, path, secret string, body any, header ...string) (int, []byte) {
	t.Helper()
	var send io.Reader
	switch b := body.(type) {
	case nil:
	case []byte:
		send = bytes.NewReader(b)
	default:
		j, err := json.Marshal(b)
		if err != nil {
			t.Fatal(err)
		}
		send = bytes.NewReader(j)
	}
	req, err := http.NewRequestWithContext(t.Context(), method, p.url+path, send)
	if err != nil {
		t.Fatal(err)
	}
	if secret != "" {
		req.Header.Set("Authorization", "Bearer "+secret)
	}
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	res, err := p.http.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res.StatusCode, b
}

// joins expects an admission.
func (p *point) joins(t *testing.T, req multicast.JoinRequest, header ...string) *multicast.Admission {
	t.Helper()
	status, body := p.do(t, http.MethodPost, multicast.PathJoin, "", req, header...)
	if status != http.StatusOK {
		t.Fatalf("join answered %d: %s", status, body)
	}
	adm := &multicast.Admission{}
	if err := json.Unmarshal(body, adm); err != nil {
		t.Fatal(err)
	}
	return adm
}

// refused expects a problem with that status and code.
func (p *point) refused(t *testing.T, status int, code, method, path, secret string, body any, header ...string) *protocol.Problem {
	t.Helper()
	got, b := p.do(t, method, path, secret, body, header...)
	var problem protocol.Problem
	if err := json.Unmarshal(b, &problem); err != nil {
		t.Fatalf("%s %s answered %d and no problem: %s", method, path, got, b)
	}
	if got != status || problem.Status != status || problem.Code != code || problem.Detail == "" || problem.Title == "" {
		t.Fatalf("%s %s answered %d %s; want status %d code %s", method, path, got, b, status, code)
	}
	return &problem
}

// eventually waits for a condition with a deadline.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); !ok(); {
		if time.Now().After(end) {
			t.Fatalf("did not happen: %s", what)
		}
		time.Sleep(10 * time.Millisecond)
	}
}

func wantCode(t *testing.T, err error, code string) {
	t.Helper()
	if p, ok := errors.AsType[*protocol.Problem](err); !ok || p.Code != code {
		t.Fatalf("error %v, want code %s", err, code)
	}
}
