package dhcp

import (
	"net/netip"
	"slices"
	"sync"

	"go.uber.org/zap"

	"castpoint/dhcp/dhcp4"
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
func (s *sightings) noteTime(servers []netip.Addr) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, a := range servers {
		if !slices.Contains(s.times, a) && len(s.times) < maxTimeServers {
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
		w, err := socket.OpenTap(l.name, dhcp4.PortClient, false)
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
	p, err := dhcp4.Parse(b)
	if err != nil {
		return
	}
	a := dhcp4.Announced(p)
	server := a.Server
	if !server.IsValid() {
		server = source.Addr()
	}
	if a.Addresses {
		s.sight(Sighting{name, server, SeenDHCP})
	}
	if a.Boots {
		s.sight(Sighting{name, server, SeenPXE})
	}
	if a.Addresses || a.Boots {
		s.seen.noteTime(a.Time)
	}
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
	case s.config.Mode == dhcp4.ModeServer:
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
