package join

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"go.uber.org/zap"

	"castpoint/agent/protocol"
	"castpoint/content"
	"castpoint/internal/httpconn"
	"castpoint/internal/loglevel"
	"castpoint/internal/netio"
	"castpoint/multicast"
	"castpoint/multicast/probe"
	"castpoint/multicast/sender"
	"castpoint/web/access"
	"castpoint/web/admit"
	"castpoint/web/api"
	"castpoint/web/delivery"
	"castpoint/web/session"
)

// Limits of the join listener.
const (
	maxJoinBody  = 16 << 10
	maxEventBody = 16 << 10
	maxHeader    = 16 << 10
	headerTime   = 10 * time.Second // for a whole request: bodies are small
	idleTime     = 2 * time.Minute
	writeTime    = 30 * time.Second // without progress of an answer
	maxMACs      = 32
	// Connections at once: a machine that runs a sequence has three, and many may be
	// behind one address.
	maxConns     = 16384
	maxPerClient = 512
)

// JoinServer is the join listener, to be served on a TLS listener with the
// identity's configuration.
func (s *Service) JoinServer() *http.Server {
	return &http.Server{
		Handler:           s.JoinHandler(),
		ReadHeaderTimeout: headerTime,
		ReadTimeout:       headerTime,
		IdleTimeout:       idleTime,
		MaxHeaderBytes:    maxHeader,
		ConnContext:       httpconn.Context,
		ConnState:         httpconn.Limit(maxConns, maxPerClient, s.log),
		ErrorLog:          loglevel.HTTPErrors(s.log),
	}
}

// JoinHandler answers machines. Nothing of the admin API is in it.
func (s *Service) JoinHandler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("POST "+multicast.PathJoin, s.serveJoin)
	mux.HandleFunc("POST "+multicast.PathLeave, s.serveLeave)
	mux.HandleFunc("GET "+multicast.PathObject+"{digest}", s.serveObject)
	mux.HandleFunc("POST "+multicast.PathObject+"{digest}"+multicast.PathDoubt, s.serveDoubt)
	mux.HandleFunc("POST "+probe.Path, s.serveProbe)
	mux.HandleFunc("POST "+probe.PathTrain, s.serveProbeTrain)
	mux.HandleFunc("DELETE "+probe.Path+"/{id}", s.serveProbeEnd)
	mux.HandleFunc("GET "+protocol.PathPolicy, s.servePolicy)
	mux.HandleFunc("POST "+protocol.PathEvents, s.serveEvent)
	if s.delivery != nil {
		for _, route := range s.delivery.Routes() {
			mux.HandleFunc(route.Pattern, func(w http.ResponseWriter, r *http.Request) {
				if err := route.Answer(w, r); err != nil {
					s.refuse(w, r, err)
				}
			})
		}
	}
	return s.refusing(mux)
}

// refusing turns addresses away that have failed too often, and counts the
// failures of the others. Answers wait for nobody who does not take them.
func (s *Service) refusing(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w = &patient{ResponseWriter: w, control: http.NewResponseController(w)}
		if err := s.failures.blocked(access.RemoteAddr(r)); err != nil {
			api.WriteProblem(w, err)
			return
		}
		// What follows on the connection of an image is small again.
		httpconn.TakePlace(r.Context(), netio.Ordinary)
		next.ServeHTTP(w, r)
	})
}

// refuse answers a machine, and counts a proof that was no proof.
func (s *Service) refuse(w http.ResponseWriter, r *http.Request, err error) {
	p := api.AsProblem(err)
	switch p.Code {
	case protocol.CodeTokenUnknown, protocol.CodeTicketUnknown, protocol.CodeTokenUsed:
		s.failures.note(access.RemoteAddr(r))
	}
	level := zap.InfoLevel
	if p.Status >= http.StatusInternalServerError {
		level = zap.ErrorLevel
	}
	s.log.Log(level, "machine refused", zap.String("path", r.URL.Path), zap.Stringer("peer", access.RemoteAddr(r)),
		zap.Int("status", p.Status), zap.String("reason", p.Detail))
	api.WriteProblem(w, p)
}

func (s *Service) serveJoin(w http.ResponseWriter, r *http.Request) {
	var req multicast.JoinRequest
	err := api.ReadJSON(w, r, maxJoinBody, &req)
	var adm *multicast.Admission
	if err == nil {
		adm, err = s.join(req, access.RemoteAddr(r), localAddr(r), requestMACs(r))
	}
	if err != nil {
		s.refuse(w, r, err)
		return
	}
	api.WriteJSON(w, http.StatusOK, adm)
}

// requestMACs are the hardware addresses that the machine says it has.
func requestMACs(r *http.Request) []string {
	var macs []string
	for part := range strings.SplitSeq(r.Header.Get(protocol.HeaderMAC), ",") {
		if mac, err := net.ParseMAC(strings.TrimSpace(part)); err == nil && len(macs) < maxMACs {
			macs = append(macs, mac.String())
		}
	}
	return macs
}

