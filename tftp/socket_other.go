//go:build !linux

package tftp

import (
	"context"
	"net"
	"net/netip"
)

// On other systems the server works with what package net offers: one system call
// for each datagram, replies by route, and Ethernet's MTU.

type arrival struct {
	dst, local netip.Addr
	index      int
}

func parseArrival([]byte) (arrival, bool) { return arrival{}, false }

func sourceOOB(netip.Addr, int) []byte { return nil }

func networkOf(a netip.Addr) string {
	if a.Is6() {
		return "udp6"
	}
	return "udp4"
}

func listenUDP(addr netip.AddrPort, _ string) (*net.UDPConn, error) {
	return net.ListenUDP(networkOf(addr.Addr()), net.UDPAddrFromAddrPort(addr))
}

func dialUDP(ctx context.Context, local, peer netip.AddrPort, _ string) (*net.UDPConn, int, error) {
	d := net.Dialer{LocalAddr: net.UDPAddrFromAddrPort(local)}
	c, err := d.DialContext(ctx, networkOf(peer.Addr()), peer.String())
	if err != nil {
		return nil, 0, err
	}
	return c.(*net.UDPConn), 1500, nil
}

func prepareUDP(*net.UDPConn, bool) error { return nil }
