package session

import (
	"cmp"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"time"

	"go.uber.org/zap"

	"castpoint/agent/protocol"
	"castpoint/internal/netio"
	"castpoint/multicast/probe"
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

// Probe is a machine that castpoint doctor multicast measures the way to.
type Probe struct {
	*probe.Sender
	Offer  probe.Offer
	conn   *netio.GroupSender
	secret string // hash of its token or ticket
	idle   *time.Timer
}

// OpenProbe makes a probe on the interface that local is the address of. There is
// one at a time: two would measure each other.
func (k *Keeper) OpenProbe(secret string, local netip.Addr) (*Probe, error) {
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
	offer := probe.Offer{
		ID: k.newID(), Group: group, Source: feedback(link, conn.Local()), MTU: min(ifi.MTU, probeMTU), Others: len(k.live),
		Rate: float64(cmp.Or(netio.LinkSpeed(link.Interface), probeRate)),
	}
	terms := k.terms.Load()
	for _, limit := range []int64{terms.Rate, terms.TotalRate} {
		if limit > 0 && float64(limit) < offer.Rate {
			offer.Rate, offer.Capped = float64(limit), true
		}
	}
	p := &Probe{conn: conn, secret: secret}
	if p.Sender, p.Offer, err = probe.NewSender(offer, conn); err != nil {
		return nil, errors.Join(fmt.Errorf("probe: %w", err), conn.Close())
	}
	p.idle = time.AfterFunc(probeIdle, func() { k.EndProbe(p) })
	k.probe = p
	return p, nil
}

// ProbeOf is the running probe, if its machine asks.
func (k *Keeper) ProbeOf(secret string, id uint32) (*Probe, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if p := k.probe; p != nil && p.secret == secret && p.Offer.ID == id {
		p.idle.Reset(probeIdle)
		return p, nil
	}
	return nil, api.Refusal(http.StatusNotFound, protocol.CodeNotFound, "begin again", "there is no probe %08x, or it has ended", id)
}

// EndProbe ends a probe; a second call does nothing.
func (k *Keeper) EndProbe(p *Probe) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.takeProbe(p)
}

// takeProbe is endProbe with k.mu held.
func (k *Keeper) takeProbe(p *Probe) {
	if k.probe != p {
		return
	}
	k.probe = nil
	p.idle.Stop()
	if err := p.conn.Close(); err != nil {
		k.log.Warn("probe not closed", zap.Error(err))
	}
}
