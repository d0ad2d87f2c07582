package web

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"castpoint/agent/protocol"
	"castpoint/boot"
	"castpoint/content"
	"castpoint/deploy"
	"castpoint/deploy/collection"
	"castpoint/deploy/monitor"
	"castpoint/deploy/rollout"
	"castpoint/internal/event"
	"castpoint/web/access"
	"castpoint/web/admit"
	"castpoint/web/api"
	"castpoint/web/delivery"
	"castpoint/web/session"
	"castpoint/web/upload"
)

// Files of the data folder that belong to this package.
const (
	dirTLS      = "tls"
	fileTokens  = "tokens.json"
	fileTickets = "tickets.json"
)

// DefaultJoinPort is the TCP port of the join listener.
const DefaultJoinPort = 8443

// bootTokenLife is how long a machine that has booted can wait for its content
// to be assigned.
const bootTokenLife = 24 * time.Hour

// Assignment is what machines receive when they netboot.
type Assignment struct {
	Content string // id; "" assigns nothing: machines boot, say so, and wait
	Target  string // path on the machine: a file, or a disk
	After   string // what the machine does then: one of protocol.After...
}

// Config is what a Server is made of.
type Config struct {
	// Data is the folder for the certificate, tokens and tickets. Required.
	Data string
	// Library is the content library. Required.
	Library *content.Library
	// Assign is what machines receive.
	Assign Assignment
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
	Network func() *Network
	Version string
	Log     *zap.Logger // nil logs nothing
}

// Server is the state behind both listeners. Close ends its sessions.
type Server struct {
	cfg      Config
	log      *zap.Logger // the program's, to be given names
	joinLog  *zap.Logger // of what machines ask and report
	library  *content.Library
	identity *Identity
	tokens   *admit.Tokens
	tickets  *admit.Tickets
	keeper   *session.Keeper // nil without a network
	failures failures
	uploads  *upload.Uploads
	started  time.Time
	console  http.Handler // nil for none; set before there are listeners
	assigned atomic.Pointer[Assignment]

	mu      sync.Mutex
	members map[string]session.Place // by hash of the ticket
	// fetching are the URLs that are on their way into the library.
	fetching map[string]bool

	api      *api.API
	delivery *delivery.Delivery // nil without deployments
}

// New opens what the server keeps in its data folder.
func New(cfg Config) (*Server, error) {
	if cfg.Library == nil || cfg.Data == "" {
		return nil, errors.New("web: a library and a data folder are needed")
	}
	if cfg.Log == nil {
		cfg.Log = zap.NewNop()
	}
	if err := cfg.Assign.check(cfg.Library); err != nil {
		return nil, fmt.Errorf("assign content to machines: %w", err)
	}
	s := &Server{
		cfg: cfg, log: cfg.Log, joinLog: cfg.Log.Named("join"), library: cfg.Library, started: time.Now(),
		members: make(map[string]session.Place), fetching: make(map[string]bool),
	}
	uploads, err := upload.Open(filepath.Join(cfg.Data, dirDownloads), cfg.Uploads, cfg.Library.HasRoom)
	if err != nil {
		return nil, err
	}
	s.uploads = uploads
	s.assigned.Store(&cfg.Assign)
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
			Server: s.joinURL, Agents: cfg.Agents, Log: cfg.Log.Named("delivery"),
		}); err != nil {
			return nil, err
		}
	}
	s.api = s.newAPI()
	return s, nil
}

