package point

import (
	"castpoint/dhcp"
	"castpoint/dhcp/dhcp4"
	"castpoint/point/settings"
	"castpoint/web/admin"
)

// network is what this server sees of its network.
func (p *point) network() *admin.Network {
	stats := p.dhcp.Stats()
	n := &admin.Network{DHCP: p.cfg.DHCP, DHCP6: p.cfg.DHCP6, Leases: len(p.leases()), Requests: stats.Received, Answered: stats.Answered,
		Malformed: stats.Malformed, Limited: stats.Limited, Dropped: stats.Dropped}
	for _, l := range p.links {
		n.Interfaces = append(n.Interfaces, l.Name+" "+l.Address.String())
	}
	for _, port := range settings.Ports(&p.cfg) {
		n.Ports = append(n.Ports, admin.Port(port))
	}
	for _, a := range p.dhcp.TimeServers() {
		n.TimeServers = append(n.TimeServers, a.String())
	}
	if p.queriers != nil {
		for _, l := range p.links {
			q := admin.Querier{Interface: l.Name}
			if heard, ok := p.queriers.Heard(l.Name); ok {
				q.Address, q.Heard = heard.Address.String(), heard.Heard
			}
			n.Queriers = append(n.Queriers, q)
		}
	}
	n.Others = otherServers(p.dhcp.Sightings(), dhcp4.Mode(p.cfg.DHCP), len(p.cfg.Pool6) > 0)
	return n
}

// otherServers says which of the servers that were seen are in the way. One DHCP
// server on each interface is what proxy mode needs.
func otherServers(seen []dhcp.Sighting, mode dhcp4.Mode, gives6 bool) []admin.OtherServer {
	var all []admin.OtherServer
	addressers := map[string]int{}
	for _, s := range seen {
		o := admin.OtherServer{Interface: s.Interface, Address: s.Server.String(), What: s.What}
		switch {
		case s.What == dhcp.SeenPXE:
			o.Trouble = "machines may boot from it instead of this server"
		case s.What == dhcp.SeenDHCP6 && !gives6:
			if addressers[s.Interface+s.What]++; addressers[s.Interface+s.What] > 1 {
				o.Trouble = "more than one DHCPv6 server gives addresses here"
			}
		case s.What == dhcp.SeenDHCP6:
			o.Trouble = "it gives IPv6 addresses as this server does: leave pool6 out, or stop it"
		case mode == dhcp4.ModeServer:
			o.Trouble = "it gives addresses as this server does: use --dhcp proxy, or stop it"
		default:
			if addressers[s.Interface]++; addressers[s.Interface] > 1 {
				o.Trouble = "more than one DHCP server gives addresses here"
			}
		}
		all = append(all, o)
	}
	return all
}
