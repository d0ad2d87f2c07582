//go:build !windows

package netio

import (
	"net"
	"net/netip"
)

// sourceFor is the address that a datagram to remote would carry. Connecting a
// UDP socket sends nothing; it only asks for the route.
func sourceFor(remote netip.Addr) (netip.Addr, error) {
	c, err := net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(netip.AddrPortFrom(remote, 9)))
	if err != nil {
		return netip.Addr{}, err
	}
	defer c.Close()
	return c.LocalAddr().(*net.UDPAddr).AddrPort().Addr().Unmap(), nil
}
