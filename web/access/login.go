package access

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"path"
	"strings"

	"go.uber.org/zap"

	"castpoint/agent/protocol"
)

// refusal makes a problem of this package.
func refusal(status int, hint, format string, args ...any) *protocol.Problem {
	return &protocol.Problem{Status: status, Title: http.StatusText(status), Detail: fmt.Sprintf(format, args...), Hint: hint, Code: protocol.CodeRefused}
}

// PathLogout ends a session.
const PathLogout = "/logout"

// Fields of the login form.
const (
	FieldUser     = "user"
	FieldPassword = "password"
	// FieldNext is the path that is shown after the login; it is a parameter of
	// the login page as well.
	FieldNext = "next"
	// FieldFailed is the parameter of the login page that says why it is shown
	// again: one of Failed....
	FieldFailed = "failed"
)

// Why the login page is shown again.
const (
	FailedDenied = "denied" // the name or the password is wrong
	FailedLocked = "locked" // too many failures: wait some minutes
	FailedOIDC   = "oidc"   // the identity provider did not say who it is, or nobody that may enter
	FailedServer = "server" // the log of the server says why
)

// HandleLogin adds to the paths of a listener those that take the login form, end
// sessions, and go the ways of OIDC when there is a provider:
//
//	POST /login           user, password, next
//	POST /logout
//	GET  /login/oidc      next
//	GET  /login/callback  from the provider
//
// The page itself, GET /login, belongs to the console. It shows the form, the
// reason of FieldFailed, and a link to /login/oidc when provider is not nil.
func (a *Access) HandleLogin(mux *http.ServeMux, provider *Provider) {
	mux.HandleFunc("POST "+PathLogin, a.serveLogin)
	mux.HandleFunc("POST "+PathLogout, a.serveLogout)
	if provider != nil {
		mux.HandleFunc("GET "+pathOIDC, provider.serveStart)
		mux.HandleFunc("GET "+pathCallback, func(w http.ResponseWriter, r *http.Request) { provider.serveCallback(a, w, r) })
	}
}

func (a *Access) serveLogin(w http.ResponseWriter, r *http.Request) {
	r.Body = http.MaxBytesReader(w, r.Body, maxForm)
	name, next := r.PostFormValue(FieldUser), r.PostFormValue(FieldNext)
	entry := Entry{Who: name[:min(len(name), maxName)], How: HowPassword, Remote: RemoteAddr(r).String(), Action: "login", Status: http.StatusOK}
	s, err := a.Login(r.Context(), name, r.PostFormValue(FieldPassword), RemoteAddr(r))
	if err != nil {
		why := FailedServer
		entry.Status = http.StatusInternalServerError
		if errors.Is(err, ErrDenied) {
			why, entry.Status = FailedDenied, http.StatusUnauthorized
		} else if _, ok := errors.AsType[*LockedError](err); ok {
			why, entry.Status = FailedLocked, http.StatusTooManyRequests
		} else {
			a.log.Error("login not possible", zap.Error(err))
		}
		entry.Error = err.Error()
		// Attempts while it is locked are counted by the log of requests only: they
		// would push everything else out of the audit log.
		if why != FailedLocked {
			a.Record(r.Context(), entry)
		}
		backToLogin(w, r, why, next)
		return
	}
	a.Record(r.Context(), entry)
	setSession(w, r, s)
	http.Redirect(w, r, localPath(next), http.StatusSeeOther)
}

func (a *Access) serveLogout(w http.ResponseWriter, r *http.Request) {
	if c, err := r.Cookie(cookieName(r)); err == nil {
		if err := a.Logout(r.Context(), c.Value); err != nil {
			a.log.Error("logout not possible", zap.Error(err))
			http.Error(w, "logout not possible: "+err.Error(), http.StatusInternalServerError)
			return
		}
		if id, ok := From(r.Context()); ok {
			a.Record(r.Context(), Entry{Who: id.Name, How: id.How, Remote: id.Remote.String(), Action: "logout", Status: http.StatusOK})
		}
	}
	http.SetCookie(w, cookie(r, "", -1))
	http.Redirect(w, r, PathLogin, http.StatusSeeOther)
}

// backToLogin shows the login page again.
func backToLogin(w http.ResponseWriter, r *http.Request, why, next string) {
	q := url.Values{FieldFailed: {why}}
	if next != "" {
		q.Set(FieldNext, localPath(next))
	}
	http.Redirect(w, r, PathLogin+"?"+q.Encode(), http.StatusSeeOther)
}

// localPath makes sure that a login leads to no other site.
func localPath(next string) string {
	u, err := url.Parse(next)
	if err != nil || u.IsAbs() || u.Host != "" || !strings.HasPrefix(u.Path, "/") || strings.ContainsAny(next, "\\\r\n") {
		return "/"
	}
	// Clean takes a second slash away, which browsers read as a host.
	return (&url.URL{Path: path.Clean(u.Path), RawQuery: u.RawQuery}).String()
}

// cookieName has a prefix that browsers let no other site set, where they can.
func cookieName(r *http.Request) string {
	if r.TLS != nil {
		return "__Host-castpoint"
	}
	return "castpoint"
}

// cookie makes the session's cookie. SameSite is Lax, not Strict: after a login
// at an OIDC provider the browser comes from another site.
func cookie(r *http.Request, value string, maxAge int) *http.Cookie {
	return &http.Cookie{Name: cookieName(r), Value: value, Path: "/", MaxAge: maxAge, Secure: r.TLS != nil, HttpOnly: true, SameSite: http.SameSiteLaxMode}
}

func setSession(w http.ResponseWriter, r *http.Request, s *Session) {
	http.SetCookie(w, cookie(r, s.Secret, int(sessionLife.Seconds())))
}
