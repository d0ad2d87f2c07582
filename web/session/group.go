package session

import (
	"errors"
	"net/http"
	"net/netip"
	"syscall"

	"castpoint/agent/protocol"
	"castpoint/internal/netio"
	"castpoint/web/api"
)

// openGroup takes a group that no session uses and a port that the system lets
// us have: a sender binds the port for the reports of its members.
func (k *Keeper) openGroup(link Link) (*netio.GroupSender, netip.AddrPort, error) {
	groups, ports := map[netip.Addr]bool{}, map[uint16]bool{}
	for _, c := range k.live {
		groups[c.group.Addr()], ports[c.group.Port()] = true, true
	}
	if k.probe != nil {
		groups[k.probe.Offer.Group.Addr()], ports[k.probe.Offer.Group.Port()] = true, true
	}
	// Each search begins behind the last find: a receiver that has not noticed
	// the end of its session is left in peace.
	k.next++
	full := api.Refusal(http.StatusServiceUnavailable, protocol.CodeTooMany, "wait until one has ended, or cancel one",
		"all %d groups or %d ports are in use by sessions", k.cfg.Groups, k.cfg.Ports)
	var addr netip.Addr
	for i := range k.cfg.Groups {
		if a := addrAfter(k.cfg.FirstGroup, (k.next+i)%k.cfg.Groups); !groups[a] && !flooded(a) {
			addr = a
			break
		}
	}
	if !addr.IsValid() {
		return nil, netip.AddrPort{}, full
	}
	for i := range k.cfg.Ports {
		port := k.cfg.FirstPort + uint16((k.next+i)%k.cfg.Ports)
		if ports[port] {
			continue
		}
		group := netip.AddrPortFrom(addr, port)
		conn, err := netio.OpenGroupSender(netio.GroupSenderConfig{Interface: link.Interface, Group: group, TTL: k.cfg.TTL, Greedy: k.cfg.Greedy})
		if errors.Is(err, syscall.EADDRINUSE) {
			continue
		}
		return conn, group, err
	}
	return nil, netip.AddrPort{}, full
}

// feedback is where the members of a session report to: the interface's usual
// address, or the one of the group's own family.
func feedback(link Link, local netip.AddrPort) netip.AddrPort {
	if a := link.Address; a.Is4() == local.Addr().Is4() && !a.IsLinkLocalUnicast() {
		return netip.AddrPortFrom(a, local.Port())
	}
	return netip.AddrPortFrom(local.Addr().WithZone(""), local.Port())
}

// flooded reports whether switches send a group to every port. An Ethernet
// address holds 23 bits of an IPv4 group (RFC 1112 section 6.4), so x.0.0.y and
// x.128.0.y share those of 224.0.0.y, which snooping leaves alone (RFC 4541
// section 2.1.2).
func flooded(a netip.Addr) bool {
	if !a.Is4() {
		return false
	}
	b := a.As4()
	return b[1]&0x7f == 0 && b[2] == 0
}

// usableGroup reports whether one of n groups from first on reaches only those
// ports that want it.
func usableGroup(first netip.Addr, n int) bool {
	for range n {
		if !flooded(first) {
			return true
		}
		first = first.Next()
	}
	return false
}

// addrAfter is the address n behind a.
func addrAfter(a netip.Addr, n int) netip.Addr {
	for range n {
		a = a.Next()
	}
	return a
}
