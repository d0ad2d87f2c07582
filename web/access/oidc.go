package access

import (
	"context"
	"crypto/subtle"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"go.uber.org/zap"
	"golang.org/x/oauth2"
)

// Paths of OIDC, below the login page.
const (
	pathOIDC     = PathLogin + "/oidc"
	pathCallback = PathLogin + "/callback"
)

// OIDC names an identity provider.
type OIDC struct {
	Issuer       string
	ClientID     string
	ClientSecret string
	// URL is how browsers reach this server, as in https://castpoint.example:8069;
	// the provider sends them back to URL/login/callback.
	URL string
	// Claim has the groups of a person; "" is groups.
	Claim string
	// Groups give scopes; the highest that fits counts. The group "*" is everybody
	// that the provider knows.
	Groups map[Scope][]string
	Client *http.Client // nil is the usual one
	Log    *zap.Logger
}

// Provider is an identity provider. It is asked when the first person logs in, so
// this server starts without it.
type Provider struct {
	cfg OIDC
	log *zap.Logger

	mu      sync.Mutex
	found   *oidc.Provider
	pending map[string]attempt // by state

	failed lockout // of addresses: what they do wrong again and again is not all recorded
}

// attempt is a login that is on its way through the provider.
type attempt struct {
	nonce, verifier, next string
	until                 time.Time
}

// Limits of logins that are on their way.
const (
	attemptTime = 10 * time.Minute
	maxAttempts = 1024
	askTime     = 15 * time.Second // for one request to the provider
)

// NewProvider checks the settings.
func NewProvider(cfg OIDC) (*Provider, error) {
	if cfg.Issuer == "" || cfg.ClientID == "" || cfg.URL == "" {
		return nil, errors.New("OIDC needs an issuer, a client id and the URL of this server")
	}
	for scope := range cfg.Groups {
		if _, err := ParseScope(string(scope)); err != nil {
			return nil, err
		}
	}
	if len(cfg.Groups) == 0 {
		return nil, errors.New("OIDC: say which groups have which scope, or nobody can log in")
	}
	if cfg.Claim == "" {
		cfg.Claim = "groups"
	}
	if cfg.Client == nil {
		cfg.Client = &http.Client{Timeout: askTime}
	}
	if cfg.Log == nil {
		cfg.Log = zap.NewNop()
	}
	return &Provider{cfg: cfg, log: cfg.Log, pending: make(map[string]attempt), failed: lockout{now: time.Now}}, nil
}

// discover asks the provider for its addresses and keys, once it answers.
func (p *Provider) discover(ctx context.Context) (*oidc.Provider, *oauth2.Config, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.found == nil {
		// The provider keeps the context for the keys it fetches later.
		found, err := oidc.NewProvider(oidc.ClientContext(context.WithoutCancel(ctx), p.cfg.Client), p.cfg.Issuer)
		if err != nil {
			return nil, nil, fmt.Errorf("ask the identity provider %s: %w", p.cfg.Issuer, err)
		}
		p.found = found
	}
	scopes := []string{oidc.ScopeOpenID, "profile", "email"}
	var offers struct {
		Scopes []string `json:"scopes_supported"`
	}
	// Some providers tell groups only to those who ask for them.
	if p.found.Claims(&offers) == nil && slices.Contains(offers.Scopes, "groups") {
		scopes = append(scopes, "groups")
	}
	return p.found, &oauth2.Config{
		ClientID: p.cfg.ClientID, ClientSecret: p.cfg.ClientSecret, Endpoint: p.found.Endpoint(),
		RedirectURL: strings.TrimSuffix(p.cfg.URL, "/") + pathCallback, Scopes: scopes,
	}, nil
}

// stateCookie binds a login to the browser that began it.
func stateCookie(r *http.Request, state string, maxAge int) *http.Cookie {
	return &http.Cookie{Name: "castpoint-login", Value: state, Path: PathLogin, MaxAge: maxAge, Secure: r.TLS != nil, HttpOnly: true, SameSite: http.SameSiteLaxMode}
}

func (p *Provider) serveStart(w http.ResponseWriter, r *http.Request) {
	_, o, err := p.discover(r.Context())
	if err != nil {
		p.log.Error("OIDC login not possible", zap.Error(err))
		backToLogin(w, r, FailedServer, r.FormValue(FieldNext))
		return
	}
	state, _ := newSecret()
	nonce, _ := newSecret()
	one := attempt{nonce: nonce, verifier: oauth2.GenerateVerifier(), next: r.FormValue(FieldNext), until: time.Now().Add(attemptTime)}
	p.mu.Lock()
	for s, other := range p.pending {
		if time.Now().After(other.until) || len(p.pending) >= maxAttempts {
			delete(p.pending, s)
		}
	}
	p.pending[state] = one
	p.mu.Unlock()
	http.SetCookie(w, stateCookie(r, state, int(attemptTime.Seconds())))
	http.Redirect(w, r, o.AuthCodeURL(state, oidc.Nonce(nonce), oauth2.S256ChallengeOption(one.verifier)), http.StatusFound)
}

