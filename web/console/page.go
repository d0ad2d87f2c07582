package console

import (
	"bytes"
	"context"
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

// page is what a handler shows.
type page struct {
	title string
	nav   string // path of the entry of the navigation that it belongs to
	body  string // template
	data  any
	// live is how often the page is drawn again while somebody watches it; 0 is
	// never.
	live time.Duration
}

// view is what the templates get.
type view struct {
	Title, Nav string
	Path       string // of the page, with its query
	Live       bool
	Theme      string
	Version    string
	Me         Person
	Said       string // what was done
	Jobs       []job  // that are not over
	Now        time.Time
	Data       any
}

// page adds a page. The same address is a stream of events for a browser that
// watches it.
func (c *Console) page(pattern string, show func(*http.Request) (*page, error)) {
	c.mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Accept") == "text/event-stream" {
			c.watch(w, r, show)
			return
		}
		p, err := show(r)
		if err != nil {
			c.fail(w, r, err)
			return
		}
		v, ok := c.view(r, p)
		if !ok {
			toLogin(w, r)
			return
		}
		v.Said = takeSaid(w, r)
		c.write(w, r, http.StatusOK, p.body, v)
	})
}

func (c *Console) view(r *http.Request, p *page) (*view, bool) {
	me, ok := c.cfg.Person(r)
	return &view{
		Title: p.title, Nav: p.nav, Path: r.URL.RequestURI(), Live: p.live > 0, Theme: theme(r), Version: c.cfg.Version,
		Me: me, Jobs: c.jobs.list(false), Now: time.Now(), Data: p.data,
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
func (c *Console) write(w http.ResponseWriter, r *http.Request, status int, body string, v *view) {
	var b bytes.Buffer
	if err := c.templates.page(&b, body, v); err != nil {
		c.log.Error("page not drawn", zap.String("path", r.URL.Path), zap.Error(err))
		http.Error(w, "this page cannot be drawn: the server's log says why", http.StatusInternalServerError)
		return
	}
	h := w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_, _ = w.Write(b.Bytes()) // a browser that has gone away is its own problem
}

// fail shows what went wrong and the way out.
func (c *Console) fail(w http.ResponseWriter, r *http.Request, err error) {
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
		c.log.Error("page failed", zap.String("path", r.URL.Path), zap.Error(err))
	}
	v, ok := c.view(r, &page{title: p.Title, data: p})
	if !ok {
		toLogin(w, r)
		return
	}
	c.write(w, r, p.Status, "problem", v)
}

// all asks for a whole list of the API, as far as it gives one.
func all[T any](ctx context.Context, c *Console, path string) ([]T, error) {
	var p struct {
		Items []T `json:"items"`
	}
	err := c.cfg.API.Call(ctx, http.MethodGet, path+"?limit=10000", nil, &p)
	return p.Items, err
}

// notFound is a page or thing that there is not.
func notFound(format string, args ...any) error {
	return &protocol.Problem{Status: http.StatusNotFound, Title: http.StatusText(http.StatusNotFound), Detail: fmt.Sprintf(format, args...), Hint: "the overview leads to everything"}
}

// wrong is a form that cannot be used as it was filled in.
func wrong(format string, args ...any) error {
	return &protocol.Problem{Status: http.StatusBadRequest, Title: http.StatusText(http.StatusBadRequest), Detail: fmt.Sprintf(format, args...), Hint: "go back and change it"}
}

// maxForm is the largest form that is not an upload, in bytes.
const maxForm = 1 << 20

// action adds a form. do changes something and says where to go on and what was
// done.
func (c *Console) action(pattern string, do func(r *http.Request) (to, said string, err error)) {
	c.mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
		r.Body = http.MaxBytesReader(w, r.Body, maxForm)
		if err := r.ParseForm(); err != nil {
			c.fail(w, r, wrong("the form cannot be read: %v", err))
			return
		}
		to, said, err := do(r)
		if err != nil {
			c.fail(w, r, err)
			return
		}
		say(w, r, said)
		http.Redirect(w, r, to, http.StatusSeeOther)
	})
}

// cookieSaid brings one line from an action to the page behind it.
const cookieSaid = "castpoint_said"

func say(w http.ResponseWriter, r *http.Request, text string) {
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

// back is the page that a form was on, or another one where that is not known.
func back(r *http.Request, other string) string {
	to := r.PostFormValue("back")
	if !strings.HasPrefix(to, "/") || strings.HasPrefix(to, "//") || strings.Contains(to, `\`) {
		return other
	}
	return to
}
