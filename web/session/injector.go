package session

import (
	"cmp"
	"net/netip"
	"slices"
	"time"

	"castpoint/multicast/sender"
)

// maxInjectors bounds the addresses that are kept of a session: members may make them up.
const maxInjectors = 16

// Injector is an address that datagrams of a session come from, and that is not this
// server's, as members say. Who forges his address is not found so, and members may lie.
type Injector struct {
	Address netip.Addr `json:"address"`
	Since   time.Time  `json:"since"` // when the first member said so
	// Reports is how many members say so.
	Reports int `json:"reports"`
	// Members are the names of the session's members that joined from that address.
	Members []string `json:"members,omitempty"`
}

// injector is one with who says so.
type injector struct {
	since time.Time
	by    map[uint32]bool
}

// Injected notes that a member gets datagrams of the session from an address that is not
// this server's. It reports whether nobody has said so before, as far as is remembered.
func (c *Session) Injected(from netip.Addr, by uint32) (first bool) {
	if from == c.source {
		return false // it does not know better, or lies
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	i := c.injectors[from]
	if i == nil {
		if len(c.injectors) >= maxInjectors {
			return false
		}
		i = &injector{since: time.Now().UTC(), by: make(map[uint32]bool)}
		c.injectors[from] = i
		first = true
	}
	i.by[by] = true
	return first
}

// From notes the address that a member joined from.
func (c *Session) From(member uint32, remote netip.Addr) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.remotes[member] = remote
}

// injected are the addresses that members have told of, the first one first. c.mu is held.
func (c *Session) injected(members []sender.MemberStatus) (list []Injector) {
	for from, i := range c.injectors {
		one := Injector{Address: from, Since: i.since, Reports: len(i.by)}
		for _, m := range members {
			if c.remotes[m.ID] == from && !slices.Contains(one.Members, m.Name) {
				one.Members = append(one.Members, m.Name)
			}
		}
		list = append(list, one)
	}
	slices.SortFunc(list, func(a, b Injector) int {
		return cmp.Or(a.Since.Compare(b.Since), a.Address.Compare(b.Address))
	})
	return list
}
