package web

import (
	"errors"
	"io/fs"
	"net/http"
	"path/filepath"
	"time"

	"go.uber.org/zap"

	"castpoint/content/library"
	"castpoint/deploy"
	"castpoint/deploy/monitor"
	"castpoint/deploy/rollout"
	"castpoint/internal/event"
	"castpoint/web/access"
	"castpoint/web/admin"
	"castpoint/web/admin/contents"
	"castpoint/web/api"
	"castpoint/web/join"
	"castpoint/web/session"
	"castpoint/web/upload"
)

// Config is what a Server is made of.
type Config struct {
	// Data is the folder for the certificate, tokens and tickets. Required.
	Data string
	// Library is the content library. Required.
	Library *library.Library
	// Assign is what machines receive.
	Assign join.Assignment
	// Sessions says how sessions are sent; nil when this process does not serve
	// a network, and then sessions are refused.
	Sessions *session.Config
	// JoinURL is where people's receivers join, as in https://192.0.2.1:8443; ""
	// without a network.
	JoinURL string
	// Routes add operations to the admin API, about what this package does not
	// know.
	Routes []func(*api.API)
	// Access says who may use the admin listener; nil: the unix socket and the
	// secret of the data folder only.
	Access  *access.Access
	OIDC    *access.Provider // nil: no login by OIDC
	Metrics http.Handler     // nil for none
	// Observe is told of each call of the admin API, as api.Config says.
	Observe func(operation string, status int, took time.Duration, stream bool)
	// Devices are the records of devices, Timeline what happens to them; nil when
	// nothing is kept.
	Devices  *deploy.Devices
	Timeline *event.Recorder
	// Rollout are collections, sequences, deployments and runs, and Monitor watches
	// them; nil for none.
	Rollout *rollout.Register
	Monitor *monitor.Monitor
	// Uploads bound the files that come as bodies of requests.
	Uploads upload.Limits
	// Agents has the agent's programs, for machines that go on with a sequence in the
	// system on their disk; nil for none.
	Agents fs.FS
	// Network says what is seen of the network; nil when nothing is.
	Network func() *admin.Network
	Version string
	Log     *zap.Logger // nil logs nothing
}

// Server is the state behind both listeners. Close ends its sessions.
type Server struct {
	*join.Service // the join listener
	cfg           Config
	log           *zap.Logger // of the admin listeners
	uploads       *upload.Uploads
	api           *api.API
	console       http.Handler // nil for none; set before there are listeners
}

// New opens what the server keeps in its data folder.
func New(cfg Config) (*Server, error) {
	if cfg.Library == nil || cfg.Data == "" {
		return nil, errors.New("web: a library and a data folder are needed")
	}
	if cfg.Log == nil {
		cfg.Log = zap.NewNop()
	}
	uploads, err := upload.Open(filepath.Join(cfg.Data, contents.DirDownloads), cfg.Uploads, cfg.Library.HasRoom)
	if err != nil {
		return nil, err
	}
	machines, err := join.New(join.Config{
		Data: cfg.Data, Library: cfg.Library, Assign: cfg.Assign, Sessions: cfg.Sessions, URL: cfg.JoinURL,
		Devices: cfg.Devices, Timeline: cfg.Timeline, Rollout: cfg.Rollout, Agents: cfg.Agents, Log: cfg.Log,
	})
	if err != nil {
		return nil, err
	}
	s := &Server{Service: machines, cfg: cfg, log: cfg.Log.Named("admin"), uploads: uploads}
	s.api = admin.New(admin.Config{
		Join: machines, Library: cfg.Library, Uploads: uploads, Access: cfg.Access,
		Devices: cfg.Devices, Timeline: cfg.Timeline, Rollout: cfg.Rollout, Monitor: cfg.Monitor,
		Network: cfg.Network, Routes: cfg.Routes, Observe: cfg.Observe,
		Data: cfg.Data, URL: cfg.JoinURL, Version: cfg.Version, Log: cfg.Log,
	})
	return s, nil
}

// Uploads are those that are going on.
func (s *Server) Uploads() []upload.Info { return s.uploads.Now() }

// SetConsole sets the web console, which is for the paths that are not the API's,
// before any admin listener is made: the console is made with a client of the
// server. Its requests have the identity in their context, but for the login page.
func (s *Server) SetConsole(h http.Handler) { s.console = h }