// memberName makes what a machine calls itself fit for tables and logs.
func memberName(name string, remote netip.Addr) string {
	if name = Printable(name, 64); name == "" {
		return remote.String()
	}
	return name
}

// Printable keeps what a terminal shows as it is, at most limit bytes.
func Printable(s string, limit int) string {
	s = strings.Map(func(r rune) rune {
		if r < ' ' || r > '~' {
			return -1
		}
		return r
	}, s)
	if s = strings.TrimSpace(s); len(s) > limit {
		s = s[:limit]
	}
	return s
}

// join admits a member by token or ticket.
func (s *Service) join(req multicast.JoinRequest, remote, local netip.Addr, macs []string) (*multicast.Admission, error) {
	if s.keeper == nil {
		return nil, ErrNoNetwork
	}
	if (req.Token == "") == (req.Ticket == "") {
		return nil, api.Refusal(http.StatusBadRequest, "", "", "a join needs either a token or a ticket")
	}
	if req.Ticket != "" {
		return s.rejoin(req, remote, local)
	}
	proof := delivery.Proof(req.Token, req.Nonce)
	token, err := s.tokens.Check(req.Token, proof, macs)
	if err != nil {
		return nil, err
	}
	if err := s.mayReceive(token.MAC, token.Granted); err != nil {
		return nil, err
	}
	name := token.Name
	if name == "" || req.Name != "" {
		name = memberName(req.Name, remote)
	}
	place, adm, err := s.admit(s.wanted(token), req.Content, sender.Candidate{Name: name, AES: req.AES}, local, nil)
	if err != nil {
		return nil, err
	}
	place.Session.From(adm.Member.ID, remote)
	// Only now: a join that fails for another reason must not cost the token. Of
	// two that come at once, the second loses its place again.
	if token, err = s.tokens.Use(req.Token, name, proof, macs); err == nil {
		// A machine that asks again has not got the answer, and so not the ticket in it.
		err = s.forsake(s.tickets.Of(token.Hash))
	}
	if err != nil {
		place.Session.Leave(adm.Member.ID, multicast.LeaveRequest{Reason: "token refused"})
		return nil, err
	}
	ticket := admit.Ticket{Name: name, MAC: token.MAC, Granted: token.Granted, Token: token.Hash, Content: place.Parcel.Content.ID, Object: place.Parcel.Digest}
	if adm.Ticket, err = s.tickets.Create(ticket); err != nil {
		place.Session.Leave(adm.Member.ID, multicast.LeaveRequest{Reason: "no ticket"})
		return nil, err
	}
	s.enrol(admit.HashOf(adm.Ticket), place)
	s.recordJoin(ticket, adm, remote, "joined")
	return adm, nil
}

// forsake ends tickets that nobody has, and the memberships that came with them.
func (s *Service) forsake(tickets []string) error {
	if len(tickets) == 0 {
		return nil
	}
	s.mu.Lock()
	var places []session.Place
	for _, h := range tickets {
		if m, ok := s.members[h]; ok {
			places = append(places, m)
			delete(s.members, h)
		}
	}
	s.mu.Unlock()
	for _, m := range places {
		m.Session.Leave(m.Member, multicast.LeaveRequest{Reason: session.ReasonAgain})
	}
	return s.tickets.Revoke(tickets, "its machine has joined again by its token")
}

// mayReceive refuses machines that were denied since they got their token or ticket,
// and, for those that were granted to a run, machines that may not run anything any
// more.
func (s *Service) mayReceive(mac string, granted bool) error {
	if why := s.denied(mac); why != "" {
		return api.Refusal(http.StatusForbidden, protocol.CodeRefused, "", "%s", why)
	}
	if granted && s.delivery != nil {
		return s.delivery.MayReceive(mac)
	}
	return nil
}

// rejoin readmits the owner of a ticket.
func (s *Service) rejoin(req multicast.JoinRequest, remote, local netip.Addr) (*multicast.Admission, error) {
	ticket, err := s.tickets.Look(req.Ticket)
	if err == nil {
		err = s.mayReceive(ticket.MAC, ticket.Granted)
	}
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	was, had := s.members[ticket.Hash]
	s.mu.Unlock()
	var outpaced *session.Session
	if had && was.Outpaced() {
		outpaced = was.Session
	}
	place, adm, err := s.admit(ticket.Content, req.Content, sender.Candidate{Name: ticket.Name, AES: req.AES}, local, outpaced)
	if err != nil {
		return nil, err
	}
	place.Session.From(adm.Member.ID, remote)
	if place.Parcel.Digest != ticket.Object {
		place.Session.Leave(adm.Member.ID, multicast.LeaveRequest{Reason: "ticket of another object"})
		return nil, api.Refusal(http.StatusForbidden, protocol.CodeTicketUnknown, "start again with a new token",
			"content %s has changed since this machine joined", ticket.Content)
	}
	adm.Ticket = req.Ticket
	if had && was.Session == place.Session {
		place.Session.Rejoined(place.Member, was.Member)
	}
	s.enrol(ticket.Hash, place)
	s.recordJoin(ticket, adm, remote, "came back to")
	return adm, nil
}

