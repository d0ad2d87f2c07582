package point

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"castpoint/test/openapi"
	"castpoint/web/access"
	"castpoint/web/api"
)

// credential is what a request shows, and who that is.
type credential struct {
	name   string
	scope  access.Scope // "" for somebody who may nothing
	header []string
	csrf   bool // the request lacks the CSRF token that it needs
}

// credentials makes one of each kind.
func credentials(t *testing.T, p *apiPoint) []credential {
	t.Helper()
	bearer := func(secret string) []string { return []string{"Authorization", "Bearer " + secret} }
	list := []credential{
		{name: "nobody"},
		{name: "a token that nobody made", header: bearer("castpoint_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA")},
		{name: "an empty token", header: bearer("")},
		{name: "another scheme", header: []string{"Authorization", "Basic cm9vdDpyb290"}},
		{name: "a cookie that nobody made", header: []string{"Cookie", "castpoint=AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"}},
		{name: "the host's administrator", scope: access.Admin, header: bearer(p.adminToken)},
	}
	a := p.kept.access
	make := func(name string, scope access.Scope, ttl time.Duration) string {
		secret, _, err := a.CreateToken(t.Context(), name, scope, ttl, "test")
		if err != nil {
			t.Fatal(err)
		}
		return secret
	}
	for _, scope := range access.Scopes() {
		list = append(list, credential{name: "token " + string(scope), scope: scope, header: bearer(make(string(scope), scope, 0))})
		user := "user-" + string(scope)
		if _, err := a.AddUser(t.Context(), user, "a long password", scope); err != nil {
			t.Fatal(err)
		}
		s, err := a.Login(t.Context(), user, "a long password", access.RemoteAddr(&http.Request{RemoteAddr: "127.0.0.1:1"}))
		if err != nil {
			t.Fatal(err)
		}
		cookie := []string{"Cookie", "castpoint=" + s.Secret}
		list = append(list,
			credential{name: "session " + string(scope), scope: scope, header: append([]string{access.HeaderCSRF, s.CSRF}, cookie...)},
			credential{name: "session " + string(scope) + " without CSRF token", scope: scope, header: cookie, csrf: true},
			credential{name: "session " + string(scope) + " with another's CSRF token", scope: scope, header: append([]string{access.HeaderCSRF, "AAAA"}, cookie...), csrf: true},
		)
	}
	revoked := make("revoked", access.Admin, 0)
	if _, err := a.RevokeToken(t.Context(), "revoked"); err != nil {
		t.Fatal(err)
	}
	if _, err := a.AddUser(t.Context(), "gone", "a long password", access.Admin); err != nil {
		t.Fatal(err)
	}
	s, err := a.Login(t.Context(), "gone", "a long password", access.RemoteAddr(&http.Request{RemoteAddr: "127.0.0.1:1"}))
	if err != nil {
		t.Fatal(err)
	}
	if err := a.Logout(t.Context(), s.Secret); err != nil {
		t.Fatal(err)
	}
	expired := make("expired", access.Admin, time.Second)
	eventually(t, "the token expires", func() bool {
		res := p.send(t.Context(), t, request{method: http.MethodGet, path: "/access/self", header: bearer(expired)}, "")
		_ = res.Body.Close()
		return res.StatusCode == http.StatusUnauthorized
	})
	return append(list,
		credential{name: "a revoked token", header: bearer(revoked)},
		credential{name: "an expired token", header: bearer(expired)},
		credential{name: "a session that was logged out", header: []string{"Cookie", "castpoint=" + s.Secret, access.HeaderCSRF, s.CSRF}},
	)
}

