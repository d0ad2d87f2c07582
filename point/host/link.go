package host

import (
	"bufio"
	"fmt"
	"math"
	"net"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"

	"castpoint/agent/command"
	"castpoint/internal/netio"
)

// Link is an interface a distribution point serves, and its address there.
type Link struct {
	Name     string
	Address  netip.Addr
	Index    int
	Networks []netip.Prefix // IPv4
}

// Network is the network of the link that the address lies in; invalid for none.
func (l *Link) Network(a netip.Addr) netip.Prefix {
	for _, n := range l.Networks {
		if n.Contains(a) {
			return n.Masked()
		}
	}
	return netip.Prefix{}
}

// HasIPv6 says whether the interface has an IPv6 address.
func (l *Link) HasIPv6() bool {
	ifi, err := net.InterfaceByName(l.Name)
	if err != nil {
		return false
	}
	_, err = netio.AddressOn(ifi, netip.IPv6Unspecified())
	return err == nil
}

// LinkNames are the names of interfaces.
func LinkNames(links []Link) (names []string) {
	for _, l := range links {
		names = append(names, l.Name)
	}
	return names
}

// FindLinks takes the named interfaces, or that of the default route.
func FindLinks(names []string) ([]Link, error) {
	if len(names) == 0 {
		names = []string{""}
	}
	var links []Link
	for _, name := range names {
		l, err := findLink(name)
		if err != nil {
			return nil, err
		}
		if slices.ContainsFunc(links, func(other Link) bool { return other.Name == l.Name }) {
			return nil, command.Usage("interface %s is named twice", l.Name)
		}
		links = append(links, l)
	}
	return links, nil
}

// findLink takes the named interface, or that of the default route.
func findLink(name string) (Link, error) {
	if name == "" {
		text, err := os.ReadFile("/proc/net/route")
		if err != nil {
			return Link{}, command.Usage("find the interface of the default route: %w; name one with --interface", err)
		}
		if name = defaultRoute(string(text)); name == "" {
			return Link{}, command.Usage("this host has no default route: name the interface to serve with --interface (%s)", strings.Join(usableLinks(), ", "))
		}
	}
	ifi, err := net.InterfaceByName(name)
	if err != nil {
		return Link{}, command.Usage("interface %s does not exist: name one with --interface (%s)", name, strings.Join(usableLinks(), ", "))
	}
	if ifi.Flags&net.FlagUp == 0 {
		return Link{}, fmt.Errorf("interface %s is down: ip link set %s up", name, name)
	}
	addr, err := netio.AddressOn(ifi, netip.IPv4Unspecified())
	if err != nil {
		return Link{}, fmt.Errorf("interface %s has no IPv4 address: give it one, machines could not reach this server", name)
	}
	l := Link{Name: name, Index: ifi.Index, Address: addr}
	all, err := ifi.Addrs()
	if err != nil {
		return Link{}, fmt.Errorf("interface %s: %w", name, err)
	}
	for _, a := range all {
		if p, err := netip.ParsePrefix(a.String()); err == nil && p.Addr().Is4() {
			l.Networks = append(l.Networks, p)
		}
	}
	return l, nil
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
