package multicast

import (
	"net/netip"
	"time"
)

// The join protocol is JSON over TLS 1.3 (docs/protocol.md, "Join"). These are
// its messages; the server's web package and the agent share them.

// Paths of the join listener.
const (
	PathJoin   = "/v1/join"    // POST JoinRequest, answers Admission
	PathLeave  = "/v1/leave"   // POST LeaveRequest with the member's ticket
	PathObject = "/v1/object/" // GET + hex digest: ranges of the object, for members whose multicast does not arrive
)

// JoinRequest asks to be admitted to the session of a content.
type JoinRequest struct {
	// Content is the id or name of the content.
	Content string `json:"content"`
	// Token is the one-time token that admits a new member.
	Token string `json:"token,omitempty"`
	// Ticket readmits a member that was admitted before (after a restart of the
	// receiver or of the server's session). Either Token or Ticket is set.
	Ticket string `json:"ticket,omitempty"`
	// Name is what people know the machine by: its host name or MAC.
	Name string `json:"name,omitempty"`
}

// Admission is everything a member needs to take part in a session.
type Admission struct {
	// Ticket readmits this member, and authorises its other requests (sent as
	// "Authorization: Bearer").
	Ticket string `json:"ticket"`
	// MulticastOnly forbids the fall-back to unicast.
	MulticastOnly bool `json:"multicast_only,omitempty"`
	// FileName is the name the object had when it was added.
	FileName string `json:"file_name,omitempty"`

	Object  Object `json:"object"`
	Session Params `json:"session"`
	Member  Member `json:"member"`
	Keys    []Key  `json:"keys"` // valid group keys, oldest first
}

// Object describes what is transmitted: the part of a content's manifest that
// travels.
type Object struct {
	Digest    [32]byte `json:"-"`          // SHA-256 of the whole object
	SHA256    string   `json:"sha256"`     // Digest in hexadecimal
	Size      int64    `json:"size"`       // bytes
	BlockSize int      `json:"block_size"` // bytes, of every block but the last
	Hashes    []byte   `json:"hashes"`     // BLAKE3-256 of each block, one after the other
}

// Params are the parameters of a session that all members share.
type Params struct {
	ID       uint32         `json:"id"`
	Group    netip.AddrPort `json:"group"`    // where data arrives
	Feedback netip.AddrPort `json:"feedback"` // where reports go; an unspecified address means the server joined at
	Cipher   string         `json:"cipher"`   // CipherAES256GCM
	Code     string         `json:"code"`     // CodeLeopard8
	// SourceSymbols and RepairSymbols are the code's k and m; SymbolSize is in
	// bytes and SourceSymbols x SymbolSize is the block size.
	SourceSymbols  int           `json:"source_symbols"`
	RepairSymbols  int           `json:"repair_symbols"`
	SymbolSize     int           `json:"symbol_size"`
	ReportInterval time.Duration `json:"report_interval"` // nanoseconds; changed by beacons
}

// Member identifies one receiver within a session.
type Member struct {
	ID  uint32 `json:"id"`
	Key []byte `json:"key"` // seals this member's reports; 32 bytes
}

// Key is the group key of one epoch.
type Key struct {
	Epoch uint8  `json:"epoch"`
	Key   []byte `json:"key"`  // 32 bytes
	Salt  []byte `json:"salt"` // first 4 bytes of every nonce
}

// LeaveRequest tells the server that a member has ended, and how.
type LeaveRequest struct {
	Complete bool   `json:"complete"` // everything verified and on disk
	Reason   string `json:"reason,omitempty"`
	// Statistics for the session's table.
	Seconds  float64 `json:"seconds,omitempty"`
	Repaired int     `json:"repaired,omitempty"` // blocks that needed repair symbols
	Unicast  int     `json:"unicast,omitempty"`  // blocks that came by unicast
}

// Names of algorithms in Params.
const (
	CipherAES256GCM = "aes-256-gcm"
	CodeLeopard8    = "leopard8"
)