// TestWhoMayDoWhat: each credential against each operation that the running server has.
// Requests have a parameter that does not exist, so that whoever may call the operation
// is refused for that, and nothing is done.
func TestWhoMayDoWhat(t *testing.T) {
	p := newAPIPoint(t, t.TempDir(), "")
	res := p.send(t.Context(), t, request{method: http.MethodGet, path: "/openapi.json"}, p.adminToken)
	text, err := io.ReadAll(res.Body)
	_ = res.Body.Close()
	if err != nil {
		t.Fatal(err)
	}
	_, all, err := openapi.Parse(text)
	if err != nil || len(all) < 80 {
		t.Fatalf("%d operations, %v", len(all), err)
	}
	// What the document says of an operation is what the code says. These are said by hand.
	const admin = "show-recovery list-audit add-user set-user remove-user list-users create-access-token revoke-access-token list-access-tokens lift-lockout list-lockouts " +
		"add-content import-content receive-content upload-content update-content attach-content repair-content set-content remove-content collect-garbage set-log-level reload"
	const forReaders = "change-own-password explain check-sequence"
	for id, o := range all {
		want := access.Operate
		switch {
		case slices.Contains(strings.Fields(admin), id):
			want = access.Admin
		case o.Method == http.MethodGet && id != "export-content" || slices.Contains(strings.Fields(forReaders), id):
			want = access.Read
		}
		if access.Scope(o.Scope) != want {
			t.Errorf("%s is for scope %s, want %s", id, o.Scope, want)
		}
	}
	list := credentials(t, p)
	rank := map[access.Scope]int{access.Read: 1, access.Operate: 2, access.Admin: 3} // not what the code says of it
	for id, o := range all {
		path := strings.NewReplacer("{", "", "}", "").Replace(o.Path) + "?frobnicate=1"
		ask := func(header []string, host string) (int, string) {
			r := request{method: o.Method, path: path, kind: o.Takes(), header: header, host: host}
			if r.kind != "" {
				r.body = []byte("{}")
			}
			res := p.send(t.Context(), t, r, "")
			defer res.Body.Close()
			b, err := io.ReadAll(res.Body)
			if err != nil {
				t.Fatal(err)
			}
			var problem struct {
				Status                 int
				Detail, Title, Request string
			}
			if err := json.Unmarshal(b, &problem); err != nil || problem.Status != res.StatusCode || problem.Request != res.Header.Get(api.HeaderRequest) {
				t.Errorf("%s: %d %s, %v", id, res.StatusCode, b, err)
			}
			return res.StatusCode, problem.Detail
		}
		for _, c := range list {
			want, says := http.StatusUnprocessableEntity, "frobnicate"
			switch {
			case c.scope == "":
				want, says = http.StatusUnauthorized, "does not know who asks"
			case c.csrf && o.Method != http.MethodGet:
				want, says = http.StatusForbidden, "CSRF"
			case rank[c.scope] < rank[access.Scope(o.Scope)] || rank[access.Scope(o.Scope)] == 0:
				want, says = http.StatusForbidden, "needs the scope "+o.Scope
			}
			if got, detail := ask(c.header, ""); got != want || !strings.Contains(detail, says) {
				t.Errorf("%s by %s: %d %s, want %d and %q", id, c.name, got, detail, want, says)
			}
			if c.scope != access.Admin || c.csrf {
				continue
			}
			if got, _ := ask(c.header, "castpoint.elsewhere.example"); got != http.StatusMisdirectedRequest {
				t.Errorf("%s by %s, under another name: %d", id, c.name, got)
			}
			for _, origin := range []string{"https://elsewhere.example", "null", p.url + "0"} {
				if got, _ := ask(append([]string{"Origin", origin}, c.header...), ""); got != http.StatusForbidden {
					t.Errorf("%s by %s, from a page of %s: %d", id, c.name, origin, got)
				}
			}
			if got, _ := ask(append([]string{"Sec-Fetch-Site", "cross-site"}, c.header...), ""); got != http.StatusForbidden && o.Method != http.MethodGet {
				t.Errorf("%s by %s, from a page of another site: %d", id, c.name, got)
			}
		}
	}
}

