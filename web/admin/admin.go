package admin

import (
	"sync"
	"time"

	"go.uber.org/zap"

	"castpoint/content/library"
	"castpoint/deploy"
	"castpoint/deploy/monitor"
	"castpoint/deploy/rollout"
	"castpoint/internal/event"
	"castpoint/web/access"
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

// operations is what they have in common.
type operations struct {
	cfg      Config
	log      *zap.Logger
	join     *join.Service
	library  *library.Library
	uploads  *upload.Uploads
	keeper   *session.Keeper    // nil without a network
	delivery *delivery.Delivery // nil without deployments
	started  time.Time

	mu sync.Mutex
	// fetching are the URLs that are on their way into the library.
	fetching map[string]bool
}

// New makes the admin API, each file its part, and Config.Routes on top.
func New(cfg Config) *api.API {
	if cfg.Log == nil {
		cfg.Log = zap.NewNop()
	}
	s := &operations{
		cfg: cfg, log: cfg.Log.Named("admin"), join: cfg.Join, library: cfg.Library, uploads: cfg.Uploads, started: time.Now(),
		keeper: cfg.Join.Keeper(), delivery: cfg.Join.Delivery(), fetching: make(map[string]bool),
	}
	return s.api()
}

// api registers the operations, each file its part, and Config.Routes on top.
func (s *operations) api() *api.API {
	cfg := api.Config{Version: s.cfg.Version, Observe: s.cfg.Observe, Log: s.log}
	if s.cfg.Access != nil {
		cfg.Audit = s.cfg.Access.Record
	}
	a := api.New(cfg)
	s.statusOperations(a)
	s.contentOperations(a)
	s.transferOperations(a)
	s.uploadOperations(a)
	s.tokenOperations(a)
	s.sessionOperations(a)
	s.deviceOperations(a)
	s.timelineOperations(a)
	s.accessOperations(a)
	s.accountOperations(a)
	for _, add := range s.cfg.Routes {
		add(a)
	}
	s.collectionOperations(a)
	s.sequenceOperations(a)
	s.deploymentOperations(a)
	s.runOperations(a)
	return a
}

// Operations is an admin API with these routes whose operations are only described:
// they must not be called.
func Operations(routes []func(*api.API)) *api.API {
	s := &operations{cfg: Config{Routes: routes}}
	return s.api()
}
