package admin

import (
	"time"

	"go.uber.org/zap"

	"castpoint/content/library"
	"castpoint/deploy"
	"castpoint/deploy/monitor"
	"castpoint/deploy/rollout"
	"castpoint/internal/event"
	"castpoint/web/access"
	"castpoint/web/admin/accounts"
	"castpoint/web/admin/contents"
	"castpoint/web/admin/deployments"
	"castpoint/web/admin/devices"
	"castpoint/web/admin/sessions"
	"castpoint/web/api"
	"castpoint/web/delivery"
	"castpoint/web/join"
	"castpoint/web/session"
	"castpoint/web/upload"
)

// Config is what the operations are about. web.Config says what the fields are
// that it has, too.
type Config struct {
	Join     *join.Service
	Library  *library.Library
	Uploads  *upload.Uploads
	Access   *access.Access
	Devices  *deploy.Devices
	Timeline *event.Recorder
	Rollout  *rollout.Register
	Monitor  *monitor.Monitor
	Network  func() *Network
	Routes   []func(*api.API)
	Observe  func(operation string, status int, took time.Duration, stream bool)
	Data     string // folder
	URL      string // of the join listener
	Version  string
	Log      *zap.Logger // nil logs nothing
}

// operations are those of the status, and what the others are made of.
type operations struct {
	cfg      Config
	log      *zap.Logger
	join     *join.Service
	library  *library.Library
	uploads  *upload.Uploads
	keeper   *session.Keeper    // nil without a network
	delivery *delivery.Delivery // nil without deployments
	started  time.Time
}

// New makes the admin API, each package its part, and Config.Routes on top.
func New(cfg Config) *api.API {
	if cfg.Log == nil {
		cfg.Log = zap.NewNop()
	}
	s := &operations{
		cfg: cfg, log: cfg.Log.Named("admin"), join: cfg.Join, library: cfg.Library, uploads: cfg.Uploads, started: time.Now(),
		keeper: cfg.Join.Keeper(), delivery: cfg.Join.Delivery(),
	}
	return s.api()
}

// api registers the operations.
func (s *operations) api() *api.API {
	cfg := api.Config{Version: s.cfg.Version, Observe: s.cfg.Observe, Log: s.log}
	if s.cfg.Access != nil {
		cfg.Audit = s.cfg.Access.Record
	}
	a := api.New(cfg)
	s.statusOperations(a)
	contents.Register(a, contents.Config{Library: s.cfg.Library, Uploads: s.cfg.Uploads, Join: s.cfg.Join, Keeper: s.keeper, Data: s.cfg.Data})
	sessions.Register(a, sessions.Config{Library: s.cfg.Library, Join: s.cfg.Join, Keeper: s.keeper, URL: s.cfg.URL, Log: s.log})
	devices.Register(a, devices.Config{Devices: s.cfg.Devices, Timeline: s.cfg.Timeline, Rollout: s.cfg.Rollout})
	accounts.Register(a, s.cfg.Access)
	for _, add := range s.cfg.Routes {
		add(a)
	}
	deployments.Register(a, deployments.Config{
		Library: s.cfg.Library, Devices: s.cfg.Devices, Rollout: s.cfg.Rollout, Monitor: s.cfg.Monitor, Delivery: s.delivery,
	})
	return a
}

// Operations is an admin API with these routes whose operations are only described:
// they must not be called.
func Operations(routes []func(*api.API)) *api.API {
	s := &operations{cfg: Config{Routes: routes}}
	return s.api()
}
