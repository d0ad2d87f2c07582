package dhcp

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"time"

	"castpoint/boot"
	"castpoint/dhcp/dhcp4"
	"castpoint/dhcp/dhcp6"
	"castpoint/dhcp/lease"

	"github.com/insomniacslk/dhcp/dhcpv6"
	"github.com/insomniacslk/dhcp/iana"
	"go.uber.org/zap"
)

// IPv6 switches DHCPv6 on. The mode, interfaces, planner, lists, limits, delay
// and observer are those of the Config it is part of.
type IPv6 struct {
	// Pools are addresses to give, in server mode only. With none, castpoint
	// answers netboot clients with boot options and leaves addresses to the
	// router's advertisements.
	Pools []dhcp6.Pool
	// Params are the parameters of a client's boot file (option 60); nil is
	// none.
	Params func(boot.Client, boot.Plan) []string
}

func (v *IPv6) validate(mode dhcp4.Mode) error {
	if len(v.Pools) > 0 && mode != dhcp4.ModeServer {
		return fmt.Errorf("dhcp mode %s gives no addresses, but an IPv6 pool is set", mode)
	}
	for i := range v.Pools {
		if err := v.Pools[i].Validate(); err != nil {
			return err
		}
	}
	return nil
}

// listen6 opens ports 547 and 4011 on every interface that has an IPv6 address.
func (s *Server) listen6() error {
	if s.config.IPv6 == nil {
		return nil
	}
	found := false
	for _, l := range s.links {
		state := l.state.Load()
		if len(state.networks6) == 0 {
			s.log.Info("no DHCPv6 on an interface without IPv6 address", zap.String("interface", l.name))
			continue
		}
		found = true
		if s.serverID == nil && len(state.mac) == 6 {
			s.serverID = &dhcpv6.DUIDLL{HWType: iana.HWTypeEthernet, LinkLayerAddr: state.mac}
		}
		for _, port := range s.config.ports6 {
			sock := &listener{link: l, port: port, v6: true, tap: s.config.Share && port == s.config.ports6[0]}
			if err := sock.open(context.Background()); err != nil {
				return err
			}
			s.listeners = append(s.listeners, sock)
		}
	}
	if !found {
		return errors.New("DHCPv6 is on, and none of the interfaces has an IPv6 address: switch it off, or IPv6 on")
	}
	if s.serverID == nil {
		return errors.New("DHCPv6 needs an interface with a MAC to name the server by")
	}
	if len(s.config.IPv6.Pools) == 0 {
		return nil
	}
	pools := slices.Clone(s.config.IPv6.Pools)
	for i := range pools {
		p := &pools[i]
		for _, l := range s.links {
			for _, n := range l.state.Load().networks6 {
				if !p.Network.IsValid() && n.Contains(p.From) && n.Contains(p.To) {
					p.Network = n.Masked()
				}
			}
		}
		if !p.Network.IsValid() {
			return fmt.Errorf("IPv6 pool %s-%s lies in no network of the interfaces; set its network", p.From, p.To)
		}
	}
	var store dhcp6.Store
	if s.config.Store != nil {
		store = store6{s.config.Store}
	}
	var err error
	s.leases6, err = dhcp6.NewLeases(pools, store)
	return err
}

// Leases6 is the state of IPv6 pools; nil when there are none.
func (s *Server) Leases6() *dhcp6.Leases { return s.leases6 }

// store6 keeps IPv6 leases in the store of the IPv4 ones: the addresses tell
// them apart.
type store6 struct{ lease.Store }

func (t store6) Load() ([]dhcp6.Lease, error) {
	all, err := t.Store.Load()
	var leases []dhcp6.Lease
	for _, l := range all {
		if l.Address.Is6() {
			leases = append(leases, dhcp6.Lease{
				Address: l.Address, Key: l.Key, MAC: l.MAC, UUID: l.UUID, Expires: l.Expires, Declined: l.Declined,
			})
		}
	}
	return leases, err
}

func (t store6) Put(l dhcp6.Lease) error {
	return t.Store.Put(lease.Lease{
		Address: l.Address, Key: l.Key, MAC: l.MAC, UUID: l.UUID, Expires: l.Expires, Declined: l.Declined,
	})
}

// own6 is the address that answers a request: the one it was sent to, else the
// one in the relay's network, else the first that is not link-local.
func (s *linkState) own6(sentTo, near netip.Addr) netip.Addr {
	var best netip.Addr
	for _, n := range s.networks6 {
		switch a := n.Addr(); {
		case a == sentTo && !a.IsLinkLocalUnicast():
			return a
		case near.IsValid() && n.Contains(near):
			return a
		case !best.IsValid(), best.IsLinkLocalUnicast() && !a.IsLinkLocalUnicast():
			best = a
		}
	}
	return best
}

