package access

import (
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/oauth2-proxy/mockoidc"
)

// TestOIDCForeignProvider logs in at a provider that is not castpoint's: the code flow
// with PKCE, state and nonce, tokens signed with a key that it publishes, and groups that
// it tells to those only who ask for the scope groups.
func TestOIDCForeignProvider(t *testing.T) {
	idp, err := mockoidc.Run()
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = idp.Shutdown() }()
	a, _, _ := open(t)
	mux := http.NewServeMux()
	server := httptest.NewServer((&Guard{Access: a}).Require(mux))
	defer server.Close()
	p, err := NewProvider(OIDC{Issuer: idp.Issuer(), ClientID: idp.ClientID, ClientSecret: idp.ClientSecret, URL: server.URL,
		Groups: map[Scope][]string{Operate: {"technicians"}, Admin: {"castpoint-admins"}}})
	if err != nil {
		t.Fatal(err)
	}
	a.HandleLogin(mux, p)
	// login begins a login, changes the address that the provider sends the browser to,
	// and says who is logged in then.
	login := func(user *mockoidc.MockUser, change func(back string) string) (who, failed string) {
		t.Helper()
		idp.QueueUser(user)
		jar, err := cookiejar.New(nil)
		if err != nil {
			t.Fatal(err)
		}
		c := &http.Client{Jar: jar, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
		defer c.CloseIdleConnections()
		at := server.URL + pathOIDC
		for range 4 {
			req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, at, nil)
			if err != nil {
				t.Fatal(err)
			}
			res, err := c.Do(req)
			if err != nil {
				t.Fatal(err)
			}
			_ = res.Body.Close()
			at = res.Header.Get("Location")
			if strings.HasPrefix(at, server.URL+pathCallback) && change != nil {
				at = change(at)
			}
			if strings.HasPrefix(at, "/") || at == "" {
				break
			}
		}
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, server.URL+"/", nil)
		if err != nil {
			t.Fatal(err)
		}
		for _, ck := range jar.Cookies(req.URL) {
			if ck.Name == "castpoint" {
				id, _, _ := a.bySession(t.Context(), ck.Value, here)
				who = id.Name + " " + string(id.Scope) + " " + id.How
			}
		}
		return who, at
	}
	ann := &mockoidc.MockUser{Subject: "1", PreferredUsername: "ann", Groups: []string{"everybody", "castpoint-admins"}}
	bob := &mockoidc.MockUser{Subject: "2", Email: "bob@lab.example", Groups: []string{"technicians"}}
	if who, at := login(ann, nil); who != "ann admin oidc" || at != "/" {
		t.Errorf("%q, %s", who, at)
	}
	if who, at := login(bob, nil); who != "bob@lab.example operate oidc" || at != "/" {
		t.Errorf("%q, %s", who, at)
	}
	refused := func(what string, user *mockoidc.MockUser, change func(string) string) {
		t.Helper()
		if who, at := login(user, change); who != "" || !strings.HasPrefix(at, "/login?failed=oidc") {
			t.Errorf("%s: %q, %s", what, who, at)
		}
	}
	refused("nobody's group", &mockoidc.MockUser{Subject: "3", PreferredUsername: "eve", Groups: []string{"guests"}}, nil)
	refused("no group", &mockoidc.MockUser{Subject: "4", PreferredUsername: "eve"}, nil)
	refused("another state", ann, func(back string) string { return back + "x" })
	refused("another code", ann, func(back string) string { return strings.Replace(back, "code=", "code=x", 1) })
	refused("another PKCE verifier", ann, func(back string) string {
		p.mu.Lock()
		defer p.mu.Unlock()
		for state, one := range p.pending {
			one.verifier = strings.Repeat("x", 43)
			p.pending[state] = one
		}
		return back
	})
	refused("another nonce", ann, func(back string) string {
		p.mu.Lock()
		defer p.mu.Unlock()
		for state, one := range p.pending {
			one.nonce = "x"
			p.pending[state] = one
		}
		return back
	})
	idp.FastForward(-24 * time.Hour)
	refused("a token of yesterday", ann, nil)
	idp.FastForward(24 * time.Hour)
	idp.QueueError(&mockoidc.ServerError{Code: http.StatusBadRequest, Error: "access_denied", Description: "not today"})
	if who, _ := login(ann, nil); who != "" {
		t.Errorf("%q is in although the provider says no", who)
	}
	p.cfg.Client.CloseIdleConnections()
	http.DefaultClient.CloseIdleConnections()
}
