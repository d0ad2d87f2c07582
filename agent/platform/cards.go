package platform

import (
	"fmt"
	"net"
	"net/netip"
)

// listCards lists the network cards as the net package sees them.
func listCards() ([]Card, error) {
	all, err := net.Interfaces()
	if err != nil {
		return nil, fmt.Errorf("list interfaces: %w", err)
	}
	var cards []Card
	for _, i := range all {
		if i.Flags&net.FlagLoopback != 0 || len(i.HardwareAddr) != 6 {
			continue
		}
		c := Card{Name: i.Name, MAC: i.HardwareAddr.String(), Link: i.Flags&net.FlagRunning != 0}
		list, err := i.Addrs()
		if err != nil {
			return nil, fmt.Errorf("list addresses of %s: %w", i.Name, err)
		}
		for _, a := range list {
			if p, ok := a.(*net.IPNet); ok {
				if ip, ok := netip.AddrFromSlice(p.IP); ok {
					c.Addresses = append(c.Addresses, ip.Unmap())
				}
			}
		}
		cards = append(cards, c)
	}
	return cards, nil
}

// AddressOf is the address of the card with the hardware address mac, or of the
// first that has one, as it is shown: "192.0.2.7 on eth0".
func AddressOf(cards []Card, mac string) string {
	text := ""
	for i := range cards {
		c := &cards[i]
		a, ok := c.usable()
		if !ok || text != "" && c.MAC != mac {
			continue
		}
		text = fmt.Sprintf("%s on %s", a, c.Name)
		if c.MAC == mac {
			break
		}
	}
	return text
}
