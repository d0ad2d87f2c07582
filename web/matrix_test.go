package web

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"

	"castpoint/agent/protocol"
	"castpoint/deploy"
	"castpoint/internal/store"
	"castpoint/web/access"
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

// operation is one of the OpenAPI document.
type operation struct {
	id, method, path string
	scope            access.Scope
}

func operations(t *testing.T, s *Server) (all []operation) {
	t.Helper()
	text, err := s.api.Document(api.BuiltIn())
	if err != nil {
		t.Fatal(err)
	}
	var document struct {
		Paths map[string]map[string]struct {
			ID    string       `json:"operationId"`
			Scope access.Scope `json:"x-castpoint-scope"`
		}
	}
	if err := json.Unmarshal(text, &document); err != nil {
		t.Fatal(err)
	}
	parameter := regexp.MustCompile(`\{[^}]+\}`)
	seen := map[string]bool{}
	for path, methods := range document.Paths {
		for method, o := range methods {
			if _, err := access.ParseScope(string(o.Scope)); err != nil || o.ID == "" || seen[o.ID] {
				t.Errorf("%s %s is called %q and has the scope %q", method, path, o.ID, o.Scope)
			}
			seen[o.ID] = true
			all = append(all, operation{o.ID, strings.ToUpper(method), AdminPrefix + parameter.ReplaceAllString(path, "nothing"), o.Scope})
		}
	}
	if len(all) < 40 {
		t.Errorf("%d operations", len(all))
	}
	return all
}

// TestWhoMayDoWhat: each scope against each operation, and strangers against
// everything.
func TestWhoMayDoWhat(t *testing.T) {
	change, a := withAccess(t)
	p := newPoint(t, free, change)
	p.SetConsole(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { _, _ = io.WriteString(w, "console "+r.URL.Path) }))
	h := p.AdminServer("").Handler
	secrets := map[access.Scope]string{}
	for _, scope := range access.Scopes() {
		secret, _, err := a.CreateToken(t.Context(), string(scope), scope, 0, "test")
		if err != nil {
			t.Fatal(err)
		}
		secrets[scope] = secret
	}
	do := func(method, path, secret string) *httptest.ResponseRecorder {
		// A body that is no operation's: what is allowed ends early, with an error.
		r := httptest.NewRequestWithContext(t.Context(), method, path, strings.NewReader(`{"matrix":1}`))
		r.Host = "127.0.0.1:8069"
		r.Header.Set("Content-Type", "application/json")
		if secret != "" {
			r.Header.Set("Authorization", "Bearer "+secret)
		}
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		return w
	}
	for _, o := range operations(t, p.Server) {
		if o.id == "follow-events" || o.id == "follow-device" {
			continue // they go on for ever; TestStreamsAskToo has them
		}
		if w := do(o.method, o.path, ""); w.Code != http.StatusUnauthorized {
			t.Errorf("a stranger gets %d from %s", w.Code, o.id)
		}
		for scope, secret := range secrets {
			w := do(o.method, o.path, secret)
			var problem protocol.Problem
			if w.Code >= 400 {
				if err := json.Unmarshal(w.Body.Bytes(), &problem); err != nil || problem.Status != w.Code || problem.Title == "" || problem.Detail == "" || w.Header().Get("Content-Type") != "application/problem+json" {
					t.Errorf("%s: %d %q, %v", o.id, w.Code, w.Body, err)
				}
			}
			refused := w.Code == http.StatusForbidden && strings.Contains(problem.Detail, "needs the scope")
			if refused == scope.Allows(o.scope) || w.Code == http.StatusUnauthorized {
				t.Errorf("%s with scope %s: %d %s", o.id, scope, w.Code, w.Body)
			}
		}
	}
	for path, want := range map[string]int{
		"/": 303, "/devices/pc-1": 303, "/metrics": 401, AdminPrefix + "/": 401, AdminPrefix + "/nothing": 401, AdminPrefix + "/openapi.json": 401,
		access.PathLogin: 200, access.PathLogin + "/style.css": 200, "/logout": 303,
	} {
		if w := do(http.MethodGet, path, ""); w.Code != want {
			t.Errorf("a stranger gets %d from %s", w.Code, path)
		}
	}
	if w := do(http.MethodGet, "/metrics", secrets[access.Read]); w.Code != 200 || w.Body.String() != "metrics" {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	if w := do(http.MethodGet, "/x", secrets[access.Read]); w.Code != 200 || w.Body.String() != "console /x" {
		t.Errorf("%d %s", w.Code, w.Body)
	}
}

// TestEveryChangeIsRecorded: what somebody changed is in the audit log, and so is
// what was refused; secrets are not.
func TestEveryChangeIsRecorded(t *testing.T) {
	change, a := withAccess(t)
	p := newPoint(t, free, change)
	c := NewLocalClient(p.Server)
	var d deploy.Device
	if err := c.Call(t.Context(), "POST", "/devices", AddDevice{Name: "pc-1", MACs: []string{"52:54:00:00:00:01"}}, &d); err != nil {
		t.Fatal(err)
	}
	if err := c.Call(t.Context(), "POST", "/access/users", AddUser{Name: "ann", Password: "a secret of hers", Scope: access.Read}, nil); err != nil {
		t.Fatal(err)
	}
	wantStatus(t, c.Call(t.Context(), "DELETE", "/devices/nobody", nil, nil), 404)
	wantStatus(t, c.Call(t.Context(), "POST", "/devices", map[string]int{"x": 1}, nil), 422)
	wantStatus(t, c.Stream(t.Context(), "POST", "/contents", AddContent{Kind: "package", Path: "/nothing/there"}, nil, nil), 404)
	if err := c.Stream(t.Context(), "POST", "/contents/image/validate", nil, nil, new(any)); err != nil {
		t.Fatal(err)
	}
	var p2 AuditPage
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
	p := newPoint(t, free, change)
	for _, path := range []string{"/events", "/devices/x/events", "/sessions/x/events"} {
		r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, AdminPrefix+path, nil)
		r.Host = "localhost"
		w := httptest.NewRecorder()
		p.AdminServer("").Handler.ServeHTTP(w, r)
		if w.Code != http.StatusUnauthorized {
			t.Errorf("%s: %d", path, w.Code)
		}
	}
	c := NewLocalClient(p.Server)
	for _, path := range []string{"/devices/x/events", "/sessions/x/events"} {
		wantStatus(t, c.Follow(t.Context(), path, nil), 404)
	}
}
