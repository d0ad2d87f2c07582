package frame

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"go.uber.org/zap"

	"castpoint/agent/protocol"
)

// Page is what a handler shows.
type Page struct {
	Title string
	Nav   string // path of the entry of the navigation that it belongs to
	Body  string // template
	Data  any
	// Live is how often the page is drawn again while somebody watches it; 0 is
	// never.
	Live time.Duration
}

// How often pages are drawn again.
const (
	Soon   = time.Second     // what people watch: sessions, timelines
	Rather = 2 * time.Second // lists
	Seldom = 5 * time.Second // what takes the server some work
)

// View is what the templates get.
type View struct {
	Title, Nav string
	Path       string // of the page, with its query
	Live       bool
	Theme      string
	Version    string
	Me         Person
	Said       string // what was done
	Now        time.Time
	Data       any
}

// Page adds a page. The same address is a stream of events for a browser that
// watches it.
func (f *Frame) Page(pattern string, show func(*http.Request) (*Page, error)) {
	f.mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Accept") == "text/event-stream" {
			f.watch(w, r, show)
			return
		}
		p, err := show(r)
		if err != nil {
			f.Fail(w, r, err)
			return
		}
		v, ok := f.view(r, p)
		if !ok {
			toLogin(w, r)
			return
		}
		v.Said = takeSaid(w, r)
		f.write(w, r, http.StatusOK, p.Body, v)
	})
}

func (f *Frame) view(r *http.Request, p *Page) (*View, bool) {
	me, ok := f.cfg.Person(r)
	return &View{
		Title: p.Title, Nav: p.Nav, Path: r.URL.RequestURI(), Live: p.Live > 0, Theme: theme(r), Version: f.cfg.Version,
		Me: me, Now: time.Now(), Data: p.Data,
	}, ok
}

// toLogin leads to the login page, and from there back.
func toLogin(w http.ResponseWriter, r *http.Request) {
	to := "/login"
	if r.Method == http.MethodGet && r.URL.Path != "/" {
		to += "?next=" + url.QueryEscape(r.URL.RequestURI())
	}
	http.Redirect(w, r, to, http.StatusSeeOther)
}

// write draws a page whole before anything of it is sent.
func (f *Frame) write(w http.ResponseWriter, r *http.Request, status int, body string, v *View) {
	var b bytes.Buffer
	if err := f.bodies[body].page(&b, v); err != nil {
		f.log.Error("page not drawn", zap.String("path", r.URL.Path), zap.Error(err))
		http.Error(w, "this page cannot be drawn: the server's log says why", http.StatusInternalServerError)
		return
	}
	h := w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_, _ = w.Write(b.Bytes()) // a browser that has gone away is its own problem
}

// Fail shows what went wrong and the way out.
func (f *Frame) Fail(w http.ResponseWriter, r *http.Request, err error) {
	p := &protocol.Problem{}
	if !errors.As(err, &p) {
		p = &protocol.Problem{Status: http.StatusInternalServerError, Title: http.StatusText(http.StatusInternalServerError), Detail: err.Error()}
	}
	if p.Status == http.StatusUnauthorized {
		toLogin(w, r)
		return
	}
	if p.Status < 400 {
		p.Status = http.StatusInternalServerError
	}
	if p.Status >= 500 {
		f.log.Error("page failed", zap.String("path", r.URL.Path), zap.Error(err))
	}
	f.Show(w, r, p.Status, &Page{Title: p.Title, Body: "problem", Data: &failure{p, from(r)}})
}

// Show answers a request with a page.
func (f *Frame) Show(w http.ResponseWriter, r *http.Request, status int, p *Page) {
	v, ok := f.view(r, p)
	if !ok {
		toLogin(w, r)
		return
	}
	f.write(w, r, status, p.Body, v)
}

// failure is what the page of something that was not done shows.
type failure struct {
	*protocol.Problem
	From string // page that led here
}

// from is the page of this server that a request comes from.
func from(r *http.Request) string {
	u, err := url.Parse(r.Referer())
	if err != nil || u.Host != r.Host || !isLocal(u.RequestURI()) {
		return "/"
	}
	return u.RequestURI()
}

// isLocal says whether an address is a page of this server.
func isLocal(to string) bool {
	return strings.HasPrefix(to, "/") && !strings.HasPrefix(to, "//") && !strings.Contains(to, `\`)
}

// NotFound is a page or thing that there is not.
func NotFound(format string, args ...any) error {
	return &protocol.Problem{Status: http.StatusNotFound, Title: http.StatusText(http.StatusNotFound), Detail: fmt.Sprintf(format, args...), Hint: "the overview leads to everything"}
}

// Wrong is a form that cannot be used as it was filled in.
func Wrong(format string, args ...any) error {
	return &protocol.Problem{Status: http.StatusBadRequest, Title: http.StatusText(http.StatusBadRequest), Detail: fmt.Sprintf(format, args...), Hint: "go back and change it: what you typed is still there"}
}

// cookieSaid brings one line from an action to the page behind it.
const cookieSaid = "castpoint_said"

// Say has the page behind an action say one line.
func Say(w http.ResponseWriter, r *http.Request, text string) {
	if text == "" {
		return
	}
	http.SetCookie(w, &http.Cookie{
		Name: cookieSaid, Value: base64.RawURLEncoding.EncodeToString([]byte(text)), Path: "/", MaxAge: 60,
		HttpOnly: true, SameSite: http.SameSiteStrictMode, Secure: r.TLS != nil,
	})
}

func takeSaid(w http.ResponseWriter, r *http.Request) string {
	k, err := r.Cookie(cookieSaid)
	if err != nil {
		return ""
	}
	http.SetCookie(w, &http.Cookie{Name: cookieSaid, Path: "/", MaxAge: -1, HttpOnly: true, SameSite: http.SameSiteStrictMode, Secure: r.TLS != nil})
	text, err := base64.RawURLEncoding.DecodeString(k.Value)
	if err != nil {
		return ""
	}
	return string(text)
}

// theme is what the switch on the page was set to; "" follows the system.
func theme(r *http.Request) string {
	if k, err := r.Cookie("castpoint_theme"); err == nil && (k.Value == "dark" || k.Value == "light") {
		return k.Value
	}
	return ""
}
