package console

import (
	"context"
	"errors"
	"io/fs"
	"net/http"
	"sync"

	"go.uber.org/zap"

	"castpoint/web/console/frame"
	"castpoint/web/console/library"
	"castpoint/web/console/machines"
	"castpoint/web/console/manual"
	"castpoint/web/console/rollouts"
	"castpoint/web/console/server"
	"castpoint/web/console/sessions"
	"castpoint/web/session"
)

// API is the admin API.
type API = frame.API

// Person is who is logged in.
type Person = frame.Person

// Config is what a Console is made of. All fields but OIDC, Version and Log are
// required.
type Config struct {
	API API
	// Person is who sent a request; ok is false when nobody is logged in any more.
	Person func(*http.Request) (p Person, ok bool)
	// Sessions are the multicast sessions, for their curves.
	Sessions func() []session.Info
	// Docs holds the pages of the documentation, *.md.
	Docs fs.FS
	// OIDC says that people can log in at a provider, by /login/oidc.
	OIDC    bool
	Version string
	Log     *zap.Logger // nil logs nothing
}

// Console is the handler of all its pages. Close ends its jobs.
type Console struct {
	*frame.Frame
	sessions *sessions.Sessions
	server   *server.Server

	stop    context.CancelFunc
	running sync.WaitGroup
}

// navigation leads to the pages: what happens, the machines, what they get, and the
// server.
var navigation = []frame.Group{
	{Entries: []frame.Entry{{Path: "/", Label: "Overview", Docs: "console"}}},
	{Name: "Machines", Entries: []frame.Entry{
		{Path: "/devices", Label: "Devices", Docs: "devices"}, {Path: "/collections", Label: "Collections", Docs: "deployments#collections"}, {Path: "/explain", Label: "Explain", Docs: "cli#what-a-machine-would-get"},
	}},
	{Name: "Work", Entries: []frame.Entry{
		{Path: "/deployments", Label: "Deployments", Docs: "deployments"}, {Path: "/sequences", Label: "Task sequences", Docs: "sequences"}, {Path: "/sessions", Label: "Sessions", Docs: "multicast"},
	}},
	{Name: "Library", Entries: []frame.Entry{{Path: "/contents", Label: "Contents", Docs: "content"}, {Path: "/boot-images", Label: "Boot images", Docs: "booting"}}},
	{Name: "Server", Entries: []frame.Entry{
		{Path: "/doctor", Label: "Doctor", Docs: "doctor"}, {Path: "/server", Label: "State and logs", Docs: "operations"}, {Path: "/settings", Label: "Settings", Docs: "cli#settings-of-serve"}, {Path: "/leases", Label: "Leases", Docs: "dhcp#leases"},
		{Path: "/access", Label: "Users and tokens", Docs: "api#programs-and-people", Admin: true}, {Path: "/audit", Label: "Audit log", Docs: "api#audit-log", Admin: true},
	}},
	{Entries: []frame.Entry{{Path: "/docs", Label: "Documentation"}}},
}

// New makes the console and begins to sample the sessions.
func New(cfg Config) (*Console, error) {
	if cfg.Sessions == nil || cfg.Docs == nil {
		return nil, errors.New("console: the sessions and the documentation are needed")
	}
	f, err := frame.New(frame.Config{API: cfg.API, Person: cfg.Person, OIDC: cfg.OIDC, Version: cfg.Version, Log: cfg.Log, Navigation: navigation})
	if err != nil {
		return nil, err
	}
	ctx, stop := context.WithCancel(context.Background())
	c := &Console{Frame: f, stop: stop}
	c.Page("GET /{$}", c.overview)
	err = f.Templates(files, nil)
	if err == nil {
		err = machines.Add(f)
	}
	if err == nil {
		err = library.Add(f)
	}
	if err == nil {
		c.sessions, err = sessions.Add(f, cfg.Sessions)
	}
	if err == nil {
		err = rollouts.Add(f)
	}
	if err == nil {
		c.server, err = server.Add(f)
	}
	if err == nil {
		err = manual.Add(f, cfg.Docs)
	}
	if err != nil {
		stop()
		f.Close()
		return nil, err
	}
	c.running.Go(func() { c.sessions.Sample(ctx) })
	return c, nil
}

// Close ends the jobs and the watching of pages, and waits for the jobs.
func (c *Console) Close() {
	c.stop()
	c.Frame.Close()
	c.running.Wait()
}
