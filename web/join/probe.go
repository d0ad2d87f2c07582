package join

import (
	"net/http"
	"strconv"

	"go.uber.org/zap"

	"castpoint/agent/protocol"
	"castpoint/multicast/probe"
	"castpoint/web/access"
	"castpoint/web/api"
	"castpoint/web/session"
)

// prober is the secret of who may be measured: the owner of a token that a person has
// made, used or not. Everybody on a boot network can have one made for a boot, and with
// it he must not have the network filled.
func (s *Service) prober(r *http.Request) (string, error) {
	if s.keeper == nil {
		return "", ErrNoNetwork
	}
	token, err := s.tokens.Look(bearer(r))
	switch {
	case err != nil:
		return "", err
	case token.Boot || token.Files:
		return "", api.Refusal(http.StatusForbidden, protocol.CodeTokenOther, "make one with castpoint token create", "the token is not one that a person has made for a receiver")
	}
	return token.Hash, nil
}

func (s *Service) serveProbe(w http.ResponseWriter, r *http.Request) {
	secret, err := s.prober(r)
	var p *session.Probe
	if err == nil {
		p, err = s.keeper.OpenProbe(secret, localAddr(r))
	}
	if err != nil {
		s.refuse(w, r, err)
		return
	}
	s.log.Info("machine is being measured", zap.Stringer("peer", access.RemoteAddr(r)), zap.Stringer("group", p.Offer.Group))
	api.WriteJSON(w, http.StatusOK, p.Offer)
}

func (s *Service) serveProbeTrain(w http.ResponseWriter, r *http.Request) {
	sent, err := s.train(w, r)
	if err != nil {
		s.refuse(w, r, err)
		return
	}
	api.WriteJSON(w, http.StatusOK, sent)
}

// train sends one train.
func (s *Service) train(w http.ResponseWriter, r *http.Request) (sent probe.Sent, err error) {
	var t probe.Train
	if err = api.ReadJSON(w, r, maxJoinBody, &t); err != nil {
		return sent, err
	}
	secret, err := s.prober(r)
	if err != nil {
		return sent, err
	}
	p, err := s.keeper.ProbeOf(secret, t.ID)
	if err != nil {
		return sent, err
	}
	if err := t.Check(&p.Offer); err != nil {
		return sent, api.Refusal(http.StatusBadRequest, "", "", "%v", err)
	}
	to := access.RemoteAddr(r)
	if t.Unicast && to.Is4() != p.Offer.Group.Addr().Is4() {
		return sent, api.Refusal(http.StatusBadRequest, "", "join by an address of the group's family", "no datagram goes from %s to %s", p.Offer.Source, to)
	}
	return p.Send(r.Context(), t, to)
}

func (s *Service) serveProbeEnd(w http.ResponseWriter, r *http.Request) {
	secret, err := s.prober(r)
	id, perr := strconv.ParseUint(r.PathValue("id"), 10, 32)
	if perr != nil {
		id = 0 // of no probe
	}
	var p *session.Probe
	if err == nil {
		p, err = s.keeper.ProbeOf(secret, uint32(id))
	}
	if err != nil {
		s.refuse(w, r, err)
		return
	}
	s.keeper.EndProbe(p)
	w.WriteHeader(http.StatusNoContent)
}
