package web

import (
	"crypto/sha256"
	"crypto/subtle"
	"encoding/json"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"time"

	"go.uber.org/zap"

	"castpoint/agent/protocol"
	"castpoint/deploy"
)

// AdminPrefix is the path of the admin API.
const AdminPrefix = "/api/v1"

const maxAdminBody = 1 << 20

// AdminServer is the admin listener. Progress is streamed, so writing has no
// time limit of its own; whoever connects is on this host and has the token.
func (s *Server) AdminServer(token string) *http.Server {
	return &http.Server{
		Handler:           s.AdminHandler(token),
		ReadHeaderTimeout: headerTime,
		ReadTimeout:       headerTime,
		IdleTimeout:       idleTime,
		MaxHeaderBytes:    maxHeader,
		ErrorLog:          zap.NewStdLog(s.log.Named("admin")),
	}
}

// AdminHandler is the admin API: JSON in, JSON out, errors as protocol.Problem.
// Every request shows the token. Config.Routes come on top.
//
//	GET    /api/v1/status
//	GET    /api/v1/events
//	GET    /api/v1/contents
//	POST   /api/v1/contents                    AddContent; streams Step
//	GET    /api/v1/contents/{id}
//	PATCH  /api/v1/contents/{id}               SetContent
//	DELETE /api/v1/contents/{id}
//	POST   /api/v1/contents/{id}/validate      streams Step
//	POST   /api/v1/contents/{id}/update        AddContent; streams Step
//	POST   /api/v1/contents/{id}/attach        Attachments; streams Step
//	POST   /api/v1/contents/{id}/repair        RepairContent; streams Step
//	GET    /api/v1/contents/{id}/export        frames, see AdminClient.Export
//	POST   /api/v1/contents/import             ImportContent; streams Step; or an export as the body
//	POST   /api/v1/garbage                     deletes what no content uses
//	POST   /api/v1/tokens                      CreateToken
//	GET    /api/v1/sessions
//	POST   /api/v1/sessions                    StartSession
//	GET    /api/v1/sessions/{id}
//	DELETE /api/v1/sessions/{id}
//	DELETE /api/v1/sessions/{id}/members/{member}
func (s *Server) AdminHandler(token string) http.Handler { return guard(token, s.adminRoutes()) }

func (s *Server) adminRoutes() http.Handler {
	mux := http.NewServeMux()
	handle := func(pattern string, f func(http.ResponseWriter, *http.Request) error) {
		method, path, _ := strings.Cut(pattern, " ")
		mux.HandleFunc(method+" "+AdminPrefix+path, func(w http.ResponseWriter, r *http.Request) {
			if err := f(w, r); err != nil {
				writeProblem(w, err)
			}
		})
	}
	handle("GET /status", s.getStatus)
	handle("GET /events", s.getEvents)
	handle("GET /contents", s.listContents)
	handle("POST /contents", s.addContent)
	handle("GET /contents/{id}", s.getContent)
	handle("PATCH /contents/{id}", s.setContent)
	handle("DELETE /contents/{id}", s.removeContent)
	handle("POST /contents/{id}/validate", s.validateContent)
	handle("POST /contents/{id}/update", s.updateContent)
	handle("POST /contents/{id}/attach", s.attachContent)
	handle("POST /contents/{id}/repair", s.repairContent)
	handle("GET /contents/{id}/export", s.exportContent)
	handle("POST /contents/import", s.importContent)
	handle("POST /garbage", s.collectGarbage)
	handle("POST /tokens", s.createToken)
	handle("GET /sessions", s.listSessions)
	handle("POST /sessions", s.startSession)
	handle("GET /sessions/{id}", s.getSession)
	handle("DELETE /sessions/{id}", s.cancelSession)
	handle("DELETE /sessions/{id}/members/{member}", s.kickMember)
	s.deviceRoutes(handle)
	for _, r := range s.cfg.Routes {
		handle(r.Pattern, func(w http.ResponseWriter, req *http.Request) error {
			answer, err := r.Answer(w, req)
			if err != nil {
				return err
			}
			writeJSON(w, http.StatusOK, answer)
			return nil
		})
	}
	return mux
}