// TestStrangers: who shows nothing gets the login page, its style sheet, and nothing
// else, by whatever way a path is written.
func TestStrangers(t *testing.T) {
	p := newAPIPoint(t, t.TempDir(), "")
	paths := []string{
		"/", "/devices", "/devices/pc-1", "/contents", "/sessions", "/settings", "/docs", "/docs/api", "/static/style.css", "/static/live.js", "/favicon.ico", "/robots.txt",
		"/metrics", "/metrics/", "/metrics%2f", "/Metrics", "/metrics;x=1", "//metrics", "/./metrics", "/%6detrics", "/debug/pprof/", "/api", "/api/", "/api/v1", "/api/v1/", "/api/v2/status",
		"/api/v1/status", "/api//v1/status", "/api/v1/status/", "/api/v1/%73tatus", "/api%2fv1%2fstatus", "/api/v1/status?token=x", "/api/v1/openapi.json", "/api/v1/events", "/api/v1/devices/x/events",
		"/login/../api/v1/status", "/login/../metrics", "/login/%2e%2e/metrics", "/login/..%2fmetrics", "/login%2f..%2fmetrics", "/login/./../metrics", "/login//../metrics", "/login/..;/metrics", `/login/..\\metrics`,
		"/login/nothing", "/login/style.css/../../metrics", "/loginx", "/login.css", "/logout", "/events",
	}
	if o, _, err := operationsOf(p); err == nil {
		paths = append(paths, o...)
	}
	opened := map[string]bool{"/login": true}
	for _, method := range []string{"GET", "HEAD", "OPTIONS", "POST", "PUT", "PATCH", "DELETE", "TRACE", "CONNECT", "PROPFIND", "get"} {
		for _, path := range paths {
			status, header, body := raw(t, p, method, path)
			switch {
			case status == http.StatusUnauthorized, status == http.StatusMisdirectedRequest, status == http.StatusBadRequest, status == http.StatusMethodNotAllowed:
			case status == http.StatusSeeOther && strings.HasPrefix(header.Get("Location"), "/login"):
			case status == http.StatusNotFound && strings.HasPrefix(path, "/login/"):
			case (status == http.StatusMovedPermanently || status == http.StatusTemporaryRedirect) && method != "CONNECT":
				// The path without its detours, which is asked for anew.
				if to := header.Get("Location"); strings.Contains(to, "..") || strings.Contains(body, "castpoint_") {
					t.Errorf("%s %s leads to %s", method, path, to)
				}
			default:
				t.Errorf("a stranger gets %d from %s %s: %.200s", status, method, path, body)
			}
			for _, leak := range []string{"castpoint_build_info", "\"paths\"", "interface", p.data, "<table"} {
				if strings.Contains(body, leak) {
					t.Errorf("%s %s tells a stranger %q: %.300s", method, path, leak, body)
				}
			}
		}
	}
	for path := range opened {
		if status, _, body := raw(t, p, "GET", path); status != http.StatusOK || !strings.Contains(body, "password") {
			t.Errorf("the login page: %d %.200s", status, body)
		}
	}
	if status, _, _ := raw(t, p, "OPTIONS", "*"); status != http.StatusUnauthorized {
		t.Errorf("OPTIONS *: %d", status)
	}
}

// operationsOf are the paths of all operations.
func operationsOf(p *apiPoint) (paths []string, all map[string]*openapi.Operation, err error) {
	text, err := p.document()
	if err != nil {
		return nil, nil, err
	}
	_, all, err = openapi.Parse(text)
	for _, o := range all {
		paths = append(paths, api.Prefix+strings.NewReplacer("{", "", "}", "").Replace(o.Path))
	}
	return paths, all, err
}

// document is the OpenAPI document of the listener.
func (p *apiPoint) document() ([]byte, error) {
	req, err := http.NewRequestWithContext(context.Background(), http.MethodGet, p.url+api.Prefix+"/openapi.json", nil)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Authorization", "Bearer "+p.adminToken)
	res, err := p.client.Do(req)
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	return io.ReadAll(res.Body)
}

// raw sends a request as it is written: clients would clean its path.
func raw(t *testing.T, p *apiPoint, method, path string) (status int, header http.Header, body string) {
	t.Helper()
	address := strings.TrimPrefix(p.url, "http://")
	conn, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(20 * time.Second))
	if _, err := fmt.Fprintf(conn, "%s %s HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n\r\n", method, path, address); err != nil {
		t.Fatal(err)
	}
	res, err := http.ReadResponse(bufio.NewReader(conn), &http.Request{Method: method})
	if err != nil {
		t.Fatalf("%s %s: %v", method, path, err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatalf("%s %s: %v", method, path, err)
	}
	return res.StatusCode, res.Header, string(b)
}
