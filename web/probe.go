package web

import (
	"cmp"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"strconv"
	"time"

	"go.uber.org/zap"

	"castpoint/agent/protocol"
	"castpoint/internal/netio"
	"castpoint/multicast"
	"castpoint/web/api"
)

const (
	// probeIdle is how long a probe waits for its machine's next wish.
	probeIdle = 30 * time.Second
	// probeRate is the highest rate of trains when neither the settings nor the
	// interface say one, in bits per second.
	probeRate = 10e9
	// probeMTU bounds packets: the loopback interface takes much more than any network.
	probeMTU = 9216
)

// probe is a machine that castpoint doctor multicast measures the way to.
type probe struct {
	*multicast.ProbeSender
	offer  multicast.ProbeOffer
	conn   *netio.GroupSender
	secret string // hash of its token or ticket
	idle   *time.Timer
}

// openProbe makes a probe on the interface that local is the address of. There is
// one at a time: two would measure each other.
func (k *Keeper) openProbe(secret string, local netip.Addr) (*probe, error) {
	link := k.cfg.linkOf(local)
	ifi, err := net.InterfaceByName(link.Interface)
	if err != nil {
		return nil, fmt.Errorf("probe: interface %s: %w", link.Interface, err)
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	switch {
	case k.closed:
		return nil, api.ErrClosing
	case k.probe != nil && k.probe.secret != secret:
		return nil, api.Refusal(http.StatusServiceUnavailable, protocol.CodeTooMany, "try again in a minute", "another machine is being measured")
	case k.probe != nil:
		k.takeProbe(k.probe) // the same machine starts again
	}
	conn, group, err := k.openGroup(link)
	if err != nil {
		return nil, fmt.Errorf("probe: %w", err)
	}
	offer := multicast.ProbeOffer{
		ID: k.newID(), Group: group, Source: feedback(link, conn.Local()), MTU: min(ifi.MTU, probeMTU), Others: len(k.live),
		Rate: float64(cmp.Or(netio.LinkSpeed(link.Interface), probeRate)),
	}
	terms := k.terms.Load()
	for _, limit := range []int64{terms.Rate, terms.TotalRate} {
		if limit > 0 && float64(limit) < offer.Rate {
			offer.Rate, offer.Capped = float64(limit), true
		}
	}
	p := &probe{conn: conn, secret: secret}
	if p.ProbeSender, p.offer, err = multicast.NewProbeSender(offer, conn); err != nil {
		return nil, errors.Join(fmt.Errorf("probe: %w", err), conn.Close())
	}
	p.idle = time.AfterFunc(probeIdle, func() { k.endProbe(p) })
	k.probe = p
	return p, nil
}

// probeOf is the running probe, if its machine asks.
func (k *Keeper) probeOf(secret string, id uint32) (*probe, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if p := k.probe; p != nil && p.secret == secret && p.offer.ID == id {
		p.idle.Reset(probeIdle)
		return p, nil
	}
	return nil, api.Refusal(http.StatusNotFound, protocol.CodeNotFound, "begin again", "there is no probe %08x, or it has ended", id)
}

// endProbe ends a probe; a second call does nothing.
func (k *Keeper) endProbe(p *probe) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.takeProbe(p)
}

// takeProbe is endProbe with k.mu held.
func (k *Keeper) takeProbe(p *probe) {
	if k.probe != p {
		return
	}
	k.probe = nil
	p.idle.Stop()
	if err := p.conn.Close(); err != nil {
		k.log.Warn("probe not closed", zap.Error(err))
	}
}

// prober is the secret of who may be measured: the owner of a token that a person has
// made, used or not. Everybody on a boot network can have one made for a boot, and with
// it he must not have the network filled.
func (s *Server) prober(r *http.Request) (string, error) {
	if s.keeper == nil {
		return "", errNoNetwork
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

func (s *Server) serveProbe(w http.ResponseWriter, r *http.Request) {
	secret, err := s.prober(r)
	var p *probe
	if err == nil {
		p, err = s.keeper.openProbe(secret, localAddr(r))
	}
	if err != nil {
		s.refuse(w, r, err)
		return
	}
	s.joinLog.Info("machine is being measured", zap.Stringer("peer", remoteAddr(r)), zap.Stringer("group", p.offer.Group))
	api.WriteJSON(w, http.StatusOK, p.offer)
}

func (s *Server) serveProbeTrain(w http.ResponseWriter, r *http.Request) {
	sent, err := s.train(w, r)
	if err != nil {
		s.refuse(w, r, err)
		return
	}
	api.WriteJSON(w, http.StatusOK, sent)
}

// train sends one train.
func (s *Server) train(w http.ResponseWriter, r *http.Request) (sent multicast.ProbeSent, err error) {
	var t multicast.ProbeTrain
	if err = api.ReadJSON(w, r, maxJoinBody, &t); err != nil {
		return sent, err
	}
	secret, err := s.prober(r)
	if err != nil {
		return sent, err
	}
	p, err := s.keeper.probeOf(secret, t.ID)
	if err != nil {
		return sent, err
	}
	if err := t.Check(&p.offer); err != nil {
		return sent, api.Refusal(http.StatusBadRequest, "", "", "%v", err)
	}
	to := remoteAddr(r)
	if t.Unicast && to.Is4() != p.offer.Group.Addr().Is4() {
		return sent, api.Refusal(http.StatusBadRequest, "", "join by an address of the group's family", "no datagram goes from %s to %s", p.offer.Source, to)
	}
	return p.Send(r.Context(), t, to)
}

func (s *Server) serveProbeEnd(w http.ResponseWriter, r *http.Request) {
	secret, err := s.prober(r)
	id, perr := strconv.ParseUint(r.PathValue("id"), 10, 32)
	if perr != nil {
		id = 0 // of no probe
	}
	var p *probe
	if err == nil {
		p, err = s.keeper.probeOf(secret, uint32(id))
	}
	if err != nil {
		s.refuse(w, r, err)
		return
	}
	s.keeper.endProbe(p)
	w.WriteHeader(http.StatusNoContent)
}
