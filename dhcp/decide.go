package dhcp

import (
	"castpoint/boot"
	"castpoint/dhcp/dhcp4"
)

// Decision is what the server's settings say about a client, before any packet.
type Decision struct {
	Client boot.Client // with the architecture that the quirk table corrects
	Silent string      // why it is never answered: the lists; "" when it may be
	Quirk  dhcp4.Quirk // the row of the quirk table
	Menu   bool        // its firmware is shown a boot menu
	Plan   boot.Plan   // what it boots; zero unless it netboots and Silent is ""
}

// Decide says what the client would get, without a packet: lists, quirk table and
// plan, in the order in which a request goes through them.
func (s *Server) Decide(c boot.Client) Decision {
	d := Decision{Client: c, Silent: s.listed(c)}
	if d.Silent != "" {
		return d
	}
	d.Quirk = dhcp4.QuirkOf(s.manner.Load().quirks, c)
	if d.Quirk.As != nil {
		d.Client.Arch, d.Client.HasArch = *d.Quirk.As, true
	}
	d.Quirk, _ = s.device(d.Client, d.Quirk)
	if !dhcp4.Netboots(d.Client) || s.config.Planner == nil {
		return d
	}
	d.Plan = s.config.Planner.Plan(d.Client)
	d.Menu = d.Plan.Serve && !d.Client.IPXE && s.manner.Load().menu != nil && s.menu(d.Client, d.Plan) != nil
	return d
}