// Route is one more request of the admin API, about what this package does not
// know.
type Route struct {
	Pattern string // method and path behind AdminPrefix, as in "GET /dhcp/leases"
	// Answer gives what is written as JSON. Errors that are no *protocol.Problem
	// are failures of the server's own.
	Answer func(w http.ResponseWriter, r *http.Request) (any, error)
}

// ReadBody reads a request's JSON into v, for a Route.
func ReadBody(w http.ResponseWriter, r *http.Request, v any) error {
	return readJSON(w, r, maxAdminBody, v)
}

// NewProblem makes a refusal, for a Route. The detail is one line with the names
// in it, the hint is the way out.
func NewProblem(status int, hint, format string, args ...any) *protocol.Problem {
	return problem(status, "", hint, format, args...)
}

// localOnly keeps pages that somebody has open in a browser away: they can reach
// neither a unix socket nor name it, but what they send might be passed on.
func localOnly(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !localHost(r.Host) || !localOrigin(r.Header.Get("Origin")) {
			writeProblem(w, problem(http.StatusForbidden, protocol.CodeRefused, "use localhost", "the admin API is not reached by the name %q", r.Host))
			return
		}
		next.ServeHTTP(w, r)
	})
}

// guard lets requests through that show the token and come from a program, not
// from a page that somebody has open in a browser on this host: those name
// another origin, or reach loopback by a name of their own (DNS rebinding).
func guard(token string, next http.Handler) http.Handler {
	want := sha256.Sum256([]byte(token))
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		got := sha256.Sum256([]byte(bearer(r)))
		switch {
		case !localHost(r.Host):
			writeProblem(w, problem(http.StatusForbidden, protocol.CodeRefused, "use 127.0.0.1 or localhost", "the admin API is not reached by the name %q", r.Host))
		case !localOrigin(r.Header.Get("Origin")):
			writeProblem(w, problem(http.StatusForbidden, protocol.CodeRefused, "", "the admin API is not for pages of %q", r.Header.Get("Origin")))
		case subtle.ConstantTimeCompare(want[:], got[:]) != 1 || token == "":
			writeProblem(w, problem(http.StatusUnauthorized, protocol.CodeRefused, "the token is in "+fileAdmin+" of the data folder", "the admin token is missing or wrong"))
		default:
			next.ServeHTTP(w, r)
		}
	})
}

// localHost accepts addresses and localhost: a name that somebody else's DNS
// answers for is neither.
func localHost(host string) bool {
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	}
	if host == "localhost" {
		return true
	}
	_, err := netip.ParseAddr(strings.Trim(host, "[]"))
	return err == nil
}

func localOrigin(origin string) bool {
	if origin == "" {
		return true
	}
	u, err := url.Parse(origin)
	if err != nil {
		return false
	}
	a, err := netip.ParseAddr(u.Hostname())
	return u.Hostname() == "localhost" || err == nil && a.IsLoopback()
}

// Status is what a server says about itself.
type Status struct {
	Version  string    `json:"version"`
	Started  time.Time `json:"started"`
	Data     string    `json:"data"`
	Join     string    `json:"join,omitempty"` // URL; "" when no server is running
	Pin      string    `json:"pin"`
	Assigned string    `json:"assigned,omitempty"` // content that machines receive
	Contents int       `json:"contents"`
	// Damaged are the ids of contents that the last validation found damaged.
	Damaged []string `json:"damaged,omitempty"`
	// Problems are what the library could not use when it was opened.
	Problems []string `json:"problems,omitempty"`
	Sessions int      `json:"sessions"` // running
	Network  *Network `json:"network,omitempty"`
	// Devices on record, by state; those waiting for approval among them.
	Devices map[deploy.State]int `json:"devices,omitempty"`
	// EventsLost counts events that came too fast to be kept.
	EventsLost uint64 `json:"events_lost,omitempty"`
}

