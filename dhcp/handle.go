package dhcp

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"time"

	"castpoint/boot"
	"castpoint/dhcp/dhcp4"
	"castpoint/dhcp/socket"

	"github.com/insomniacslk/dhcp/dhcpv4"
	"go.uber.org/zap"
)

// arrival completes what the socket knows about a packet.
func (s *Server) arrival(j job, p *dhcpv4.DHCPv4) dhcp4.Arrival {
	state := j.from.link.state.Load()
	own := state.own(j.SentTo, dhcp4.Addr(p.ClientIPAddr), dhcp4.Addr(p.GatewayIPAddr))
	port := uint16(dhcp4.PortServer)
	if j.from.port == s.config.ports[1] {
		port = dhcp4.PortProxy
	}
	return dhcp4.Arrival{
		Interface: j.from.link.name, Index: state.index, Server: own.Addr(), Network: own.Masked(),
		Port: port, Source: j.Source, Local: j.SentTo,
	}
}

// handle answers one request. It blocks on nothing but the planner and the
// lease store.
func (s *Server) handle(ctx context.Context, j job, request *dhcpv4.DHCPv4) {
	a := s.arrival(j, request)
	client, err := dhcp4.Identify(request, a)
	if err != nil {
		s.malformed.Add(1)
		return
	}
	e := Event{Time: time.Now(), Client: client, Port: a.Port, Asked: typeName(request.MessageType())}
	if !s.admits(limitKey(request, client), e) {
		return
	}
	if server := dhcp4.Chosen(request, a); server.IsValid() {
		s.sight(Sighting{a.Interface, server, SeenDHCP})
	}
	quirk := dhcp4.QuirkOf(s.manner.Load().quirks, client)
	if quirk.As != nil {
		client.Arch, client.HasArch = *quirk.As, true
		e.Client = client
	}
	quirk, delay := s.device(client, quirk)
	e.Quirk = quirk.Name
	t := dhcp4.Terms{Mode: s.config.Mode, Arrival: a, Client: client, Style: quirk.Style}
	if dhcp4.Netboots(client) {
		t.Plan = s.config.Planner.Plan(client)
		if s.manner.Load().menu != nil && t.Plan.Serve {
			t.Menu = s.menu(client, t.Plan)
		}
	}
	answer := func() {
		if s.leases == nil || a.Port != dhcp4.PortServer {
			s.answer(j.from, request, t, e)
			return
		}
		s.lease(ctx, j.from, request, t, e)
	}
	if delay > 0 && request.MessageType() == dhcpv4.MessageTypeDiscover {
		if !s.after(ctx, delay, answer) {
			s.dropped.Add(1)
		}
		return
	}
	answer()
}

// admits reports whether the client may be answered at all: it does not ask too
// often, and the lists let it. If not, the silence is counted and its reason told.
func (s *Server) admits(key string, e Event) bool {
	if ok, first := s.limits.allow(key, e.Time); !ok {
		s.limited.Add(1)
		if first {
			e.Reason = fmt.Sprintf("more than %d requests at once: ignored until it sends fewer than %d a second", limitBurst, limitRate)
			s.report(e)
		}
		return false
	}
	if e.Reason = s.listed(e.Client); e.Reason != "" {
		s.silent.Add(1)
		s.report(e)
		return false
	}
	return true
}

func limitKey(request *dhcpv4.DHCPv4, c boot.Client) string {
	switch {
	case len(c.MAC) > 0:
		return string(c.MAC)
	case c.UUID != "":
		return c.UUID
	}
	return string(request.Options.Get(dhcpv4.OptionClientIdentifier))
}

func (s *Server) menu(c boot.Client, p boot.Plan) *dhcp4.Menu {
	show := s.manner.Load().menu
	if show == nil {
		return nil
	}
	m := show(c, p)
	if m == nil {
		return nil
	}
	if err := m.Validate(); err != nil {
		s.log.Warn("boot menu left out", zap.Inline(c), zap.Error(err))
		return nil
	}
	return m
}