// handle6 answers one DHCPv6 packet.
func (s *Server) handle6(ctx context.Context, j job, packet []byte) {
	r, err := dhcp6.Parse(packet)
	if err != nil {
		if !s.heard6(j.from.link.name, packet, j.Source) {
			s.malformed.Add(1)
		}
		return
	}
	if r.Own(s.serverID) {
		return
	}
	state := j.from.link.state.Load()
	a := dhcp6.Arrival{
		Interface: j.from.link.name, Server: state.own6(j.SentTo, r.Link()), Source: j.Source,
		Port: dhcp6.PortServer, ServerID: s.serverID,
	}
	if j.from.port == s.config.ports6[1] {
		a.Port = dhcp6.PortProxy
	}
	for _, n := range state.networks6 {
		if !n.Addr().IsLinkLocalUnicast() {
			a.Networks = append(a.Networks, n.Masked())
		}
	}
	client := dhcp6.Identify(r, a)
	if id := r.Options.ClientID(); id != nil {
		client.MAC = s.macs6.note(id.ToBytes(), client.MAC)
	}
	if boot.SharedUUID(client.UUID) {
		client.UUID = ""
	}
	e := Event{Time: time.Now(), Client: client, Port: a.Port, Asked: r.MessageType.String()}
	if !s.admits(limitKey6(r, client), e) {
		return
	}
	if r.OtherServer(s.serverID) != nil {
		s.strangeServer()
	}
	answer := func() { s.answer6(j, r, a, client, e) }
	_, delay := s.device(client, dhcp4.Quirk{})
	if delay > 0 && r.MessageType == dhcpv6.MessageTypeSolicit {
		if !s.after(ctx, delay, answer) {
			s.dropped.Add(1)
		}
		return
	}
	answer()
}

func limitKey6(r *dhcp6.Request, c boot.Client) string {
	if len(c.MAC) > 0 {
		return string(c.MAC)
	}
	if id := r.Options.ClientID(); id != nil {
		return string(id.ToBytes())
	}
	return "anonymous"
}

func (s *Server) answer6(j job, r *dhcp6.Request, a dhcp6.Arrival, client boot.Client, e Event) {
	t := dhcp6.Terms{Arrival: a, Client: client}
	if dhcp6.Netboots(client) {
		t.Plan = s.config.Planner.Plan(client)
		if s.config.IPv6.Params != nil && t.Plan.Serve {
			t.Params = s.config.IPv6.Params(client, t.Plan)
		}
	}
	if s.leases6 != nil && a.Port == dhcp6.PortServer {
		t.Grant = s.leases6.Answer(r, client, a, time.Now())
	}
	m, reason := dhcp6.Reply(r, t)
	if m == nil {
		s.silent.Add(1)
		e.Reason = reason
		s.report(e)
		return
	}
	to := dhcp6.Destination(r, a)
	e.To, e.Answer, e.Reason = to.String(), m.MessageType.String(), t.Plan.Reason
	e.File = m.Options.BootFileURL()
	if t.Grant != nil {
		e.Address = t.Grant.First()
	}
	err := net.ErrClosed
	if conn := j.from.current(); conn != nil {
		// From the address asked on the boot server port, which EDK2 insists on;
		// else the kernel's choice: link-local to link-local.
		from := netip.AddrPortFrom(netip.Addr{}, j.from.port)
		if a.Port == dhcp6.PortProxy {
			from = netip.AddrPortFrom(replyFrom(j.SentTo), j.from.port)
		}
		err = conn.Transmit(dhcp6.Encode(r, m), from, to, j.from.link.state.Load().index)
	}
	if err != nil {
		s.failed.Add(1)
		e.Answer, e.Reason = "", "answer not sent: "+err.Error()
	} else {
		s.answered.Add(1)
	}
	s.report(e)
}

// replyFrom is the source of an answer to a packet that was sent to an address:
// the same one, unless it is a group.
func replyFrom(sentTo netip.Addr) netip.Addr {
	if sentTo.IsMulticast() {
		return netip.Addr{}
	}
	return sentTo
}

// clientBytes6 are bytes of a packet that differ from client to client: workers
// are chosen by them. A relay puts the client's address behind two bytes and the
// link's address (RFC 8415 section 9).
func clientBytes6(packet []byte, source netip.AddrPort) []byte {
	if len(packet) >= 34 && packet[0] == byte(dhcpv6.MessageTypeRelayForward) {
		return packet[18:34]
	}
	b := source.Addr().As16()
	return b[:]
}
