package access

import (
	"crypto/rand"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
)

// provider is an identity provider in which everybody is logged in already.
type provider struct {
	*httptest.Server
	key    *rsa.PrivateKey
	claims map[string]any  // of who logs in, over the usual ones
	told   map[string]any  // what it says to those who ask
	forger *rsa.PrivateKey // signs in place of the provider; nil for nobody
	bare   bool            // ID tokens without a signature
	codes  map[string]url.Values
	t      *testing.T
}

func newProvider(t *testing.T) *provider {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	p := &provider{key: key, told: map[string]any{"sub": "17"}, codes: map[string]url.Values{}, t: t}
	mux := http.NewServeMux()
	p.Server = httptest.NewServer(mux)
	t.Cleanup(p.Close)
	answer := func(w http.ResponseWriter, v any) {
		w.Header().Set("Content-Type", "application/json")
		if err := json.NewEncoder(w).Encode(v); err != nil {
			t.Error(err)
		}
	}
	mux.HandleFunc("/.well-known/openid-configuration", func(w http.ResponseWriter, _ *http.Request) {
		answer(w, map[string]any{"issuer": p.URL, "authorization_endpoint": p.URL + "/auth", "token_endpoint": p.URL + "/token", "jwks_uri": p.URL + "/keys",
			"userinfo_endpoint": p.URL + "/userinfo", "scopes_supported": []string{"openid", "groups"}, "id_token_signing_alg_values_supported": []string{"RS256"}})
	})
	mux.HandleFunc("/keys", func(w http.ResponseWriter, _ *http.Request) {
		answer(w, jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: key.Public(), KeyID: "1", Algorithm: "RS256", Use: "sig"}}})
	})
	mux.HandleFunc("/userinfo", func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "Bearer a" {
			t.Errorf("asked with %q", r.Header.Get("Authorization"))
		}
		answer(w, p.told)
	})
	mux.HandleFunc("/auth", func(w http.ResponseWriter, r *http.Request) {
		if !strings.Contains(r.FormValue("scope"), "groups") {
			t.Errorf("scopes %q", r.FormValue("scope"))
		}
		p.codes["the-code"] = r.URL.Query()
		back := r.FormValue("redirect_uri") + "?" + url.Values{"code": {"the-code"}, "state": {r.FormValue("state")}}.Encode()
		http.Redirect(w, r, back, http.StatusFound)
	})
	mux.HandleFunc("/token", func(w http.ResponseWriter, r *http.Request) {
		asked, ok := p.codes[r.FormValue("code")]
		id, secret, _ := r.BasicAuth()
		if !ok || id != "castpoint" || secret != "the-secret" || r.FormValue("code_verifier") == "" || asked.Get("code_challenge_method") != "S256" {
			t.Errorf("token asked with %v", r.Form)
			http.Error(w, "no", http.StatusBadRequest)
			return
		}
		answer(w, map[string]any{"access_token": "a", "token_type": "Bearer", "id_token": p.sign(asked.Get("nonce"))})
	})
	return p
}

