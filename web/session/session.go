package session

import (
	"context"
	"net/netip"
	"slices"
	"sync"
	"time"

	"castpoint/multicast"
	"castpoint/multicast/sender"
)

// Session is one running session with what belongs to it.
type Session struct {
	*sender.Session
	cargo  *cargo
	shelf  *shelf
	group  netip.AddrPort
	rate   int64 // bits per second, its own cap; 0 for none
	slow   bool  // for members that others have outpaced
	link   Link
	source netip.Addr // that its datagrams come from
	cancel context.CancelFunc

	mu      sync.Mutex
	unicast map[uint32]*multicast.LeaveRequest // members that took to unicast; nil until they have left
	remotes map[uint32]netip.Addr              // addresses that members joined from

	injectors map[netip.Addr]*injector
}

// Info is a session as people see it.
type Info struct {
	Content string `json:"content"` // id
	Name    string `json:"name"`    // of the content
	// Also are the ids of further contents that it carries, in the order in which they
	// are sent.
	Also []string `json:"also,omitempty"`
	// Interface is the one that it leaves by.
	Interface string `json:"interface,omitempty"`
	// Slower is set for the session of machines that others have outpaced.
	Slower bool       `json:"slower,omitempty"`
	Ended  *time.Time `json:"ended,omitempty"`
	// Injectors are addresses that are not this server's, and that members get datagrams
	// of the session from.
	Injectors []Injector `json:"injectors,omitempty"`
	sender.Status
}

// Carries reports whether the session sends the content of that id.
func (i *Info) Carries(id string) bool { return i.Content == id || slices.Contains(i.Also, id) }

// Over says whether the session has ended.
func (c *Session) Over() bool {
	select {
	case <-c.Done():
		return true
	default:
		return false
	}
}

// End ends the session; its members hear it at once.
func (c *Session) End() { c.cancel() }

// ByUnicast notes that a member fetches what multicast does not bring.
func (c *Session) ByUnicast(member uint32) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, ok := c.unicast[member]; !ok {
		c.unicast[member] = nil
	}
}

// Left notes how a member that took to unicast has ended. The session may have
// forgotten it by then: it sent no reports.
func (c *Session) Left(member uint32, req multicast.LeaveRequest) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, ok := c.unicast[member]; ok {
		c.unicast[member] = &req
	}
}

// ReasonAgain is why a member ends whose ticket has joined again.
const ReasonAgain = "joined again"

// MemberUnicast is the state of a member that took to unicast; the session knows
// nothing of it.
const MemberUnicast sender.MemberState = "unicast"

// Info is the session as people see it.
func (c *Session) Info() Info {
	first := c.cargo.parcels[0].Content
	info := Info{Content: first.ID, Name: first.Name, Interface: c.link.Interface, Slower: c.slow, Status: c.Status()}
	for _, p := range c.cargo.parcels[1:] {
		info.Also = append(info.Also, p.Content.ID)
	}
	// A member that joined again is the same machine under a new number.
	info.Members = slices.DeleteFunc(info.Members, func(m sender.MemberStatus) bool { return m.Reason == ReasonAgain })
	c.mu.Lock()
	defer c.mu.Unlock()
	info.Injectors = c.injected(info.Members)
	for i := range info.Members {
		m := &info.Members[i]
		req, ok := c.unicast[m.ID]
		switch {
		case !ok:
		case req == nil && m.State == sender.MemberMoved:
			m.Reason = "far slower than the others"
		case req == nil:
			m.State, m.Reason = MemberUnicast, "multicast does not arrive there"
		case req.Complete:
			m.State, m.Reason, m.Complete = sender.MemberDone, "by unicast", info.Blocks
			m.Seconds, m.Repaired, m.Unicast = req.Seconds, req.Repaired, req.Unicast
		default:
			m.State, m.Reason = sender.MemberFailed, req.Reason
			m.Seconds, m.Repaired, m.Unicast = req.Seconds, req.Repaired, req.Unicast
		}
	}
	return info
}
