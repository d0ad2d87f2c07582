package web

import (
	"net/http"
	"net/url"
	"strings"
	"time"

	"go.uber.org/zap"

	"castpoint/agent/protocol"
	"castpoint/internal/httpconn"
	"castpoint/internal/loglevel"
	"castpoint/web/access"
	"castpoint/web/api"
	"castpoint/web/call"
)

// Limits of the admin listeners.
const (
	adminHeader     = 16 << 10
	adminHeaderTime = 10 * time.Second
	adminIdleTime   = 2 * time.Minute
	// Connections at once of the listener for people. A page that is watched has one,
	// and everybody behind a proxy has its address.
	adminConns     = 2048
	adminPerClient = 512
)

// adminListener is what the servers of the admin listeners have in common.
// Progress is streamed, so writing has no time limit of its own.
func (s *Server) adminListener(handler http.Handler) *http.Server {
	return &http.Server{
		Handler:           handler,
		ReadHeaderTimeout: adminHeaderTime,
		IdleTimeout:       adminIdleTime,
		MaxHeaderBytes:    adminHeader,
		ErrorLog:          loglevel.HTTPErrors(s.log),
		// Strangers are answered by the guard, also when they ask for nothing.
		DisableGeneralOptionsHandler: true,
	}
}

// AdminServer is the admin listener. root is the secret of the data folder's file,
// hosts are the names by which the listener is reached beside localhost and
// addresses.
func (s *Server) AdminServer(root string, hosts ...string) *http.Server {
	srv := s.adminListener(api.NameRequests(s.adminGuard(root, hosts).Require(s.adminPaths())))
	srv.ConnState = httpconn.Limit(adminConns, adminPerClient, s.log)
	return srv
}

// SocketServer is the admin API on the unix socket: whoever may open the socket
// may do everything, so no token is asked for.
func (s *Server) SocketServer() *http.Server {
	return s.adminListener(api.NameRequests(s.adminGuard("", nil).Socket(s.adminPaths())))
}

func (s *Server) adminGuard(root string, hosts []string) *access.Guard {
	return &access.Guard{Access: s.cfg.Access, Root: root, Hosts: hosts, Refuse: s.refuseAdmin}
}

// Client makes a client of the admin API in this process that may do everything.
func (s *Server) Client() *call.Client { return call.NewLocal(s.SocketServer().Handler) }

// ConsoleClient makes a client of the admin API in this process that asks in the name
// of whoever is in the context of its calls (package access).
func (s *Server) ConsoleClient() *call.Client { return call.NewLocal(s.api) }

// refuseAdmin answers what the guard does not let through: programs with a
// problem, people with the way to the login page.
func (s *Server) refuseAdmin(w http.ResponseWriter, r *http.Request, p *protocol.Problem) {
	s.log.Debug("request refused", zap.String("request", w.Header().Get(api.HeaderRequest)), zap.String("method", r.Method),
		zap.String("path", r.URL.Path), zap.String("peer", r.RemoteAddr), zap.Int("status", p.Status), zap.String("reason", p.Detail))
	if p.Status == http.StatusUnauthorized {
		w.Header().Set("WWW-Authenticate", "Bearer")
	}
	if p.Status != http.StatusUnauthorized || r.Method != http.MethodGet || isProgram(r.URL.Path) {
		api.WriteProblem(w, p)
		return
	}
	next := url.Values{access.FieldNext: {r.URL.RequestURI()}}
	http.Redirect(w, r, access.PathLogin+"?"+next.Encode(), http.StatusSeeOther)
}

// isProgram says whether a path is one that programs ask for.
func isProgram(path string) bool {
	return strings.HasPrefix(path, "/api/") || path == pathMetrics
}

// pathMetrics is where Prometheus looks.
const pathMetrics = "/metrics"

// adminPaths are the paths of the admin listeners. Requests have passed the guard.
func (s *Server) adminPaths() http.Handler {
	mux := http.NewServeMux()
	mux.Handle("/api/", s.api)
	if s.cfg.Metrics != nil {
		mux.Handle("GET "+pathMetrics, s.cfg.Metrics)
	}
	if s.cfg.Access != nil {
		s.cfg.Access.HandleLogin(mux, s.cfg.OIDC)
	}
	if s.console != nil {
		mux.Handle("/", s.console)
	} else {
		mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
			api.WriteProblem(w, api.Problem(http.StatusNotFound, "the API is below "+api.Prefix, "there is nothing at %s", r.URL.Path))
		})
	}
	return mux
}
