package join

import (
	"context"
	"fmt"
	"io/fs"
	"net/http"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"castpoint/agent/protocol"
	"castpoint/content/library"
	"castpoint/deploy"
	"castpoint/deploy/rollout"
	"castpoint/internal/event"
	"castpoint/web/access"
	"castpoint/web/admit"
	"castpoint/web/delivery"
	"castpoint/web/session"
)

// Files of the data folder that belong to this package.
const (
	dirTLS      = "tls"
	fileTokens  = "tokens.json"
	fileTickets = "tickets.json"
)

// DefaultPort is the TCP port of the join listener.
const DefaultPort = 8443

// Assignment is what machines receive when they netboot.
type Assignment struct {
	Content string // id; "" assigns nothing: machines boot, say so, and wait
	Target  string // path on the machine: a file, or a disk
	After   string // what the machine does then: one of protocol.After...
}

// Config is what a Service is made of. web.Config says what the fields are that
// it has, too.
type Config struct {
	Data     string
	Library  *library.Library
	Assign   Assignment
	Sessions *session.Config // nil without a network
	URL      string          // of the join listener
	Devices  *deploy.Devices
	Timeline *event.Recorder
	Rollout  *rollout.Register
	Agents   fs.FS
	Log      *zap.Logger
}

// Service answers machines. Close ends its sessions.
type Service struct {
	cfg      Config
	log      *zap.Logger // of what machines ask and report
	library  *library.Library
	identity *Identity
	tokens   *admit.Tokens
	tickets  *admit.Tickets
	keeper   *session.Keeper    // nil without a network
	delivery *delivery.Delivery // nil without deployments
	failures failures
	assigned atomic.Pointer[Assignment]

	mu      sync.Mutex
	members map[string]session.Place // by hash of the ticket
	// validating are the contents, by id, that are or were validated because a machine
	// doubts them, and until when no doubt has that done again; running are those
	// validations, and ctx ends them.
	validating map[string]time.Time
	closed     bool
	running    sync.WaitGroup
	ctx        context.Context
	stop       context.CancelFunc
}

// New opens what the data folder keeps of certificate, tokens and tickets.
func New(cfg Config) (*Service, error) {
	if err := cfg.Assign.check(cfg.Library); err != nil {
		return nil, err
	}
	s := &Service{cfg: cfg, log: cfg.Log.Named("join"), library: cfg.Library, members: make(map[string]session.Place), validating: make(map[string]time.Time)}
	s.ctx, s.stop = context.WithCancel(context.Background())
	s.assigned.Store(&cfg.Assign)
	var err error
	if s.identity, err = LoadIdentity(filepath.Join(cfg.Data, dirTLS)); err != nil {
		return nil, err
	}
	if s.tokens, err = admit.OpenTokens(filepath.Join(cfg.Data, fileTokens)); err != nil {
		return nil, err
	}
	if s.tickets, err = admit.OpenTickets(filepath.Join(cfg.Data, fileTickets)); err != nil {
		return nil, err
	}
	if cfg.Sessions != nil {
		if s.keeper, err = session.NewKeeper(*cfg.Sessions, cfg.Library, cfg.Log.Named("session")); err != nil {
			return nil, err
		}
	}
	if cfg.Rollout != nil && cfg.Devices != nil {
		if s.delivery, err = delivery.New(delivery.Config{
			Register: cfg.Rollout, Devices: cfg.Devices, Library: cfg.Library, Tokens: bootTokens{s.tokens}, Data: cfg.Data,
			Guess:  func(r *http.Request) (func(), error) { return s.failures.guess(access.RemoteAddr(r)) },
			Server: s.joinURL, Agents: cfg.Agents, Log: cfg.Log.Named("delivery"),
		}); err != nil {
			return nil, err
		}
	}
	return s, nil
}

// check finds out now what would otherwise be found out by every machine, and
// replaces a content's name by its id.
func (a *Assignment) check(library *library.Library) error {
	if err := a.resolve(library); err != nil {
		return fmt.Errorf("assign content to machines: %w", err)
	}
	return nil
}

func (a *Assignment) resolve(library *library.Library) error {
	switch a.After {
	case "", protocol.AfterPoweroff, protocol.AfterReboot, protocol.AfterShell, protocol.AfterWait:
	default:
		return fmt.Errorf("after %q: want %s, %s, %s or %s", a.After,
			protocol.AfterPoweroff, protocol.AfterReboot, protocol.AfterShell, protocol.AfterWait)
	}
	if a.Content == "" {
		return nil
	}
	p, err := session.Receivable(library, a.Content)
	if err != nil {
		return err
	}
	a.Content = p.Content.ID
	return nil
}

// Assigned is the id of the content that machines receive; "" when there is none.
func (s *Service) Assigned() string { return s.assigned.Load().Content }

// Reload takes the assignment, and the rates, start rule and limits of sessions, of
// other settings. When they are wrong, nothing changes.
func (s *Service) Reload(assign Assignment, sessions session.Config) error {
	if err := assign.check(s.library); err != nil {
		return err
	}
	if s.keeper != nil {
		if err := s.keeper.Reload(sessions); err != nil {
			return err
		}
	}
	s.assigned.Store(&assign)
	return nil
}

// Sessions are those that run, newest first, and the last ones that have ended.
func (s *Service) Sessions() []session.Info {
	if s.keeper == nil {
		return nil
	}
	return s.keeper.List()
}

// Identity is the certificate of the join listener.
func (s *Service) Identity() *Identity { return s.identity }

// Close ends all sessions and waits for them.
func (s *Service) Close() {
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	s.stop()
	s.running.Wait()
	if s.keeper != nil {
		s.keeper.Close()
	}
}

// Keeper has the sessions; it is nil without a network.
func (s *Service) Keeper() *session.Keeper { return s.keeper }

// Tokens admit machines.
func (s *Service) Tokens() *admit.Tokens { return s.tokens }

// Delivery serves machines that run task sequences; it is nil without deployments.
func (s *Service) Delivery() *delivery.Delivery { return s.delivery }

// Pin is the hash of the certificate, by which machines know the server.
func (s *Service) Pin() string { return s.identity.Pin.String() }
