package dhcp

import (
	"context"
	"net/netip"
	"time"

	"castpoint/dhcp/dhcp6"
	"castpoint/dhcp/socket"

	"go.uber.org/zap"
)

// Other DHCPv6 servers are seldom overheard: they answer to one client's address,
// and clients name them by a DUID, not by an address. So castpoint asks, as any
// machine does that wants an address, and takes none of the offers.
const (
	askEvery = 10 * time.Minute
	// askAgain bounds how often a client that speaks to an unknown server makes
	// castpoint ask sooner.
	askAgain = time.Minute
)

// openWatches6 lets the server hear what others answer to port 546.
func (s *Server) openWatches6() {
	if s.config.IPv6 == nil {
		return
	}
	for _, l := range s.listeners {
		if !l.v6 || l.port != s.config.ports6[0] {
			continue
		}
		w, err := socket.OpenTap6(l.link.name, dhcp6.PortClient)
		if err != nil {
			s.log.Info("other DHCPv6 servers are not seen", zap.Error(err))
			return
		}
		s.watches = append(s.watches, watch{w, l.link.name, func(name string, b []byte, source netip.AddrPort) { s.heard6(name, b, source) }})
	}
}

// heard6 takes an answer of a DHCPv6 server, and says whether it is one. Some
// servers send theirs to the port that the question came from.
func (s *Server) heard6(name string, b []byte, source netip.AddrPort) bool {
	a, err := dhcp6.ParseAnswer(b)
	if err != nil {
		return false
	}
	if s.serverID != nil && a.ServerID.Equal(s.serverID) {
		return true
	}
	server := source.Addr().WithZone("")
	if a.Addresses {
		s.sight(Sighting{name, server, SeenDHCP6})
	}
	if a.Boots {
		s.sight(Sighting{name, server, SeenPXE})
	}
	return true
}

// serveQuestions asks for other servers at the start, now and then, and when a
// client names one that is not known.
func (s *Server) serveQuestions(ctx context.Context) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	var last time.Time
	for {
		select {
		case <-ctx.Done():
			return
		case <-s.strange:
			if time.Since(last) < askAgain {
				continue
			}
		case <-timer.C:
		}
		last = time.Now()
		timer.Reset(askEvery)
		for _, l := range s.listeners {
			if l.v6 && l.port == s.config.ports6[0] {
				if err := s.ask6(l); err != nil {
					s.log.Debug("not asked for other DHCPv6 servers", zap.String("interface", l.link.name), zap.Error(err))
				}
			}
		}
	}
}

func (s *Server) ask6(l *listener) error {
	packet, err := dhcp6.Question(s.serverID)
	if err != nil {
		return err
	}
	conn := l.current()
	if conn == nil {
		return nil // it is opened again, and asked for next time
	}
	to := netip.AddrPortFrom(dhcp6.AllServers.WithZone(l.link.name), dhcp6.PortServer)
	return conn.Transmit(packet, netip.AddrPortFrom(netip.Addr{}, l.port), to, l.link.state.Load().index)
}

// strangeServer makes serveQuestions ask; it does not wait.
func (s *Server) strangeServer() {
	select {
	case s.strange <- struct{}{}:
	default:
	}
}