// enrol notes a ticket's place in a session and gives up the one it had.
func (s *Service) enrol(hash string, m session.Place) {
	s.mu.Lock()
	for h, other := range s.members {
		if h != hash && other.Session.Over() {
			delete(s.members, h)
		}
	}
	old, had := s.members[hash]
	s.members[hash] = m
	s.mu.Unlock()
	if had {
		old.Session.Leave(old.Member, multicast.LeaveRequest{Reason: session.ReasonAgain})
	}
}

// wanted is the content that a token is for at this moment.
func (s *Service) wanted(t admit.Token) string {
	if t.Content == "" && t.Boot {
		return s.Assigned()
	}
	return t.Content
}

// admit brings a member into the session of the content id. asked is what the
// machine asked for; "" takes what it may have. local is the address it came to,
// outpaced the session that was too fast for it, if any.
func (s *Service) admit(id, asked string, who sender.Candidate, local netip.Addr, outpaced *session.Session) (session.Place, *multicast.Admission, error) {
	var none session.Place
	if id == "" {
		return none, nil, api.Refusal(http.StatusForbidden, protocol.CodeRefused, "start castpoint serve with --assign CONTENT",
			"no content is assigned to machines that netboot")
	}
	p, err := session.Receivable(s.library, id)
	if err != nil {
		return none, nil, err
	}
	if asked != "" {
		other, err := api.Content(s.library, asked)
		if err != nil {
			return none, nil, err
		}
		if other.ID != p.Content.ID {
			return none, nil, api.Refusal(http.StatusForbidden, protocol.CodeTokenOther, "make one for it with castpoint token create",
				"the token is for content %s, not for %s", p.Content.ID, asked)
		}
	}
	if err := p.Content.Damage(); err != nil {
		return none, nil, api.ContentProblem(err)
	}
	in, adm, err := s.keeper.Admit(p, who, local, outpaced)
	if err != nil {
		return none, nil, api.ContentProblem(err)
	}
	return session.Place{Session: in, Member: adm.Member.ID, Parcel: p}, adm, nil
}

// ErrNoNetwork is what is answered where sessions are needed and no network is served.
var ErrNoNetwork = api.Refusal(http.StatusServiceUnavailable, protocol.CodeRefused, "start it with castpoint serve", "no server is running for this data folder")

func (s *Service) serveLeave(w http.ResponseWriter, r *http.Request) {
	var req multicast.LeaveRequest
	err := api.ReadJSON(w, r, maxJoinBody, &req)
	var ticket admit.Ticket
	if err == nil {
		ticket, err = s.tickets.Look(bearer(r))
	}
	if err != nil {
		s.refuse(w, r, err)
		return
	}
	req.Reason = Printable(req.Reason, 200)
	s.mu.Lock()
	m, ok := s.members[ticket.Hash]
	delete(s.members, ticket.Hash)
	s.mu.Unlock()
	if ok {
		m.Session.Left(m.Member, req)
		m.Session.Leave(m.Member, req)
		s.recordLeave(ticket, req, access.RemoteAddr(r))
	}
	if req.Complete {
		err = s.tickets.End(ticket.Hash)
	}
	if err != nil {
		s.refuse(w, r, err)
		return
	}
	w.WriteHeader(http.StatusNoContent)
}

// Kick ends a member of a session and everything its ticket allowed.
func (s *Service) Kick(c *session.Session, member uint32, by string) error {
	if err := c.Kick(member); err != nil {
		return api.Refusal(http.StatusNotFound, protocol.CodeNotFound, "castpoint session show lists the members", "%v", err)
	}
	s.mu.Lock()
	var hash string
	for h, m := range s.members {
		if m.Session == c && m.Member == member {
			hash = h
			delete(s.members, h)
		}
	}
	s.mu.Unlock()
	if hash == "" {
		return nil
	}
	return s.tickets.Revoke([]string{hash}, fmt.Sprintf("this machine was taken out of session %08x of %s by %s", c.ID(), c.Info().Content, by))
}