// take uses up the attempt that a callback belongs to.
func (p *Provider) take(r *http.Request) (attempt, error) {
	state := r.FormValue("state")
	c, err := r.Cookie("castpoint-login")
	if err != nil || state == "" || subtle.ConstantTimeCompare([]byte(c.Value), []byte(state)) != 1 {
		return attempt{}, errors.New("the answer belongs to no login of this browser")
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	one, ok := p.pending[state]
	delete(p.pending, state)
	if !ok || time.Now().After(one.until) {
		return attempt{}, errors.New("the login took too long")
	}
	return one, nil
}

func (p *Provider) serveCallback(a *Access, w http.ResponseWriter, r *http.Request) {
	http.SetCookie(w, stateCookie(r, "", -1))
	one, err := p.take(r)
	var name string
	var scope Scope
	if err == nil {
		name, scope, err = p.exchange(r, one)
	}
	var s *Session
	if err == nil {
		a.mu.Lock()
		s, err = a.begin(r.Context(), name, HowOIDC, scope, RemoteAddr(r))
		a.mu.Unlock()
	}
	entry := Entry{Who: name, How: HowOIDC, Remote: RemoteAddr(r).String(), Action: "login", Status: http.StatusOK}
	if err != nil {
		entry.Status, entry.Error = http.StatusUnauthorized, err.Error()
		// Anybody can come back from a login that is none, as often as he likes: it would
		// push everything else out of the audit log.
		if p.failed.locked(entry.Remote, RemoteAddr(r)).IsZero() {
			p.failed.fail(entry.Remote, RemoteAddr(r))
			a.Record(r.Context(), entry)
		}
		p.log.Warn("OIDC login failed", zap.String("by", name), zap.Error(err))
		backToLogin(w, r, FailedOIDC, one.next)
		return
	}
	a.Record(r.Context(), entry)
	setSession(w, r, s)
	http.Redirect(w, r, localPath(one.next), http.StatusSeeOther)
}

// exchange learns who it is, and what that person may do.
func (p *Provider) exchange(r *http.Request, one attempt) (name string, scope Scope, err error) {
	if e := r.FormValue("error"); e != "" {
		return "", "", fmt.Errorf("the provider says %q: %q", e, r.FormValue("error_description"))
	}
	found, o, err := p.discover(r.Context())
	if err != nil {
		return "", "", err
	}
	ctx, cancel := context.WithTimeout(oidc.ClientContext(r.Context(), p.cfg.Client), askTime)
	defer cancel()
	token, err := o.Exchange(ctx, r.FormValue("code"), oauth2.VerifierOption(one.verifier))
	if err != nil {
		return "", "", fmt.Errorf("exchange the provider's code: %w", err)
	}
	raw, ok := token.Extra("id_token").(string)
	if !ok {
		return "", "", errors.New("the provider gave no ID token")
	}
	id, err := found.Verifier(&oidc.Config{ClientID: p.cfg.ClientID}).Verify(ctx, raw)
	if err != nil {
		return "", "", err
	}
	if subtle.ConstantTimeCompare([]byte(id.Nonce), []byte(one.nonce)) != 1 {
		return "", "", errors.New("the ID token is for another login")
	}
	var claims map[string]any
	if err := id.Claims(&claims); err != nil {
		return "", "", fmt.Errorf("read the ID token: %w", err)
	}
	if claims[p.cfg.Claim] == nil && found.UserInfoEndpoint() != "" {
		if claims, err = moreClaims(ctx, found, token, id.Subject, claims); err != nil {
			return "", "", err
		}
	}
	for _, key := range []string{"preferred_username", "email", "sub"} {
		if text, ok := claims[key].(string); ok && checkName("user", text) == nil {
			name = text
			break
		}
	}
	if scope = p.scope(claims[p.cfg.Claim]); name == "" || scope == "" {
		return name, "", fmt.Errorf("no group of %q has a scope here (claim %s)", name, p.cfg.Claim)
	}
	return name, scope, nil
}

// moreClaims asks the provider for what the ID token does not say. The token goes before.
func moreClaims(ctx context.Context, found *oidc.Provider, token *oauth2.Token, subject string, claims map[string]any) (map[string]any, error) {
	info, err := found.UserInfo(ctx, oauth2.StaticTokenSource(token))
	if err != nil {
		return nil, fmt.Errorf("ask the provider who that is: %w", err)
	}
	// Another subject is somebody else's answer (OpenID Connect Core 5.3.2).
	if info.Subject != subject {
		return nil, fmt.Errorf("the provider tells of %q, and the ID token is for %q", info.Subject, subject)
	}
	more := make(map[string]any)
	if err := info.Claims(&more); err != nil {
		return nil, fmt.Errorf("read what the provider tells: %w", err)
	}
	for name, value := range claims {
		if value != nil {
			more[name] = value
		}
	}
	return more, nil
}

// scope is the highest that a claim's groups give, "" for none.
func (p *Provider) scope(claim any) Scope {
	groups := []string{"*"}
	switch c := claim.(type) {
	case string:
		groups = append(groups, c)
	case []any:
		for _, g := range c {
			if text, ok := g.(string); ok && text != "*" {
				groups = append(groups, text)
			}
		}
	}
	for _, scope := range slices.Backward(Scopes()) {
		for _, g := range p.cfg.Groups[scope] {
			if slices.Contains(groups, g) {
				return scope
			}
		}
	}
	return ""
}
