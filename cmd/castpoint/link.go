package main

import (
	"bufio"
	"fmt"
	"math"
	"net"
	"net/netip"
	"os"
	"strconv"
	"strings"

	"castpoint/agent/command"
	"castpoint/internal/netio"
)

// link is the interface a distribution point serves, and its address there.
type link struct {
	name string
	addr netip.Addr
}

// findLink takes the named interface, or that of the default route.
func findLink(name string) (link, error) {
	if name == "" {
		text, err := os.ReadFile("/proc/net/route")
		if err != nil {
			return link{}, command.Usage("find the interface of the default route: %w; name one with --interface", err)
		}
		if name = defaultRoute(string(text)); name == "" {
			return link{}, command.Usage("this host has no default route: name the interface to serve with --interface (%s)", strings.Join(usableLinks(), ", "))
		}
	}
	ifi, err := net.InterfaceByName(name)
	if err != nil {
		return link{}, command.Usage("interface %s does not exist: name one with --interface (%s)", name, strings.Join(usableLinks(), ", "))
	}
	if ifi.Flags&net.FlagUp == 0 {
		return link{}, fmt.Errorf("interface %s is down: ip link set %s up", name, name)
	}
	addr, err := netio.AddressOn(ifi, netip.IPv4Unspecified())
	if err != nil {
		return link{}, fmt.Errorf("interface %s has no IPv4 address: give it one, machines could not reach this server", name)
	}
	return link{name, addr}, nil
}

// defaultRoute finds the interface of the default route with the lowest metric
// in the text of /proc/net/route.
func defaultRoute(text string) string {
	best, name := math.MaxInt, ""
	lines := bufio.NewScanner(strings.NewReader(text))
	for lines.Scan() {
		// Iface Destination Gateway Flags RefCnt Use Metric Mask ...
		f := strings.Fields(lines.Text())
		if len(f) < 8 || f[1] != "00000000" || f[7] != "00000000" {
			continue
		}
		if metric, err := strconv.Atoi(f[6]); err == nil && metric < best {
			best, name = metric, f[0]
		}
	}
	return name
}

// usableLinks lists interfaces that could be served, with their addresses.
func usableLinks() []string {
	all, err := net.Interfaces()
	if err != nil {
		return nil
	}
	list := []string{}
	for i := range all {
		if all[i].Flags&net.FlagLoopback != 0 {
			continue
		}
		if a, err := netio.AddressOn(&all[i], netip.IPv4Unspecified()); err == nil {
			list = append(list, all[i].Name+" "+a.String())
		}
	}
	if len(list) == 0 {
		return []string{"no interface has an IPv4 address"}
	}
	return list
}