// Network is what a server sees of its network; nil in a Status when no server
// is running.
type Network struct {
	Interfaces []string `json:"interfaces"` // with addresses, as in "eth1 192.0.2.1"
	DHCP       string   `json:"dhcp"`       // proxy, server or off
	DHCP6      bool     `json:"dhcp6,omitempty"`
	Leases     int      `json:"leases,omitempty"`
	// Requests and Answered count DHCP packets since the server started.
	Requests uint64 `json:"requests"`
	Answered uint64 `json:"answered"`
	Ports    []Port `json:"ports,omitempty"` // that it listens on
	// Malformed were no DHCP, Limited came from machines that asked too often,
	// Dropped found the queues full.
	Malformed uint64 `json:"malformed,omitempty"`
	Limited   uint64 `json:"limited,omitempty"`
	Dropped   uint64 `json:"dropped,omitempty"`
	// Others are DHCP and PXE servers beside this one.
	Others []OtherServer `json:"others,omitempty"`
}

// Port is a port, or a range of them, that a server listens on.
type Port struct {
	Proto string `json:"proto"` // udp or tcp
	Port  uint16 `json:"port"`
	Last  uint16 `json:"last,omitempty"` // of a range
	What  string `json:"what"`
	Reply bool   `json:"reply,omitempty"` // only answers to what was sent from there come in
}

// OtherServer is a server that was seen on a segment.
type OtherServer struct {
	Interface string `json:"interface"`
	Address   string `json:"address"`
	What      string `json:"what"` // "DHCP server" or "PXE server"
	// Trouble says that it gets in this server's way.
	Trouble string `json:"trouble,omitempty"`
}

func (s *Server) getStatus(w http.ResponseWriter, _ *http.Request) error {
	contents, err := s.library.List()
	if err != nil {
		return contentProblem(err)
	}
	st := Status{
		Version: s.cfg.Version, Started: s.started.UTC(), Data: s.cfg.Data, Join: s.cfg.JoinURL,
		Pin: s.identity.Pin.String(), Assigned: s.cfg.Assign.Content, Contents: len(contents),
	}
	for _, ct := range contents {
		if ct.Checked != nil && ct.Checked.Problem != "" {
			st.Damaged = append(st.Damaged, ct.ID)
		}
	}
	for _, p := range s.library.Problems() {
		st.Problems = append(st.Problems, p.String())
	}
	if s.cfg.Devices != nil {
		st.Devices = s.cfg.Devices.Count()
	}
	if s.cfg.Timeline != nil {
		st.EventsLost = s.cfg.Timeline.Dropped()
	}
	if s.cfg.Network != nil {
		st.Network = s.cfg.Network()
	}
	if s.keeper != nil {
		for _, info := range s.keeper.list() {
			if info.Ended == nil {
				st.Sessions++
			}
		}
	}
	writeJSON(w, http.StatusOK, st)
	return nil
}

func (s *Server) getEvents(w http.ResponseWriter, _ *http.Request) error {
	s.mu.Lock()
	list := append([]protocol.Event{}, s.events...)
	s.mu.Unlock()
	writeJSON(w, http.StatusOK, list)
	return nil
}

// CreateToken asks for a token.
type CreateToken struct {
	Content string `json:"content"`        // id or name
	MAC     string `json:"mac,omitempty"`  // the only machine that may use it
	Name    string `json:"name,omitempty"` // what the member is called
	TTL     int    `json:"ttl,omitempty"`  // seconds it is good for; 0 means a day
	// Files makes it a token for another server's repairs instead of a receiver.
	Files bool `json:"files,omitempty"`
}

// Limits of a token's life.
const (
	defaultTokenLife = 24 * time.Hour
	maxTokenLife     = 90 * 24 * time.Hour
)

// CreatedToken is a new token and what a receiver needs beside it.
type CreatedToken struct {
	Token   string    `json:"token"`
	Content string    `json:"content"` // id
	Name    string    `json:"name"`    // of the content
	MAC     string    `json:"mac,omitempty"`
	Expires time.Time `json:"expires"`
	Server  string    `json:"server,omitempty"` // join URL; "" when no server is running
	Pin     string    `json:"pin"`
}

