package session

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"time"

	"castpoint/multicast/seal"
)

// Config says how sessions are sent.
type Config struct {
	// Interface is the name of the interface that sessions leave by; Address is
	// this server's address on it, where reports go.
	Interface string
	Address   netip.Addr
	// Groups from FirstGroup on and UDP ports from FirstPort on belong to this
	// server. Zero values mean the defaults.
	FirstGroup netip.Addr
	Groups     int
	FirstPort  uint16
	Ports      int
	TTL        int // hop limit of sessions; 0 means 1, the local network
	// Others are further interfaces. A member that joined by the address of one of
	// them gets its session there; an object then has a session on each interface.
	Others []Link

	Rate int64 // bits per second of a session; 0 for no cap
	// TotalRate is the cap of all sessions together, in bits per second: each has
	// an even share of it. 0 for no cap.
	TotalRate int64
	// MinRate is what a session does not go below, in bits per second: members that
	// cannot take it go on by unicast. 0 for none.
	MinRate int64
	// Cipher seals the datagrams of all sessions; "" lets each choose by what its
	// members' processors are good at.
	Cipher seal.Cipher
	// Greedy sessions do not leave other traffic on the server's link its share.
	Greedy     bool
	MinMembers int           // start when so many have joined ...
	MaxWait    time.Duration // ... or so long after the first; both 0: start with the first
	MaxMembers int           // of a session; more get a session of their own. 0 for any number
	Linger     time.Duration // how long a session without members stays; 0 means 10 s
}

// Link is an interface that sessions leave by, and this server's address
// on it.
type Link struct {
	Interface string
	Address   netip.Addr
}

// links are all interfaces, the first one first.
func (c *Config) links() []Link {
	return append([]Link{{c.Interface, c.Address}}, c.Others...)
}

// linkOf is the interface of an address of this server. Machines that joined by
// another address, or through a router, get the first.
func (c *Config) linkOf(local netip.Addr) Link {
	links := c.links()
	for _, l := range links {
		if l.Address == local {
			return l
		}
	}
	// An interface may have more addresses than the one that reports go to.
	for _, l := range links {
		ifi, err := net.InterfaceByName(l.Interface)
		if err != nil {
			continue
		}
		all, err := ifi.Addrs()
		if err == nil && slices.ContainsFunc(all, func(a net.Addr) bool {
			p, err := netip.ParsePrefix(a.String())
			return err == nil && p.Addr() == local
		}) {
			return l
		}
	}
	return links[0]
}

// withDefaults checks the settings.
func (c Config) withDefaults() (Config, error) {
	if !c.FirstGroup.IsValid() {
		c.FirstGroup, c.Groups = netip.MustParseAddr(DefaultFirstGroup), DefaultGroups
	}
	if c.FirstPort == 0 {
		c.FirstPort, c.Ports = DefaultFirstPort, DefaultPorts
	}
	switch {
	case !c.FirstGroup.IsMulticast():
		return c, fmt.Errorf("sessions: %s is not a multicast address", c.FirstGroup)
	case c.Groups < 1 || c.Ports < 1 || int(c.FirstPort)+c.Ports > 65536:
		return c, fmt.Errorf("sessions: %d groups and ports %d to %d: want at least one of each", c.Groups, c.FirstPort, int(c.FirstPort)+c.Ports-1)
	case c.Rate < 0 || c.TotalRate < 0 || c.MinRate < 0 || c.MinMembers < 0 || c.MaxMembers < 0 || c.MaxWait < 0 || c.Linger < 0:
		return c, errors.New("sessions: rate, number of members and times cannot be negative")
	case !usableGroup(c.FirstGroup, c.Groups):
		return c, fmt.Errorf("sessions: switches send %s, and all %d groups from it on, to every port like 224.0.0.x: choose others", c.FirstGroup, c.Groups)
	case slices.ContainsFunc(c.links(), func(l Link) bool { return !l.Address.IsValid() }):
		return c, errors.New("sessions: no address that members could report to")
	}
	return c, nil
}
