package sender

import (
	"fmt"
	"time"
)

// Status is a session as people see it.
type Status struct {
	ID       string         `json:"id"`
	State    string         `json:"state"` // waiting, sending, idle, ended
	Group    string         `json:"group"`
	Objects  int            `json:"objects"`
	Size     int64          `json:"size"`        // of all objects, bytes
	Blocks   int            `json:"blocks"`      //
	Rate     float64        `json:"rate"`        // bits per second of symbols, measured
	Target   float64        `json:"target_rate"` // bits per second, what rate control allows
	Sent     uint64         `json:"sent"`        // bytes of symbols
	Repair   uint64         `json:"repair"`      // bytes of Sent that were repair
	Created  time.Time      `json:"created"`
	Began    *time.Time     `json:"began,omitempty"`
	StartsIn float64        `json:"starts_in,omitempty"` // seconds until the start rule is fulfilled
	WaitFor  int            `json:"wait_for,omitempty"`  // members the start rule waits for
	Members  []MemberStatus `json:"members"`
}

// MemberStatus is a member as people see it.
type MemberStatus struct {
	ID       uint32      `json:"id"`
	Name     string      `json:"name"`
	State    MemberState `json:"state"`
	Complete int         `json:"complete"` // blocks
	Loss     float64     `json:"loss"`     // share of datagrams lost lately, 0 to 1
	Delay    float64     `json:"delay"`    // seconds of queueing
	Backlog  int64       `json:"backlog"`  // bytes received and not yet written
	Seconds  float64     `json:"seconds"`  // seconds since it joined, or until it ended
	Repaired int         `json:"repaired"` // blocks that needed repair; known when it has left
	Unicast  int         `json:"unicast"`  // blocks that came by unicast; known when it has left
	Reason   string      `json:"reason,omitempty"`
}

// Status returns the session as it is now.
func (s *Session) Status() Status {
	now := time.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	st := Status{
		ID: fmt.Sprintf("%08x", s.cfg.ID), State: s.state.String(), Group: s.cfg.Group.String(),
		Objects: len(s.g.Objects), Size: s.g.Size, Blocks: s.g.Blocks,
		Rate: s.throughput, Target: s.rate.Rate(), Sent: s.sentBytes, Repair: s.repairBytes,
		Created: s.start, Members: make([]MemberStatus, 0, len(s.order)),
	}
	if !s.began.IsZero() {
		began := s.began
		st.Began = &began
	} else {
		_, wait := s.startsIn(now)
		st.StartsIn, st.WaitFor = wait.Seconds(), s.cfg.MinMembers
	}
	for _, m := range s.order {
		end := now
		if !m.ended.IsZero() {
			end = m.ended
		}
		st.Members = append(st.Members, MemberStatus{
			ID: m.id, Name: m.name, State: m.state, Complete: int(m.complete), Loss: m.loss.Loss(),
			Delay: m.delay.Seconds(), Backlog: m.backlog, Seconds: end.Sub(m.joined).Seconds(),
			Repaired: m.left.Repaired, Unicast: m.left.Unicast, Reason: m.reason,
		})
	}
	return st
}
