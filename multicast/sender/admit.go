package sender

import (
	"crypto/ed25519"
	"crypto/rand"
	"fmt"
	"time"

	"castpoint/multicast"
	"castpoint/multicast/seal"
	"castpoint/multicast/wire"
)

// Params are the parameters that members get.
func (s *Session) params() multicast.Params {
	return multicast.Params{
		ID: s.cfg.ID, Group: s.cfg.Group, Feedback: s.cfg.Feedback, Source: s.cfg.Source,
		Code:          multicast.CodeLeopard8,
		SourceSymbols: s.g.K, RepairSymbols: s.g.M, SymbolSize: s.g.SymbolSize,
		ReportInterval: s.interval, BeaconKey: s.signer.Public().(ed25519.PublicKey),
	}
}

// Candidate is who wants to be a member.
type Candidate struct {
	Name string // what people know it by
	AES  bool   // its processor has instructions for AES
}

// Admit makes a new member. Errors: ErrEnded, ErrFull.
func (s *Session) Admit(c Candidate) (multicast.Params, multicast.Member, []seal.Key, error) {
	key := make([]byte, wire.KeySize)
	var id [4]byte
	_, err := rand.Read(key)
	if err == nil {
		_, err = rand.Read(id[:])
	}
	if err != nil {
		return multicast.Params{}, multicast.Member{}, nil, fmt.Errorf("admit member: %w", err)
	}
	own, err := seal.NewReportSealer(key)
	if err != nil {
		return multicast.Params{}, multicast.Member{}, nil, fmt.Errorf("admit member: %w", err)
	}
	now := time.Now()
	s.mu.Lock()
	if s.state == wire.StateEnded {
		s.mu.Unlock()
		return multicast.Params{}, multicast.Member{}, nil, ErrEnded
	}
	if s.cfg.MaxMembers > 0 && s.present() >= s.cfg.MaxMembers {
		s.mu.Unlock()
		return multicast.Params{}, multicast.Member{}, nil, ErrFull
	}
	m := &member{id: uint32(id[0])<<24 | uint32(id[1])<<16 | uint32(id[2])<<8 | uint32(id[3]),
		name: c.Name, aes: c.AES, key: own, state: MemberJoined, joined: now, heard: now}
	for m.id == 0 || s.members[m.id] != nil {
		m.id++
	}
	s.members[m.id] = m
	s.order = append(s.order, m)
	if s.first.IsZero() {
		s.first = now
	}
	s.setInterval()
	p, keys := s.params(), s.keys.Offered()
	s.mu.Unlock()
	s.event(Event{Kind: EventJoined, Member: m.id, Name: c.Name})
	nudge(s.joined)
	return p, multicast.Member{ID: m.id, Key: key}, keys, nil
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
	s.interval = max(multicast.ReportInterval, time.Duration(n)*time.Second/reportsPerSecond)
}

// Leave ends a member, as it asked.
func (s *Session) Leave(id uint32, req multicast.LeaveRequest) {
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
	if !s.end(id, MemberKicked, multicast.LeaveRequest{Reason: "kicked"}) {
		return fmt.Errorf("session has no member %d to kick", id)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.keys.Replace(s.number.Load())
}

// chooseCipher settles the cipher at the start of the session: ChaCha20-Poly1305 when
// a member is there whose processor has no instructions for AES, because to it AES
// costs several times as much, and to the others ChaCha20 little more. The lock is held.
func (s *Session) chooseCipher() {
	name := seal.AES256GCM
	for _, m := range s.order {
		if !m.gone() && !m.aes {
			name = seal.ChaCha20
			break
		}
	}
	s.keys.Choose(name, s.number.Load())
}

func (s *Session) end(id uint32, state MemberState, req multicast.LeaveRequest) bool {
	now := time.Now()
	s.mu.Lock()
	m := s.members[id]
	if m == nil || m.gone() {
		s.mu.Unlock()
		return false
	}
	m.state, m.reason, m.left, m.ended = state, req.Reason, req, now
	if state == MemberDone {
		m.complete = uint32(s.g.Blocks)
	}
	s.lastGone = now
	s.setInterval()
	s.setHeard(now)
	s.mu.Unlock()
	s.event(Event{Kind: EventLeft, Member: id, Name: m.name, Reason: string(state)})
	nudge(s.wake)
	return true
}
