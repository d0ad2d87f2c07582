package frame

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/url"
	"sync"

	"go.uber.org/zap"

	"castpoint/web/console/job"
)

// API is the admin API.
type API interface {
	Call(ctx context.Context, method, path string, body, answer any) error
	Stream(ctx context.Context, method, path string, body any, progress func(done, total int64), answer any) error
	Upload(ctx context.Context, query url.Values, body io.Reader, answer any) error
	Send(ctx context.Context, path, contentType string, body io.Reader, answer any) error
}

// Person is who is logged in.
type Person struct {
	Name string
	// Operate allows changes, Admin all of them. The API decides; these say which
	// buttons are worth showing.
	Operate, Admin bool
	// Password says that the person has logged in with one of this server's, and may
	// change it.
	Password bool
	// CSRF is the token that every form carries.
	CSRF string
}

// Config is what a Frame is made of. All fields but Log are required.
type Config struct {
	API API
	// Person is who sent a request; ok is false when nobody is logged in any more.
	Person func(*http.Request) (p Person, ok bool)
	// OIDC says that people can log in at a provider, by /login/oidc.
	OIDC       bool
	Navigation []Group
	Version    string
	Log        *zap.Logger // nil logs nothing
}

// Frame is the handler of all pages that rooms have added. Close ends its jobs.
type Frame struct {
	cfg      Config
	log      *zap.Logger
	assets   assets
	base     *base
	bodies   map[string]*body
	jobs     *job.Jobs
	watchers chan struct{} // one place for each page that is watched
	mux      *http.ServeMux

	ctx  context.Context // ends with Close
	stop context.CancelFunc
	once sync.Once
}

// MaxWatchers bounds the pages that are drawn again and again at the same time.
const MaxWatchers = 64

// New makes a frame that has the login page and nothing else.
func New(cfg Config) (*Frame, error) {
	if cfg.API == nil || cfg.Person == nil {
		return nil, errors.New("console: the API and who is logged in are needed")
	}
	if cfg.Log == nil {
		cfg.Log = zap.NewNop()
	}
	ctx, stop := context.WithCancel(context.Background())
	f := &Frame{
		cfg: cfg, log: cfg.Log, bodies: make(map[string]*body), jobs: job.New(ctx), ctx: ctx, stop: stop,
		watchers: make(chan struct{}, MaxWatchers), mux: http.NewServeMux(),
	}
	var err error
	if f.assets, err = loadAssets(); err == nil {
		f.base, err = loadBase(f.assets, cfg.Navigation)
	}
	if err == nil {
		err = f.Templates(files, nil)
	}
	if err != nil {
		stop()
		return nil, err
	}
	f.mux.Handle("GET "+pathAssets, f.assets)
	f.mux.HandleFunc("GET /login", f.login)
	f.Page("GET /", func(r *http.Request) (*Page, error) {
		return nil, NotFound("there is no page %s", r.URL.Path)
	})
	return f, nil
}

// Stop ends the watching of pages and tells the jobs to end.
func (f *Frame) Stop() { f.once.Do(f.stop) }

// Close is Stop, and waits for the jobs.
func (f *Frame) Close() {
	f.Stop()
	f.jobs.Wait()
}

// Jobs are what takes long.
func (f *Frame) Jobs() *job.Jobs { return f.jobs }

// API is the admin API.
func (f *Frame) API() API { return f.cfg.API }

// Me is who sent a request.
func (f *Frame) Me(r *http.Request) Person {
	me, _ := f.cfg.Person(r)
	return me
}

// Get asks the API.
func (f *Frame) Get(r *http.Request, path string, into any) error {
	return f.cfg.API.Call(r.Context(), http.MethodGet, path, nil, into)
}

// Do has the API change something. into may be nil.
func (f *Frame) Do(r *http.Request, method, path string, body, into any) error {
	return f.cfg.API.Call(r.Context(), method, path, body, into)
}

// Handle adds something that is neither a page nor an action.
func (f *Frame) Handle(pattern string, h http.HandlerFunc) { f.mux.HandleFunc(pattern, h) }

// ServeHTTP answers a request for a page, an action or an asset.
func (f *Frame) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	secure(w.Header())
	f.mux.ServeHTTP(w, r)
}

// secure sets what keeps a browser from doing anything else than showing our own
// pages: no other host, no script or style within a page, no frame around it.
func secure(h http.Header) {
	h.Set("Content-Security-Policy", "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Referrer-Policy", "same-origin")
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
}

// Whole is the query that asks for a whole list, as far as the API gives one.
const Whole = "?limit=10000"

// All asks for a whole list of the API, as far as it gives one.
func All[T any](r *http.Request, f *Frame, path string) ([]T, error) {
	var p struct {
		Items []T `json:"items"`
	}
	err := f.Get(r, path+Whole, &p)
	return p.Items, err
}