// listed is the reason why the lists keep the client from being answered, ""
// when they do not.
func (s *Server) listed(c boot.Client) string {
	in := func(list []string) string {
		for _, entry := range list {
			if c.UUID != "" && strings.EqualFold(entry, c.UUID) || entry != "" && dhcp4.HasMACPrefix(c.MAC, entry) {
				return entry
			}
		}
		return ""
	}
	now := s.manner.Load()
	if entry := in(now.deny); entry != "" {
		return "denied by list entry " + entry
	}
	if len(now.allow) > 0 && in(now.allow) == "" {
		return "not on the list of allowed clients"
	}
	return ""
}

// after runs f after a delay unless the server stops first. It is false when
// too many wait already.
func (s *Server) after(ctx context.Context, delay time.Duration, f func()) bool {
	return s.aside(s.later, func() {
		timer := time.NewTimer(delay)
		defer timer.Stop()
		select {
		case <-timer.C:
			f()
		case <-ctx.Done():
		}
	})
}

// aside runs f beside the workers when a token can be had.
func (s *Server) aside(tokens chan struct{}, f func()) bool {
	select {
	case tokens <- struct{}{}:
	default:
		return false
	}
	s.waiting.Go(func() {
		defer func() { <-tokens }()
		f()
	})
	return true
}

// lease answers in server mode. An address that is new to the client is asked
// for on the network first, beside the workers; when somebody uses it, the next
// is tried.
func (s *Server) lease(ctx context.Context, from *listener, request *dhcpv4.DHCPv4, t dhcp4.Terms, e Event) {
	t.Grant = s.leases.Answer(request, t.Client, t.Arrival, time.Now())
	if !t.Grant.Unsure || s.manner.Load().noProbe {
		s.answer(from, request, t, e)
		return
	}
	probing := s.aside(s.probes, func() {
		for range probeTries {
			free := s.probe(ctx, t.Arrival, t.Client.MAC, t.Grant.Address)
			if ctx.Err() != nil {
				return
			}
			if free {
				s.leases.Probed(t.Grant.Address, time.Now())
				break
			}
			conflict := e
			conflict.Address = t.Grant.Address
			conflict.Reason = fmt.Sprintf("address %s answers a probe: it is not offered for %s", t.Grant.Address, dhcp4.DeclineHold)
			s.report(conflict)
			s.leases.Conflict(t.Grant.Address, time.Now())
			if t.Grant = s.leases.Answer(request, t.Client, t.Arrival, time.Now()); !t.Grant.Unsure {
				break
			}
		}
		s.answer(from, request, t, e)
	})
	if !probing {
		s.unprobed.Add(1)
		s.answer(from, request, t, e)
	}
}

// answer sends the reply, or tells why there is none.
func (s *Server) answer(from *listener, request *dhcpv4.DHCPv4, t dhcp4.Terms, e Event) {
	reply, reason := dhcp4.Reply(request, t)
	if reply == nil {
		s.silent.Add(1)
		e.Reason = reason
		s.report(e)
		return
	}
	route := dhcp4.Destination(request, reply, t.Arrival)
	to, err := s.send(from, dhcp4.Encode(reply), route, t.Arrival)
	e.To = to
	e.Answer = typeName(reply.MessageType())
	e.Address = dhcp4.Addr(reply.YourIPAddr)
	e.File = reply.BootFileName
	e.Reason = t.Plan.Reason
	if reply.MessageType() == dhcpv4.MessageTypeNak {
		e.Reason = t.Grant.Reason
	}
	if err != nil {
		s.failed.Add(1)
		e.Answer, e.Reason = "", "answer not sent: "+err.Error()
	} else {
		s.answered.Add(1)
	}
	s.report(e)
}

// send writes the packet out of the interface the request came by.
func (s *Server) send(from *listener, packet []byte, route dhcp4.Route, a dhcp4.Arrival) (string, error) {
	state := from.link.state.Load()
	if route.Hardware != nil && s.frames != nil && len(state.mac) == 6 {
		source := netip.AddrPortFrom(a.Server, a.Port)
		err := s.frames.Send(state.index, socket.UDPFrame(state.mac, route.Hardware, source, route.To, packet))
		if err == nil {
			return route.To.String() + " at " + route.Hardware.String(), nil
		}
		s.log.Debug("raw frame not sent, broadcasting", zap.Error(err))
	}
	to := route.Frameless()
	conn := from.current()
	if conn == nil {
		return to.String(), net.ErrClosed
	}
	return to.String(), conn.Transmit(packet, netip.AddrPortFrom(a.Server, from.port), to, state.index)
}