func (s *Server) createToken(w http.ResponseWriter, r *http.Request) error {
	var req CreateToken
	if err := readJSON(w, r, maxAdminBody, &req); err != nil {
		return err
	}
	ct, err := s.contentByID(req.Content)
	if err != nil {
		return err
	}
	if !req.Files {
		if _, err := newParcel(ct); err != nil {
			return err
		}
	} else if req.MAC != "" {
		return problem(http.StatusBadRequest, "", "", "a token for another server is not bound to a MAC")
	}
	ttl := time.Duration(req.TTL) * time.Second
	switch {
	case ttl == 0:
		ttl = defaultTokenLife
	case ttl < time.Second || ttl > maxTokenLife:
		return problem(http.StatusBadRequest, "", "", "a token cannot be good for %s: want 1s to %s", ttl, maxTokenLife)
	}
	if req.MAC != "" {
		mac, err := net.ParseMAC(req.MAC)
		if err != nil || len(mac) != 6 {
			return problem(http.StatusBadRequest, "", "", "MAC %q is not one, as in 52:54:00:12:34:56", req.MAC)
		}
		req.MAC = mac.String()
	}
	secret, token, err := s.tokens.Create(Token{Content: ct.ID, Files: req.Files, MAC: req.MAC, Name: printable(req.Name, 64)}, ttl)
	if err != nil {
		return err
	}
	s.log.Info("token made", zap.String("content", ct.ID), zap.String("mac", token.MAC), zap.Time("expires", token.Expires))
	writeJSON(w, http.StatusCreated, CreatedToken{
		Token: secret, Content: ct.ID, Name: ct.Name, MAC: token.MAC, Expires: token.Expires,
		Server: s.cfg.JoinURL, Pin: s.identity.Pin.String(),
	})
	return nil
}

func (s *Server) listSessions(w http.ResponseWriter, _ *http.Request) error {
	list := []SessionInfo{}
	if s.keeper != nil {
		list = s.keeper.list()
	}
	writeJSON(w, http.StatusOK, list)
	return nil
}

func (s *Server) getSession(w http.ResponseWriter, r *http.Request) error {
	id := strings.ToLower(r.PathValue("id"))
	if s.keeper != nil {
		for _, info := range s.keeper.list() {
			// The content names its session too: people know it better.
			if info.ID == id || info.Carries(id) {
				writeJSON(w, http.StatusOK, info)
				return nil
			}
		}
	}
	return problem(http.StatusNotFound, protocol.CodeNotFound, "castpoint session list shows what there is", "no session %q", id)
}

// StartSession asks for a session before its first member has joined, or for the
// start of one that is waiting.
type StartSession struct {
	Content string `json:"content"` // id or name
	// Also are further contents that it carries; they are sent after it, in this order.
	Also       []string `json:"also,omitempty"`
	MinMembers int      `json:"min_members,omitempty"` // start when so many have joined ...
	Delay      int      `json:"delay,omitempty"`       // ... or so many seconds after the first
	// At is a time at which it starts in any case.
	At         time.Time `json:"at,omitzero"`
	MaxMembers int       `json:"max_members,omitempty"` // more get a session of their own; 0 takes the server's
	Rate       int64     `json:"rate,omitempty"`        // bits per second; 0 takes the server's
	MinRate    int64     `json:"min_rate,omitempty"`    // bits per second; 0 takes the server's
	Open       int       `json:"open,omitempty"`        // seconds to wait for members; 0 means 15 min
	Now        bool      `json:"now,omitempty"`         // start at once with the members there are
	Interface  string    `json:"interface,omitempty"`   // "" is the server's first
}

const defaultOpen = 15 * time.Minute

