package access

import (
	"cmp"
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"net"
	"net/http"
	"net/netip"
	"path"
	"slices"
	"strings"
	"time"

	"castpoint/agent/protocol"
)

// PathLogin is the page that strangers see. What lies below it, its style sheet
// and the ways of OIDC, is open to them as well, and nothing else is.
const PathLogin = "/login"

// Guard asks every request who makes it.
type Guard struct {
	Access *Access // nil: only Root lets in
	// Root is the secret of the file in the data folder: whoever can read it is
	// the host's administrator. "" lets nobody in.
	Root string
	// Hosts are the names by which the listener is reached, beside localhost and
	// addresses. A name that is not among them was made by somebody else's DNS.
	Hosts []string
	// BodyTime is how long the body of somebody may take who has shown nothing; 0 is 10 s.
	// What others send is limited where it is read: it may be an image.
	BodyTime time.Duration
	// Refuse answers a request that is not let through.
	Refuse func(w http.ResponseWriter, r *http.Request, p *protocol.Problem)
}

// rootName is what the host's administrator is called in records.
const rootName = "root"

// Socket lets every request through as the host's administrator: only that user
// can open the unix socket. Pages that somebody has open in a browser cannot reach
// it, but what they send might be passed on.
func (g *Guard) Socket(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if p := g.checkSource(r); p != nil {
			g.Refuse(w, r, p)
			return
		}
		next.ServeHTTP(w, r.WithContext(With(r.Context(), Identity{Name: rootName, Scope: Admin, How: HowSocket})))
	})
}

// Require lets requests through that show a credential, with the identity in
// their context, and those for the login page. A request ends when its credential
// is revoked.
func (g *Guard) Require(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if p := g.checkSource(r); p != nil {
			g.hurry(w)
			g.Refuse(w, r, p)
			return
		}
		id, l, ok := g.identify(r)
		if !ok {
			g.hurry(w)
			if isLogin(r.URL.Path) {
				next.ServeHTTP(w, r)
				return
			}
			g.Refuse(w, r, refusal(http.StatusUnauthorized, "log in, or show a token of castpoint access token create", "this server does not know who asks"))
			return
		}
		if id.CSRF != "" && !safe(r.Method) && !isLogin(r.URL.Path) && !showsCSRF(w, r, id.CSRF) {
			g.Refuse(w, r, refusal(http.StatusForbidden, "load the page again", "the request does not come from a page of this session (no CSRF token)"))
			return
		}
		// A request before this one may have been a stranger's.
		_ = http.NewResponseController(w).SetWriteDeadline(time.Time{})
		ctx, cancel := context.WithCancel(With(r.Context(), id))
		defer cancel()
		if l.ctx != nil {
			defer context.AfterFunc(l.ctx, cancel)()
		}
		next.ServeHTTP(w, r.WithContext(ctx))
	})
}

// bodyTime is how long a stranger's body may take when the Guard does not say.
const bodyTime = 10 * time.Second

// hurry ends a connection whose request does not come to its end, or whose answer is not
// taken. Also a refused body is read, as far as net/http does. A request that comes
// without a network has no deadlines.
func (g *Guard) hurry(w http.ResponseWriter) {
	end := time.Now().Add(cmp.Or(g.BodyTime, bodyTime))
	flow := http.NewResponseController(w)
	_ = flow.SetReadDeadline(end)
	_ = flow.SetWriteDeadline(end)
}

// isLogin says whether a path is one that strangers may ask for. One that leads out of
// there is not, whoever might resolve it.
func isLogin(p string) bool {
	return p == PathLogin || strings.HasPrefix(p, PathLogin+"/") && path.Clean(p) == p && !strings.Contains(p, "\\")
}

func safe(method string) bool {
	return method == http.MethodGet || method == http.MethodHead || method == http.MethodOptions
}

// identify finds the credential of a request. A token goes before a cookie, and a
// wrong token is not made up for by a cookie.
func (g *Guard) identify(r *http.Request) (Identity, live, bool) {
	remote := RemoteAddr(r)
	if scheme, secret, ok := strings.Cut(r.Header.Get("Authorization"), " "); ok && strings.EqualFold(scheme, "Bearer") {
		secret = strings.TrimSpace(secret)
		got, want := sha256.Sum256([]byte(secret)), sha256.Sum256([]byte(g.Root))
		if g.Root != "" && subtle.ConstantTimeCompare(got[:], want[:]) == 1 {
			return Identity{Name: rootName, Scope: Admin, How: HowToken, Remote: remote}, live{}, true
		}
		if g.Access == nil {
			return Identity{}, live{}, false
		}
		return g.Access.byToken(r.Context(), secret, remote)
	}
	if g.Access == nil {
		return Identity{}, live{}, false
	}
	c, err := r.Cookie(cookieName(r))
	if err != nil {
		return Identity{}, live{}, false
	}
	return g.Access.bySession(r.Context(), c.Value, remote)
}

// checkSource refuses requests that a page of another site has made a browser
// send: they name another origin, or reach the listener by a name of their own
// (DNS rebinding).
func (g *Guard) checkSource(r *http.Request) *protocol.Problem {
	host := r.Host
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	}
	if !g.knows(host) {
		return refusal(http.StatusMisdirectedRequest, "use its address, or put the name into the setting admin-name", "this server is not reached by the name %q", host)
	}
	if err := http.NewCrossOriginProtection().Check(r); err != nil {
		return refusal(http.StatusForbidden, "", "this server takes no requests from pages of %q", r.Header.Get("Origin"))
	}
	if origin := r.Header.Get("Origin"); origin != "" && origin != "http://"+r.Host && origin != "https://"+r.Host {
		return refusal(http.StatusForbidden, "", "this server is not for pages of %q", origin)
	}
	return nil
}

// knows accepts localhost, addresses and the names of the settings.
func (g *Guard) knows(host string) bool {
	if strings.EqualFold(host, "localhost") || slices.ContainsFunc(g.Hosts, func(name string) bool { return strings.EqualFold(name, host) }) {
		return true
	}
	_, err := netip.ParseAddr(strings.Trim(host, "[]"))
	return err == nil
}

// Where requests show the CSRF token.
const (
	HeaderCSRF = "X-CSRF-Token"
	FieldCSRF  = "csrf"
)

// maxForm is the largest form that is looked through for a CSRF token, in bytes.
const maxForm = 1 << 20

// showsCSRF looks for the token in the header and, of forms, in a field.
func showsCSRF(w http.ResponseWriter, r *http.Request, want string) bool {
	got := r.Header.Get(HeaderCSRF)
	if got == "" && strings.HasPrefix(r.Header.Get("Content-Type"), "application/x-www-form-urlencoded") {
		r.Body = http.MaxBytesReader(w, r.Body, maxForm)
		got = r.PostFormValue(FieldCSRF)
	}
	return subtle.ConstantTimeCompare([]byte(got), []byte(want)) == 1
}

// RemoteAddr is the address a request came from; invalid for the unix socket.
func RemoteAddr(r *http.Request) netip.Addr {
	ap, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return netip.Addr{}
	}
	return ap.Addr().Unmap()
}
