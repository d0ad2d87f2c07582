package console

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"net/http"
	"net/url"
	"sync"

	"go.uber.org/zap"

	"castpoint/web"
)

// API is the admin API.
type API interface {
	Call(ctx context.Context, method, path string, body, answer any) error
	Stream(ctx context.Context, method, path string, body any, progress func(done, total int64), answer any) error
	Upload(ctx context.Context, query url.Values, body io.Reader, answer any) error
}

// Person is who is logged in.
type Person struct {
	Name string
	// Operate allows changes, Admin all of them. The API decides; these say which
	// buttons are worth showing.
	Operate, Admin bool
	// CSRF is the token that every form carries.
	CSRF string
}

// Config is what a Console is made of. All fields but Log are required.
type Config struct {
	API API
	// Person is who sent a request; ok is false when nobody is logged in any more.
	Person func(*http.Request) (p Person, ok bool)
	// Sessions are the multicast sessions, for their curves.
	Sessions func() []web.SessionInfo
	// Docs holds the pages of the documentation, *.md.
	Docs fs.FS
	// OIDC says that people can log in at a provider, by /login/oidc.
	OIDC    bool
	Version string
	Log     *zap.Logger // nil logs nothing
}

// Console is the handler of all its pages. Close ends its jobs.
type Console struct {
	cfg       Config
	log       *zap.Logger
	templates *templates
	assets    assets
	jobs      *jobs
	curves    *curves
	reports   reports
	watchers  chan struct{} // one place for each page that is watched
	mux       *http.ServeMux

	ctx     context.Context // ends with Close
	stop    context.CancelFunc
	running sync.WaitGroup
}

// maxWatchers bounds the pages that are drawn again and again at the same time.
const maxWatchers = 64

// New makes the console and begins to sample the sessions.
func New(cfg Config) (*Console, error) {
	if cfg.API == nil || cfg.Person == nil || cfg.Sessions == nil || cfg.Docs == nil {
		return nil, errors.New("console: the API, who is logged in, the sessions and the documentation are needed")
	}
	if cfg.Log == nil {
		cfg.Log = zap.NewNop()
	}
	ctx, stop := context.WithCancel(context.Background())
	c := &Console{
		cfg: cfg, log: cfg.Log, jobs: newJobs(ctx), curves: newCurves(), ctx: ctx, stop: stop,
		watchers: make(chan struct{}, maxWatchers), mux: http.NewServeMux(),
	}
	var err error
	if c.assets, err = loadAssets(); err == nil {
		c.templates, err = loadTemplates(c.assets)
	}
	if err != nil {
		stop()
		return nil, err
	}
	c.routes()
	c.running.Go(func() { c.curves.routineSample(ctx, cfg.Sessions) })
	return c, nil
}

// Close ends the jobs and the watching of pages, and waits for the jobs.
func (c *Console) Close() {
	c.stop()
	c.jobs.wait()
	c.running.Wait()
}

// ServeHTTP answers a request for a page, an action or an asset.
func (c *Console) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	secure(w.Header())
	c.mux.ServeHTTP(w, r)
}

// secure sets what keeps a browser from doing anything else than showing our own
// pages: no other host, no script or style within a page, no frame around it.
func secure(h http.Header) {
	h.Set("Content-Security-Policy", "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Referrer-Policy", "same-origin")
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
}

func (c *Console) routes() {
	c.mux.Handle("GET "+pathAssets, c.assets)
	c.mux.HandleFunc("GET /login", c.login)
	c.page("GET /{$}", c.overview)
	c.deviceRoutes()
	c.contentRoutes()
	c.sessionRoutes()
	c.deploymentRoutes()
	c.page("GET /boot-images", c.bootImages)
	c.page("GET /explain", c.explainPage)
	c.page("GET /settings", c.settings)
	c.page("GET /docs", c.docsIndex)
	c.page("GET /docs/{name}", c.docsPage)
	c.page("GET /", func(r *http.Request) (*page, error) {
		return nil, notFound("there is no page %s", r.URL.Path)
	})
}
