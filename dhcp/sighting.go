package dhcp

import (
	"net/netip"
	"slices"
	"strings"
	"sync"

	"github.com/insomniacslk/dhcp/dhcpv4"
	"go.uber.org/zap"

	"castpoint/dhcp/socket"
)

// Kinds of servers that are seen.
const (
	SeenDHCP  = "DHCP server"
	SeenDHCP6 = "DHCPv6 server"
	SeenPXE   = "PXE server"
)

// Sighting is another server that was seen on a segment.
type Sighting struct {
	Interface string
	Server    netip.Addr
	What      string // SeenDHCP, SeenDHCP6 or SeenPXE
}

// maxSightings bounds what is remembered: beyond that somebody is making
// servers up.
const maxSightings = 64

// maxTimeServers bounds those that are remembered.
const maxTimeServers = 16

// sightings remembers which servers were seen.
type sightings struct {
	mu    sync.Mutex
	all   []Sighting
	times []netip.Addr // time servers that others tell of
}

// noteTime remembers the time servers of an answer (option 42).
func (s *sightings) noteTime(p *dhcpv4.DHCPv4) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, ip := range p.NTPServers() {
		if a, ok := netip.AddrFromSlice(ip.To4()); ok && !slices.Contains(s.times, a) && len(s.times) < maxTimeServers {
			s.times = append(s.times, a)
		}
	}
}

// TimeServers are those that other DHCP servers have told machines of.
func (s *Server) TimeServers() []netip.Addr {
	s.seen.mu.Lock()
	defer s.seen.mu.Unlock()
	return slices.Clone(s.seen.times)
}

func newSightings() *sightings { return &sightings{} }

// add is true for a new one; others says how many of its kind were seen on its
// interface before.
func (s *sightings) add(one Sighting) (fresh bool, others int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, old := range s.all {
		if old == one {
			return false, 0
		}
		if old.Interface == one.Interface && old.What == one.What {
			others++
		}
	}
	if len(s.all) >= maxSightings {
		return false, others
	}
	s.all = append(s.all, one)
	return true, others
}

// Sightings are the other servers seen so far.
func (s *Server) Sightings() []Sighting {
	s.seen.mu.Lock()
	defer s.seen.mu.Unlock()
	return slices.Clone(s.seen.all)
}

// openWatches lets the server see what others answer. Where that is not
// allowed, REQUESTs still name the server a client chose.
func (s *Server) openWatches() {
	for _, l := range s.links {
		w, err := socket.OpenTap(l.name, PortClient, false)
		if err != nil {
			s.log.Info("other DHCP servers are seen only when clients choose them", zap.Error(err))
			return
		}
		s.watches = append(s.watches, watch{w, l.name, s.heard})
	}
}

// watch is a tap on one interface and what takes the packets it hears.
type watch struct {
	*socket.Tap
	name  string
	heard func(name string, b []byte, source netip.AddrPort)
}

// serveSightings reads the answers of other servers until the tap is closed.
func (s *Server) serveSightings(w watch) {
	err := w.Receive(func(b []byte, r socket.Received) []byte {
		w.heard(w.name, b[:r.Length], r.Source)
		return b
	})
	s.log.Debug("no longer watching for other servers", zap.String("interface", w.name), zap.Error(err))
}

// heard takes an answer of a DHCP server.
func (s *Server) heard(name string, b []byte, source netip.AddrPort) {
	if p, err := Parse(b); err == nil {
		all := answerOf(p, source.Addr(), name)
		for _, one := range all {
			s.sight(one)
		}
		if len(all) > 0 {
			s.seen.noteTime(p)
		}
	}
}

// answerOf is what a server's answer says about the server. One packet may be
// both a DHCP server's and a PXE server's.
func answerOf(p *dhcpv4.DHCPv4, from netip.Addr, name string) []Sighting {
	kind := p.MessageType()
	if p.OpCode != dhcpv4.OpcodeBootReply || kind != dhcpv4.MessageTypeOffer && kind != dhcpv4.MessageTypeAck {
		return nil
	}
	server := optionAddr(p.Options, dhcpv4.OptionServerIdentifier)
	if !server.IsValid() {
		server = from
	}
	var seen []Sighting
	if addrOf(p.YourIPAddr).IsValid() {
		seen = append(seen, Sighting{name, server, SeenDHCP})
	}
	class := printable(p.Options.Get(dhcpv4.OptionClassIdentifier))
	if strings.HasPrefix(class, vendorPXE) || strings.HasPrefix(class, vendorHTTP) {
		seen = append(seen, Sighting{name, server, SeenPXE})
	}
	return seen
}

// noteServer takes from a REQUEST on the link which server the client chose.
func (s *Server) noteServer(request *dhcpv4.DHCPv4, a Arrival) {
	server := optionAddr(request.Options, dhcpv4.OptionServerIdentifier)
	if a.Port != PortServer || request.MessageType() != dhcpv4.MessageTypeRequest || !server.IsValid() ||
		addrOf(request.GatewayIPAddr).IsValid() || !request.Options.Has(dhcpv4.OptionRequestedIPAddress) {
		return
	}
	s.sight(Sighting{a.Interface, server, SeenDHCP})
}

// sight reports a server once. One DHCP server is what proxy mode needs; every
// other is worth a warning.
func (s *Server) sight(one Sighting) {
	for _, l := range s.links {
		state := l.state.Load()
		for _, own := range slices.Concat(state.networks, state.networks6) {
			if own.Addr() == one.Server {
				return
			}
		}
	}
	fresh, others := s.seen.add(one)
	if !fresh {
		return
	}
	fields := []zap.Field{zap.String("interface", one.Interface), zap.Stringer("server", one.Server)}
	switch {
	case one.What == SeenPXE:
		s.log.Warn("another PXE server answers on this segment: clients may boot from it", fields...)
	case one.What == SeenDHCP6 && s.leases6 == nil && others == 0:
		s.log.Info("dhcpv6 server seen", fields...)
	case one.What == SeenDHCP6:
		s.log.Warn("another DHCPv6 server gives addresses on this segment", fields...)
	case s.config.Mode == ModeServer:
		s.log.Warn("another DHCP server gives addresses on this segment", fields...)
	case others > 0:
		s.log.Warn("a second DHCP server gives addresses on this segment", fields...)
	default:
		s.log.Info("dhcp server seen", fields...)
	}
	if s.config.Sighted != nil {
		s.config.Sighted(one)
	}
}