// Cancel ends a session, and what the tickets of its members allow.
func (s *Service) Cancel(ctx context.Context, c *session.Session, by string) error {
	// Their tickets first: members that hear the end join again at once.
	s.mu.Lock()
	var hashes []string
	for h, m := range s.members {
		if m.Session == c {
			hashes = append(hashes, h)
			delete(s.members, h)
		}
	}
	s.mu.Unlock()
	if err := s.tickets.Revoke(hashes, fmt.Sprintf("session %08x of %s was cancelled by %s", c.ID(), c.Info().Content, by)); err != nil {
		return err
	}
	c.End()
	select {
	case <-c.Done():
	case <-ctx.Done():
	}
	return nil
}

// serveObject gives members ranges of their object, when the content allows it.
func (s *Service) serveObject(w http.ResponseWriter, r *http.Request) {
	if err := s.object(w, r); err != nil {
		s.refuse(w, r, err)
	}
}

func (s *Service) object(w http.ResponseWriter, r *http.Request) error {
	ticket, err := s.tickets.Look(bearer(r))
	if err != nil {
		if token, terr := s.tokens.Look(bearer(r)); terr == nil && token.Files {
			return s.objectForServer(w, r, token)
		}
		if s.delivery != nil && !ended(err) {
			ct, object, runErr := s.delivery.Object(bearer(r), r.PathValue("digest"))
			if runErr != nil {
				return runErr
			}
			if err := ct.Damage(); err != nil {
				return api.ContentProblem(err)
			}
			return s.sendObject(w, r, ct, object)
		}
		return err
	}
	if err := s.mayReceive(ticket.MAC, ticket.Granted); err != nil {
		return err
	}
	ct, err := api.Content(s.library, ticket.Content)
	if err != nil {
		return err
	}
	s.mu.Lock()
	m, ok := s.members[ticket.Hash]
	s.mu.Unlock()
	p := m.Parcel // of thousands of files, it is not made anew for each of them
	if !ok {
		if p, err = session.NewParcel(ct); err != nil {
			return err
		}
	}
	var object content.Digest
	if err := object.UnmarshalText([]byte(r.PathValue("digest"))); err != nil || p.Digest != ticket.Object || !p.Has(object) {
		return api.Refusal(http.StatusForbidden, protocol.CodeTokenOther, "", "the ticket is for the objects of content %s as it was", ticket.Content)
	}
	if err := ct.Damage(); err != nil {
		return api.ContentProblem(err)
	}
	if ct.Distribution.MulticastOnly {
		return api.Refusal(http.StatusForbidden, protocol.CodeRefused, "castpoint content set "+ct.ID+" --multicast-only=false allows it",
			"content %s may be sent by multicast only", ct.ID)
	}
	if ok {
		m.Session.ByUnicast(m.Member)
		rate, _ := strconv.ParseFloat(r.Header.Get(multicast.HeaderRate), 64) // without one it is not known
		if why := s.keeper.Advise(m, rate); why != "" {
			w.Header().Set(multicast.HeaderJoin, why)
		}
	}
	return s.sendObject(w, r, ct, object)
}

// ended says whether a ticket is none any more because somebody has ended its session.
func ended(err error) bool {
	p, ok := errors.AsType[*protocol.Problem](err)
	return ok && p.Code == protocol.CodeSessionEnded
}

// objectForServer gives another server an object of the content that its token
// is for, whatever the content's distribution is to machines.
func (s *Service) objectForServer(w http.ResponseWriter, r *http.Request, token admit.Token) error {
	ct, err := api.Content(s.library, token.Content)
	if err != nil {
		return err
	}
	for _, f := range ct.Files {
		if f.Digest.String() == r.PathValue("digest") {
			return s.sendObject(w, r, ct, f.Digest)
		}
	}
	return api.Refusal(http.StatusNotFound, protocol.CodeNotFound, "", "content %s has no object %.64q here: it is another revision, or another content", ct.ID, r.PathValue("digest"))
}

func (s *Service) sendObject(w http.ResponseWriter, r *http.Request, ct *content.Content, d content.Digest) error {
	f, err := s.openObject(ct, d)
	if err != nil {
		return err
	}
	defer f.Close()
	h := w.Header()
	h.Set("Content-Type", "application/octet-stream")
	h.Set("Cache-Control", "no-store")
	h.Set("ETag", `"`+d.String()+`"`)
	httpconn.TakePlace(r.Context(), netio.PlaceOf(ct.Size()))
	http.ServeContent(w, r, "", ct.Created, f)
	return nil
}

// patient gives every write of an answer its own time, so that a slow member is served
// and a dead one is not waited for.
type patient struct {
	http.ResponseWriter
	control *http.ResponseController
}

// Unwrap is for http.ResponseController.
func (p *patient) Unwrap() http.ResponseWriter { return p.ResponseWriter }

func (p *patient) Write(b []byte) (int, error) {
	if err := p.control.SetWriteDeadline(time.Now().Add(writeTime)); err != nil && !errors.Is(err, http.ErrNotSupported) {
		return 0, err
	}
	return p.ResponseWriter.Write(b)
}

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
