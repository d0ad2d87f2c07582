package web

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"castpoint/deploy"
	"castpoint/internal/store"
	samples "castpoint/test/contents"
	"castpoint/web/access"
	"castpoint/web/admin/accounts"
	"castpoint/web/admin/contents"
	"castpoint/web/admin/devices"
	"castpoint/web/api"
)

// withAccess adds users and tokens to a point that keeps records.
func withAccess(t *testing.T) (change func(*Config), a *access.Access) {
	t.Helper()
	s, err := store.Open(t.Context(), t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	if a, err = access.Open(t.Context(), access.Config{Store: s}); err != nil {
		t.Fatal(err)
	}
	devices := withDevices(t, deploy.PolicyServe)
	return func(c *Config) {
		devices(c)
		c.Access = a
		c.Metrics = http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "metrics") })
	}, a
}

// TestEveryChangeIsRecorded: what somebody changed is in the audit log, and so is
// what was refused; secrets are not.
func TestEveryChangeIsRecorded(t *testing.T) {
	change, a := withAccess(t)
	p := newPoint(t, samples.Free, change)
	c := p.Client()
	var d deploy.Device
	if err := c.Call(t.Context(), "POST", "/devices", devices.AddDevice{Name: "pc-1", MACs: []string{"52:54:00:00:00:01"}}, &d); err != nil {
		t.Fatal(err)
	}
	if err := c.Call(t.Context(), "POST", "/access/users", accounts.AddUser{Name: "ann", Password: "a secret of hers", Scope: access.Read}, nil); err != nil {
		t.Fatal(err)
	}
	wantStatus(t, c.Call(t.Context(), "DELETE", "/devices/nobody", nil, nil), 404)
	wantStatus(t, c.Call(t.Context(), "POST", "/devices", map[string]int{"x": 1}, nil), 422)
	wantStatus(t, c.Stream(t.Context(), "POST", "/contents", contents.AddContent{Kind: "package", Path: "/nothing/there"}, nil, nil), 404)
	if err := c.Stream(t.Context(), "POST", "/contents/image/validate", nil, nil, new(any)); err != nil {
		t.Fatal(err)
	}
	var p2 accounts.AuditPage
	if err := c.Call(t.Context(), "GET", "/audit", nil, &p2); err != nil {
		t.Fatal(err)
	}
	var lines []string
	for _, e := range p2.Entries {
		lines = append(lines, strings.Join([]string{e.Who, e.How, e.Action, e.Target, http.StatusText(e.Status)}, " "))
	}
	want := []string{
		"root socket validate-content /contents/image/validate OK",
		"root socket add-content /contents Not Found",
		"root socket add-device /devices Unprocessable Entity",
		"root socket remove-device /devices/nobody Not Found",
		"root socket add-user /access/users Created",
		"root socket add-device /devices Created",
	}
	if got := strings.Join(lines, "\n"); got != strings.Join(want, "\n") {
		t.Errorf("got\n%s\nwant\n%s", got, strings.Join(want, "\n"))
	}
	if text, _ := json.Marshal(p2); strings.Contains(string(text), "a secret of hers") || !strings.Contains(string(text), "pc-1 ("+d.ID+")") {
		t.Errorf("%s", text)
	}
	_ = a
}

// TestStreamsAskToo: streams are refused before they begin.
func TestStreamsAskToo(t *testing.T) {
	change, _ := withAccess(t)
	p := newPoint(t, samples.Free, change)
	for _, path := range []string{"/events", "/devices/x/events", "/sessions/x/events"} {
		r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, api.Prefix+path, nil)
		r.Host = "localhost"
		w := httptest.NewRecorder()
		p.AdminServer("").Handler.ServeHTTP(w, r)
		if w.Code != http.StatusUnauthorized {
			t.Errorf("%s: %d", path, w.Code)
		}
	}
	c := p.Client()
	for _, path := range []string{"/devices/x/events", "/sessions/x/events"} {
		wantStatus(t, c.Follow(t.Context(), path, nil), 404)
	}
}