// check finds out now what would otherwise be found out by every machine, and
// replaces a content's name by its id.
func (a *Assignment) check(library *content.Library) error {
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
func (s *Server) Assigned() string { return s.assigned.Load().Content }

// Reload takes the assignment, and the rates, start rule and limits of sessions, of
// other settings. When they are wrong, nothing changes.
func (s *Server) Reload(assign Assignment, sessions session.Config) error {
	if err := assign.check(s.library); err != nil {
		return fmt.Errorf("assign content to machines: %w", err)
	}
	if s.keeper != nil {
		if err := s.keeper.Reload(sessions); err != nil {
			return err
		}
	}
	s.assigned.Store(&assign)
	return nil
}

// SetConsole sets the web console, which is for the paths that are not the API's,
// before any admin listener is made: the console is made with a client of the
// server. Its requests have the identity in their context, but for the login page.
func (s *Server) SetConsole(h http.Handler) { s.console = h }

// Sessions are those that run, newest first, and the last ones that have ended.
func (s *Server) Sessions() []session.Info {
	if s.keeper == nil {
		return nil
	}
	return s.keeper.List()
}

// Identity is the certificate of the join listener.
func (s *Server) Identity() *Identity { return s.identity }

// Close ends all sessions and waits for them.
func (s *Server) Close() {
	if s.keeper != nil {
		s.keeper.Close()
	}
}

// BootToken makes what a boot environment needs to find and trust this server:
// a token that its machine alone may use, good for whatever is assigned when it
// is used.
func (s *Server) BootToken(_ context.Context, c boot.Client) (boot.Ticket, error) {
	base := s.joinAt(c.Server)
	if base == "" {
		return boot.Ticket{}, errors.New("this server has no join address")
	}
	want := admit.Token{Boot: true, MAC: c.MAC.String(), UUID: c.UUID, Name: boot.DeviceName(c)}
	if c.HasArch {
		want.Arch, want.Firm = collection.ArchOf(c.Arch)
	}
	if s.cfg.Devices != nil {
		record := s.cfg.Devices.Rule(c).Record
		switch {
		case record.Silent != "":
			return boot.Ticket{}, errors.New(record.Silent)
		case record.Waiting:
			return boot.Ticket{}, errors.New("this machine waits for approval: castpoint device approve " + boot.DeviceName(c))
		case record.Name != "":
			want.Name = record.Name
		}
	}
	secret, _, err := s.tokens.Create(want, bootTokenLife)
	if err != nil {
		return boot.Ticket{}, err
	}
	return boot.Ticket{Server: base, Pin: s.identity.Pin.String(), Token: secret}, nil
}

// joinAt is the URL of the join listener at an address of this server that a machine
// has reached already; "" without a network.
func (s *Server) joinAt(addr netip.Addr) string {
	base, err := url.Parse(s.cfg.JoinURL)
	if err != nil || base.Host == "" {
		return ""
	}
	if addr.IsValid() && !addr.IsUnspecified() {
		port := base.Port()
		if port == "" {
			port = strconv.Itoa(DefaultJoinPort)
		}
		base.Host = net.JoinHostPort(addr.Unmap().String(), port)
	}
	return base.String()
}

// joinURL is the URL of the join listener as a machine has reached it.
func (s *Server) joinURL(r *http.Request) string { return s.joinAt(localAddr(r)) }

// note logs what a machine reports, and puts it on the machine's timeline.
func (s *Server) note(e protocol.Event) {
	s.joinLog.Info("machine reports", zap.String("kind", e.Kind), zap.String("name", e.Name), zap.String("mac", e.MAC),
		zap.String("peer", e.Remote), zap.String("content", e.Content), zap.String("note", e.Message),
		zap.Int("blocks", e.Blocks), zap.Int("total", e.Total))
	s.recordReport(e)
}

// remoteAddr is the address a request came from.
func remoteAddr(r *http.Request) netip.Addr { return access.RemoteAddr(r) }

// localAddr is the address of this server that a request came to; invalid when
// it did not come over a network.
func localAddr(r *http.Request) netip.Addr {
	a, ok := r.Context().Value(http.LocalAddrContextKey).(net.Addr)
	if !ok {
		return netip.Addr{}
	}
	ap, err := netip.ParseAddrPort(a.String())
	if err != nil {
		return netip.Addr{}
	}
	return ap.Addr().Unmap()
}

// bearer is the secret of "Authorization: Bearer", or "".
func bearer(r *http.Request) string {
	scheme, secret, ok := strings.Cut(r.Header.Get("Authorization"), " ")
	if !ok || !strings.EqualFold(scheme, "Bearer") {
		return ""
	}
	return strings.TrimSpace(secret)
}

// contentByID resolves a content for a machine or an admin.
func (s *Server) contentByID(idOrName string) (*content.Content, error) {
	ct, err := s.library.Get(idOrName)
	return ct, api.ContentProblem(err)
}
