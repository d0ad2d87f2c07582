package multicast

import (
	"crypto/rand"
	"fmt"
	"time"

	"castpoint/multicast/wire"
)

// Params are the parameters that members get.
func (s *Session) params() Params {
	return Params{
		ID: s.cfg.ID, Group: s.cfg.Group, Feedback: s.cfg.Feedback,
		Cipher: CipherAES256GCM, Code: CodeLeopard8,
		SourceSymbols: s.g.k, RepairSymbols: s.g.m, SymbolSize: s.g.symbolSize,
		ReportInterval: s.interval,
	}
}

// Admit makes a new member. name is what people know it by. Errors: ErrEnded,
// ErrFull.
func (s *Session) Admit(name string) (Params, Member, []Key, error) {
	key := make([]byte, wire.KeySize)
	var id [4]byte
	_, err := rand.Read(key)
	if err == nil {
		_, err = rand.Read(id[:])
	}
	if err != nil {
		return Params{}, Member{}, nil, fmt.Errorf("admit member: %w", err)
	}
	seal, err := newSealer(key, memberSalt[:])
	if err != nil {
		return Params{}, Member{}, nil, fmt.Errorf("admit member: %w", err)
	}
	now := time.Now()
	s.mu.Lock()
	if s.state == wire.StateEnded {
		s.mu.Unlock()
		return Params{}, Member{}, nil, ErrEnded
	}
	if s.cfg.MaxMembers > 0 && s.present() >= s.cfg.MaxMembers {
		s.mu.Unlock()
		return Params{}, Member{}, nil, ErrFull
	}
	m := &member{id: uint32(id[0])<<24 | uint32(id[1])<<16 | uint32(id[2])<<8 | uint32(id[3]),
		name: name, key: seal, state: MemberJoined, joined: now, heard: now}
	for m.id == 0 || s.members[m.id] != nil {
		m.id++
	}
	s.members[m.id] = m
	s.order = append(s.order, m)
	if s.first.IsZero() {
		s.first = now
	}
	s.setInterval()
	p, keys := s.params(), s.keys[len(s.keys)-1:]
	s.mu.Unlock()
	s.event(Event{Kind: EventJoined, Member: m.id, Name: name})
	nudge(s.joined)
	return p, Member{ID: m.id, Key: key}, keys, nil
}

// present counts the members that take part.
func (s *Session) present() (n int) {
	for _, m := range s.members {
		if !m.gone() && m.state != MemberMoved {
			n++
		}
	}
	return n
}

// setInterval keeps the reports of all members together under reportsPerSecond.
func (s *Session) setInterval() {
	n := s.present()
	s.schedule.members = n
	s.interval = max(reportInterval, time.Duration(n)*time.Second/reportsPerSecond)
}

// Leave ends a member, as it asked.
func (s *Session) Leave(id uint32, req LeaveRequest) {
	state := MemberFailed
	if req.Complete {
		state = MemberDone
	}
	s.end(id, state, req)
}

// Kick ends a member against its will. The group key changes, so what is sent
// from now on stays closed to it; the others fetch the new key by joining again
// with their tickets.
func (s *Session) Kick(id uint32) error {
	if !s.end(id, MemberKicked, LeaveRequest{Reason: "kicked"}) {
		return fmt.Errorf("session has no member %d to kick", id)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	key, err := newGroupKey(s.epoch + 1)
	if err != nil {
		return err
	}
	seal, err := newSealer(key.Key, key.Salt)
	if err != nil {
		return err
	}
	s.epoch++
	s.sealer = seal
	s.keys = append(s.keys, key)
	return nil
}

func (s *Session) end(id uint32, state MemberState, req LeaveRequest) bool {
	now := time.Now()
	s.mu.Lock()
	m := s.members[id]
	if m == nil || m.gone() {
		s.mu.Unlock()
		return false
	}
	m.state, m.reason, m.left, m.ended = state, req.Reason, req, now
	if state == MemberDone {
		m.complete = uint32(s.g.blocks)
	}
	s.lastGone = now
	s.setInterval()
	s.setHeard(now)
	s.mu.Unlock()
	s.event(Event{Kind: EventLeft, Member: id, Name: m.name, Reason: string(state)})
	nudge(s.wake)
	return true
}