func (p *provider) sign(nonce string) string {
	claims := map[string]any{"iss": p.URL, "aud": "castpoint", "sub": "17", "preferred_username": "carol", "nonce": nonce,
		"iat": time.Now().Unix(), "exp": time.Now().Add(time.Minute).Unix(), "groups": []string{"staff", "castpoint-operators"}}
	for k, v := range p.claims {
		claims[k] = v
	}
	if p.bare {
		body, err := json.Marshal(claims)
		if err != nil {
			p.t.Fatal(err)
		}
		return base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"none"}`)) + "." + base64.RawURLEncoding.EncodeToString(body) + "."
	}
	key := p.key
	if p.forger != nil {
		key = p.forger
	}
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.RS256, Key: jose.JSONWebKey{Key: key, KeyID: "1"}}, nil)
	if err != nil {
		p.t.Fatal(err)
	}
	text, err := jwt.Signed(signer).Claims(claims).Serialize()
	if err != nil {
		p.t.Fatal(err)
	}
	return text
}

func TestOIDC(t *testing.T) {
	idp := newProvider(t)
	a, _, _ := open(t)
	mux := http.NewServeMux()
	server := httptest.NewServer((&Guard{Access: a}).Require(mux))
	defer server.Close()
	p, err := NewProvider(OIDC{Issuer: idp.URL, ClientID: "castpoint", ClientSecret: "the-secret", URL: server.URL,
		Groups: map[Scope][]string{Read: {"staff"}, Operate: {"castpoint-operators"}, Admin: {"castpoint-admins"}}})
	if err != nil {
		t.Fatal(err)
	}
	a.HandleLogin(mux, p)
	login := func(change func(*http.Client)) string {
		t.Helper()
		jar, _ := cookiejar.New(nil)
		c := &http.Client{Jar: jar, CheckRedirect: func(r *http.Request, _ []*http.Request) error {
			// The provider's pages are followed, this server's are looked at.
			if strings.HasPrefix(r.URL.String(), server.URL) && r.URL.Path != pathCallback {
				return http.ErrUseLastResponse
			}
			return nil
		}}
		if change != nil {
			change(c)
		}
		req, _ := http.NewRequestWithContext(t.Context(), http.MethodGet, server.URL+pathOIDC+"?next=/devices", nil)
		res, err := c.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		_ = res.Body.Close()
		c.CloseIdleConnections()
		who := ""
		for _, ck := range jar.Cookies(req.URL) {
			if ck.Name == "castpoint" {
				id, _, _ := a.bySession(t.Context(), ck.Value, here)
				who = id.Name + " " + string(id.Scope) + " " + id.How
			}
		}
		return res.Header.Get("Location") + " " + who
	}
	for name, c := range map[string]struct {
		claims map[string]any
		want   string
	}{
		"operator":         {nil, "/devices carol operate oidc"},
		"admin":            {map[string]any{"groups": []string{"castpoint-admins", "staff"}}, "/devices carol admin oidc"},
		"one group":        {map[string]any{"groups": "staff", "preferred_username": nil, "email": "c@x.example"}, "/devices c@x.example read oidc"},
		"nobody":           {map[string]any{"groups": []string{"*", "others"}}, "/login?failed=oidc&next=%2Fdevices "},
		"no groups":        {map[string]any{"groups": nil}, "/login?failed=oidc&next=%2Fdevices "},
		"another nonce":    {map[string]any{"nonce": "x"}, "/login?failed=oidc&next=%2Fdevices "},
		"another audience": {map[string]any{"aud": "x"}, "/login?failed=oidc&next=%2Fdevices "},
		"another issuer":   {map[string]any{"iss": "https://idp.invalid"}, "/login?failed=oidc&next=%2Fdevices "},
		"expired":          {map[string]any{"exp": 1}, "/login?failed=oidc&next=%2Fdevices "},
	} {
		idp.claims = c.claims
		if got := login(nil); got != c.want {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
	// Tokens that the provider has not signed.
	idp.claims = nil
	idp.forger, err = rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	for _, idp.bare = range []bool{false, true} {
		if got, want := login(nil), "/login?failed=oidc&next=%2Fdevices "; got != want {
			t.Errorf("not signed by the provider, without a signature %t: %q, want %q", idp.bare, got, want)
		}
	}
	idp.forger, idp.bare = nil, false
	// Groups that the provider tells when it is asked, of this person only.
	idp.claims = map[string]any{"groups": nil}
	for name, c := range map[string]struct {
		told map[string]any
		want string
	}{
		"told":           {map[string]any{"sub": "17", "groups": []string{"castpoint-admins"}, "preferred_username": "mallory"}, "/devices carol admin oidc"},
		"somebody else":  {map[string]any{"sub": "18", "groups": []string{"castpoint-admins"}}, "/login?failed=oidc&next=%2Fdevices "},
		"nobody in part": {map[string]any{"groups": []string{"castpoint-admins"}}, "/login?failed=oidc&next=%2Fdevices "},
	} {
		if idp.told = c.told; login(nil) != c.want {
			t.Errorf("%s: %q, want %q", name, login(nil), c.want)
		}
	}
	idp.claims = nil
	// The answer to somebody else's login: the browser has no cookie of it.
	if got := login(func(c *http.Client) { c.Jar = nil }); got != "/login?failed=oidc " {
		t.Errorf("without the cookie: %q", got)
	}
	// The provider keeps connections for its keys.
	p.cfg.Client.CloseIdleConnections()
	http.DefaultClient.CloseIdleConnections()
}

// A browser that has begun a login is not logged in by the answer to somebody else's, which
// a link may lead it to.
func TestOIDCAnswerOfAnotherBrowser(t *testing.T) {
	p, err := NewProvider(OIDC{Issuer: "https://idp.invalid", ClientID: "castpoint", URL: "https://castpoint.example", Groups: map[Scope][]string{Read: {"*"}}})
	if err != nil {
		t.Fatal(err)
	}
	until := time.Now().Add(time.Minute)
	p.pending["mine"], p.pending["theirs"] = attempt{until: until}, attempt{until: until}
	for _, c := range []struct {
		state, cookie string
		ok            bool
	}{{"theirs", "mine", false}, {"theirs", "", false}, {"", "", false}, {"nobody's", "nobody's", false}, {"mine", "mine", true}, {"mine", "mine", false}} {
		r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, pathCallback+"?state="+url.QueryEscape(c.state), nil)
		r.AddCookie(&http.Cookie{Name: "castpoint-login", Value: c.cookie})
		if _, err := p.take(r); (err == nil) != c.ok {
			t.Errorf("%+v: %v", c, err)
		}
	}
}

// Who comes back again and again from logins that are none does not push everything else
// out of the audit log, nor fill the disk.
func TestOIDCFailuresAreNotAllRecorded(t *testing.T) {
	a, _, _ := open(t)
	p, err := NewProvider(OIDC{Issuer: "https://idp.invalid", ClientID: "castpoint", URL: "https://castpoint.example", Groups: map[Scope][]string{Read: {"*"}}})
	if err != nil {
		t.Fatal(err)
	}
	mux := http.NewServeMux()
	a.HandleLogin(mux, p)
	for range 50 {
		p.mu.Lock()
		p.pending["s"] = attempt{until: time.Now().Add(time.Minute)}
		p.mu.Unlock()
		r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, pathCallback+"?state=s&error="+strings.Repeat("x", 9000), nil)
		r.AddCookie(&http.Cookie{Name: "castpoint-login", Value: "s"})
		w := httptest.NewRecorder()
		mux.ServeHTTP(w, r)
		if w.Code != http.StatusSeeOther {
			t.Fatal(w.Code, w.Body)
		}
	}
	list, _, err := a.Audit(t.Context(), 0, 100)
	if err != nil || len(list) != freeFailures {
		t.Fatalf("%d entries, %v", len(list), err)
	}
	if n := len(list[0].Error); n > auditText+len("...") {
		t.Errorf("an entry has an error of %d bytes", n)
	}
}

func TestOIDCWithoutProvider(t *testing.T) {
	p, err := NewProvider(OIDC{Issuer: "http://127.0.0.1:9", ClientID: "x", URL: "http://localhost", Groups: map[Scope][]string{Read: {"*"}}})
	if err != nil {
		t.Fatal(err)
	}
	w := httptest.NewRecorder()
	p.serveStart(w, httptest.NewRequestWithContext(t.Context(), http.MethodGet, pathOIDC, nil))
	if w.Code != http.StatusSeeOther || w.Header().Get("Location") != "/login?failed=server" {
		t.Errorf("%d %v", w.Code, w.Header())
	}
	for _, bad := range []OIDC{{}, {Issuer: "x", ClientID: "x", URL: "x"}, {Issuer: "x", ClientID: "x", URL: "x", Groups: map[Scope][]string{"all": {"x"}}}} {
		if _, err := NewProvider(bad); err == nil {
			t.Errorf("%+v was taken", bad)
		}
	}
}
