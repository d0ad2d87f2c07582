package settings

import (
	"net/netip"
	"slices"

	"castpoint/boot"
	"castpoint/dhcp"
	"castpoint/dhcp/dhcp4"
	"castpoint/dhcp/dhcp6"
	"castpoint/internal/config"
	"castpoint/point/host"
)

// DHCP makes the settings of the DHCP server out of those of the file. The
// caller adds store, planner and log.
func DHCP(cfg *config.Config, links []host.Link) (dhcp.Config, error) {
	d := dhcp.Config{
		Mode: dhcp4.Mode(cfg.DHCP), Interfaces: host.LinkNames(links), NoProbe: !cfg.Probe, MatchClientID: cfg.MatchClientID,
		Allow: cfg.Allow, Deny: cfg.Deny, Delay: cfg.Delay, Share: cfg.Share,
	}
	pools, err := cfg.Pools()
	if err != nil {
		return d, err
	}
	for _, p := range pools {
		network := p.Network
		for _, l := range links {
			if !network.IsValid() {
				network = l.Network(p.From)
			}
		}
		pool := dhcp4.Pool{
			Network: p.Network, From: p.From, To: p.To, Lease: cfg.Lease, Domain: cfg.Domain,
			DNS: addresses(cfg.DNS), NTP: addresses(cfg.NTP),
		}
		for _, r := range addresses(cfg.Router) {
			// With pools on several networks each gets the routers that it can reach.
			if len(pools) == 1 || network.Contains(r) {
				pool.Routers = append(pool.Routers, r)
			}
		}
		d.Pools = append(d.Pools, pool)
	}
	reservations, err := cfg.Reservations()
	if err != nil {
		return d, err
	}
	for _, r := range reservations {
		d.Reservations = append(d.Reservations, dhcp4.Reservation(r))
	}
	rows, err := cfg.QuirkRows()
	if err != nil {
		return d, err
	}
	for _, r := range rows {
		q := dhcp4.Quirk{Name: r.Name, VendorClass: r.Vendor, MACs: r.MACs, Style: dhcp4.Style(r.Style), Evidence: "a setting of this server"}
		for _, a := range r.Archs {
			q.Archs = append(q.Archs, boot.Arch(a))
		}
		if r.As != nil {
			as := boot.Arch(*r.As)
			q.As = &as
		}
		d.Quirks = append(d.Quirks, q)
	}
	d.Menu = func(_ boot.Client, p boot.Plan) *dhcp4.Menu { return bootMenu(cfg, p) }
	if !cfg.DHCP6 {
		return d, nil
	}
	d.IPv6 = &dhcp.IPv6{}
	pools, err = cfg.Pools6()
	for _, p := range pools {
		pool := dhcp6.Pool{Network: p.Network, From: p.From, To: p.To, DNS: addresses(cfg.DNS6), Lease: cfg.Lease}
		if cfg.Domain != "" {
			pool.Domains = []string{cfg.Domain}
		}
		d.IPv6.Pools = append(d.IPv6.Pools, pool)
	}
	return d, err
}

// askText is what firmware shows to machines that are to be asked, when the
// settings have no text of their own.
const askText = "Press F8 to boot from the network"

// bootMenu is the menu that PXE firmware shows a machine, nil for none. Its first
// item is taken when the time runs out.
func bootMenu(cfg *config.Config, p boot.Plan) *dhcp4.Menu {
	disk := dhcp4.MenuItem{Type: dhcp4.LocalBoot, Text: "Boot from disk"}
	switch {
	case p.Local:
		return &dhcp4.Menu{Prompt: "castpoint", Items: []dhcp4.MenuItem{disk}}
	case cfg.Menu == "" && !p.Ask:
		return nil
	}
	m := &dhcp4.Menu{Prompt: cfg.Menu, Timeout: cfg.MenuWait, Items: []dhcp4.MenuItem{disk, {Type: menuNetwork, Text: "Boot from the network (castpoint)"}}}
	if m.Prompt == "" {
		m.Prompt = askText
	}
	return m
}

// menuNetwork is the type of the menu's second item, of the range that is a
// site's own (PXE 2.1 section 2.2.4).
const menuNetwork = 0x8001

// addresses parses what Validate has checked.
func addresses(list []string) []netip.Addr {
	var all []netip.Addr
	for _, a := range list {
		all = append(all, netip.MustParseAddr(a))
	}
	return slices.Clip(all)
}