func (s *Server) startSession(w http.ResponseWriter, r *http.Request) error {
	var req StartSession
	if err := readJSON(w, r, maxAdminBody, &req); err != nil {
		return err
	}
	if s.keeper == nil {
		return errNoNetwork
	}
	if req.MinMembers < 0 || req.MaxMembers < 0 || req.Delay < 0 || req.Rate < 0 || req.MinRate < 0 || req.Open < 0 {
		return problem(http.StatusBadRequest, "", "", "numbers of a start rule cannot be negative")
	}
	if req.MaxMembers > 0 && req.MinMembers > req.MaxMembers {
		return problem(http.StatusBadRequest, "", "", "the session would wait for %d members and have room for %d", req.MinMembers, req.MaxMembers)
	}
	if req.MinRate > 0 && req.Rate > 0 && req.MinRate > req.Rate {
		return problem(http.StatusBadRequest, "", "", "the least rate is above the highest")
	}
	if !req.At.IsZero() && req.At.Before(time.Now()) {
		return problem(http.StatusBadRequest, "", "--now starts it at once", "%s is over", req.At.Format(time.DateTime))
	}
	var parcels []parcel
	for _, id := range append([]string{req.Content}, req.Also...) {
		p, err := s.parcel(id)
		if err != nil {
			return err
		}
		parcels = append(parcels, p)
	}
	rule := StartRule{
		MinMembers: req.MinMembers, MaxWait: time.Duration(req.Delay) * time.Second, At: req.At,
		MaxMembers: req.MaxMembers, Rate: req.Rate, MinRate: req.MinRate,
		Open: time.Duration(req.Open) * time.Second,
	}
	if rule.Open == 0 {
		rule.Open = defaultOpen
	}
	link, err := s.keeper.linkNamed(req.Interface)
	if err != nil {
		return err
	}
	c, made, err := s.keeper.session(parcels, link, 0, rule)
	if err != nil {
		return contentProblem(err)
	}
	switch {
	case req.Now:
		c.StartNow()
	case !made:
		return problem(http.StatusConflict, protocol.CodeRefused, "--now starts it if it is waiting, castpoint session cancel ends it",
			"session %08x of %s is running already", c.ID(), parcels[0].content.ID)
	}
	status := http.StatusOK
	if made {
		status = http.StatusCreated
	}
	writeJSON(w, status, c.info())
	return nil
}

func errNoMulticast(id string) *protocol.Problem {
	return problem(http.StatusForbidden, protocol.CodeRefused, "castpoint content set "+id+" --multicast allows it",
		"content %s may not be sent by multicast", id)
}

func (s *Server) session(r *http.Request) (*cast, error) {
	if s.keeper == nil {
		return nil, errNoNetwork
	}
	return s.keeper.find(strings.ToLower(r.PathValue("id")))
}

func (s *Server) cancelSession(w http.ResponseWriter, r *http.Request) error {
	c, err := s.session(r)
	if err != nil {
		return err
	}
	c.cancel()
	select {
	case <-c.Done():
	case <-r.Context().Done():
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

func (s *Server) kickMember(w http.ResponseWriter, r *http.Request) error {
	c, err := s.session(r)
	if err != nil {
		return err
	}
	id := r.PathValue("member")
	member, err := strconv.ParseUint(id, 10, 32)
	if err != nil {
		// By name, when only one has it.
		var found []uint32
		for _, m := range c.Status().Members {
			if m.Name == id && m.Reason == "" {
				found = append(found, m.ID)
			}
		}
		if len(found) != 1 {
			return problem(http.StatusNotFound, protocol.CodeNotFound, "castpoint session show lists them with their numbers", "%d members are called %q", len(found), id)
		}
		member = uint64(found[0])
	}
	if err := s.kick(c, uint32(member)); err != nil {
		return err
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

// Step is one line of a streamed answer: progress, and at last either a result
// or a problem.
type Step struct {
	Done    int64             `json:"done,omitempty"` // bytes
	Total   int64             `json:"total,omitempty"`
	Result  json.RawMessage   `json:"result,omitempty"`
	Problem *protocol.Problem `json:"problem,omitempty"`
}

// stepInterval is how often progress becomes a line.
const stepInterval = 200 * time.Millisecond

// stream answers with the steps of work. Its progress function may be called
// from any goroutine, but only until work returns.
func stream(w http.ResponseWriter, work func(progress func(done, total int64)) (any, error)) {
	w.Header().Set("Content-Type", "application/x-ndjson")
	w.Header().Set("Cache-Control", "no-store")
	enc := json.NewEncoder(w)
	flush := http.NewResponseController(w)
	send := func(s Step) {
		_ = enc.Encode(s) // a client that has gone ends the request's context
		_ = flush.Flush()
	}
	var last time.Time
	result, err := work(func(done, total int64) {
		if now := time.Now(); now.Sub(last) >= stepInterval || done == total {
			last = now
			send(Step{Done: done, Total: total})
		}
	})
	var final Step
	if err == nil {
		final.Result, err = json.Marshal(result)
	}
	if err != nil {
		p := *asProblem(err)
		final = Step{Problem: &p}
	}
	send(final)
}
