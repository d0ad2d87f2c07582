package join

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"os"
	"strings"
	"time"

	"go.uber.org/zap"

	"castpoint/agent/protocol"
	"castpoint/content"
	"castpoint/content/library"
	"castpoint/internal/event"
	"castpoint/multicast"
	"castpoint/web/access"
	"castpoint/web/api"
	"castpoint/web/session"
)

// serveDoubt hears of a block that a machine got with another hash than the manifest
// has. The machine is not believed: the block is read.
func (s *Service) serveDoubt(w http.ResponseWriter, r *http.Request) {
	var doubt multicast.Doubt
	err := api.ReadJSON(w, r, maxJoinBody, &doubt)
	switch {
	case err != nil:
	case doubt.Source.IsValid():
		err = s.injected(r, doubt.Source.Unmap().WithZone(""))
	default:
		err = s.doubt(r, doubt)
	}
	if err != nil {
		s.refuse(w, r, err)
		return
	}
	w.WriteHeader(http.StatusNoContent)
}

func (s *Service) doubt(r *http.Request, doubt multicast.Doubt) error {
	ct, object, err := s.mayDoubt(r)
	if err != nil {
		return err
	}
	if doubt.Whole {
		s.validateSoon(ct)
		return nil
	}
	err = s.library.CheckBlock(object, doubt.Block)
	if errors.Is(err, content.ErrDamaged) {
		s.Drop(object) // only then: a member may ask for blocks that there are not
	}
	if err != nil {
		return api.ContentProblem(err)
	}
	return nil
}

// injected hears of an address that datagrams of a member's session come from, and that is
// not this server's. It is what the member says, and shown as that.
func (s *Service) injected(r *http.Request, from netip.Addr) error {
	ticket, err := s.tickets.Look(bearer(r))
	if err == nil {
		err = s.mayReceive(ticket.MAC, ticket.Granted)
	}
	if err != nil {
		return err
	}
	s.mu.Lock()
	place, ok := s.members[ticket.Hash]
	s.mu.Unlock()
	if !ok || !place.Session.Injected(from, place.Member) {
		return nil
	}
	info := place.Session.Info()
	var known []string
	for _, i := range info.Injectors {
		if i.Address == from {
			known = i.Members
		}
	}
	s.log.Warn("member gets datagrams of its session from an address that is not this server's", zap.String("session", info.ID), zap.String("content", info.Content),
		zap.Stringer("peer", from), zap.Strings("name", known), zap.String("by", ticket.Name))
	s.record(event.Event{
		MAC: ticket.MAC, Kind: event.KindError, Trouble: true,
		Message: fmt.Sprintf("gets datagrams of session %s from %s, which is not this server, and drops them", info.ID, suspect(from, known)),
		Details: event.Details{Remote: access.RemoteAddr(r).String(), Content: info.Content},
	})
	return nil
}

// suspect names an address, and the members that joined from there.
func suspect(from netip.Addr, members []string) string {
	if len(members) == 0 {
		return from.String()
	}
	return fmt.Sprintf("%s (%s)", from, strings.Join(members, ", "))
}

// mayDoubt is the content and the object of it that a ticket, of a session or of a run,
// gives.
func (s *Service) mayDoubt(r *http.Request) (*content.Content, content.Digest, error) {
	var object content.Digest
	if err := object.UnmarshalText([]byte(r.PathValue("digest"))); err != nil {
		return nil, object, api.Refusal(http.StatusBadRequest, "", "", "object %.64q: %v", r.PathValue("digest"), err)
	}
	ticket, err := s.tickets.Look(bearer(r))
	if err != nil {
		if s.delivery == nil || ended(err) {
			return nil, object, err
		}
		return s.delivery.Object(bearer(r), object.String())
	}
	if err := s.mayReceive(ticket.MAC, ticket.Granted); err != nil {
		return nil, object, err
	}
	ct, err := api.Content(s.library, ticket.Content)
	if err != nil {
		return nil, object, err
	}
	if p, err := session.NewParcel(ct); err != nil || !p.Has(object) {
		return nil, object, api.Refusal(http.StatusForbidden, protocol.CodeTokenOther, "", "the ticket is for the objects of content %s", ct.ID)
	}
	return ct, object, nil
}

// doubtAgain is how long a content is not validated once more because of a doubt: one
// member after the other may have one, and a validation reads all of it.
const doubtAgain = 10 * time.Minute

// validateSoon validates a content beside everything else, unless that is going on or
// was just done.
func (s *Service) validateSoon(ct *content.Content) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if until, ok := s.validating[ct.ID]; s.closed || ok && time.Now().Before(until) {
		return
	}
	s.validating[ct.ID] = time.Now().Add(365 * 24 * time.Hour) // until it has ended
	s.running.Go(func() {
		v, err := s.library.Validate(s.ctx, ct.ID, nil)
		s.mu.Lock()
		s.validating[ct.ID] = time.Now().Add(doubtAgain)
		s.mu.Unlock()
		if err != nil {
			s.log.Warn("content that a machine doubts is not validated", zap.String("content", ct.ID), zap.Error(err))
			return
		}
		for _, f := range v.Files {
			if !f.OK() {
				s.Drop(f.File.Digest)
			}
		}
	})
}

// Drop ends the sessions that send an object: it is damaged, or was replaced, and they
// have it open as it was.
func (s *Service) Drop(object content.Digest) {
	if s.keeper != nil {
		s.keeper.Drop(object)
	}
}

// openObject opens an object to be sent. One that is not as it should be is noted.
func (s *Service) openObject(ct *content.Content, d content.Digest) (*whole, error) {
	f, err := s.library.OpenObject(d)
	if errors.Is(err, content.ErrNotFound) {
		return nil, api.ContentProblem(s.library.NoteDamage(d, "it is missing"))
	}
	if err != nil {
		return nil, api.ContentProblem(err)
	}
	info, err := f.Stat()
	for _, file := range ct.Files {
		if err == nil && file.Digest == d && file.Size != info.Size() {
			err = api.ContentProblem(s.library.NoteDamage(d, fmt.Sprintf("it has %d bytes, not %d", info.Size(), file.Size)))
		}
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return &whole{File: f, library: s.library, digest: d}, nil
}

// whole is an object that is being sent; what cannot be read of it is noted.
type whole struct {
	*os.File
	library *library.Library
	digest  content.Digest
}

func (w *whole) Read(b []byte) (int, error) {
	n, err := w.File.Read(b)
	if err != nil && !errors.Is(err, io.EOF) {
		_ = w.library.NoteDamage(w.digest, fmt.Sprintf("it cannot be read: %v", err)) // which is logged
	}
	return n, err
}

// WriteTo would go round Read.
func (w *whole) WriteTo(to io.Writer) (int64, error) {
	return io.Copy(to, struct{ io.Reader }{w})
}
