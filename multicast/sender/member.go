package sender

import (
	"time"

	"castpoint/multicast"
	"castpoint/multicast/rate"
	"castpoint/multicast/seal"
	"castpoint/multicast/wire"
)

// MemberState is where a member stands.
type MemberState string

// States of a member.
const (
	MemberJoined    MemberState = "joined"    // admitted, not heard of yet
	MemberReceiving MemberState = "receiving" // reports
	MemberSilent    MemberState = "silent"    // has stopped reporting; nobody waits for it
	MemberMoved     MemberState = "unicast"   // too slow for the others: takes the rest by unicast
	MemberReceived  MemberState = "received"  // lacks nothing, has not said that it is done
	MemberDone      MemberState = "done"      // verified everything
	MemberFailed    MemberState = "failed"    // left without everything
	MemberKicked    MemberState = "kicked"
)

// member is the sender's view of one receiver. The session's lock guards it.
type member struct {
	id     uint32
	name   string
	aes    bool // its processor has instructions for AES
	key    *seal.Sealer
	state  MemberState
	joined time.Time
	ended  time.Time
	reason string

	heard    time.Time         // last report, or admission
	number   uint64            // highest report number: older ones are dropped
	highest  wire.PacketNumber // highest packet number it has seen
	complete uint32            // blocks
	loss     rate.LossMeter
	test     test
	apart    apart
	held     time.Duration // how long the sender has waited for its reports, since heldFrom
	heldFrom time.Time
	delay    time.Duration
	backlog  int64 // bytes
	left     multicast.LeaveRequest
}

// active reports whether the session waits for what this member says. Who lacks
// nothing has nothing more to say: it checks the whole and makes it durable.
func (m *member) active() bool { return m.state == MemberReceiving }

// patience is how long the member may say nothing before it is out.
func (m *member) patience() time.Duration {
	if m.state == MemberReceived {
		return finishTime
	}
	return forget
}

// gone reports whether the member has ended for good.
func (m *member) gone() bool {
	switch m.state {
	case MemberDone, MemberFailed, MemberKicked:
		return true
	}
	return false
}
