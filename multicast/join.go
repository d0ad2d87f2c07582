package multicast

import (
	"encoding/hex"
	"fmt"
	"net/netip"
	"time"

	"castpoint/multicast/block"
	"castpoint/multicast/seal"
)

// The join protocol is JSON over TLS 1.3 (docs/protocol.md, "Join"). These are
// its messages; the server's web package and the agent share them.

// What both sides of a session know beforehand.
const (
	// BeaconInterval bounds how long a member must listen to know that it hears
	// the session.
	BeaconInterval = 100 * time.Millisecond
	// ReportInterval is that of a few members; when there are many, beacons ask for a
	// longer one.
	ReportInterval = 5 * time.Millisecond
)

// Paths of the join listener.
const (
	PathJoin   = "/v1/join"    // POST JoinRequest, answers Admission
	PathLeave  = "/v1/leave"   // POST LeaveRequest with the member's ticket
	PathDoubt  = "/doubt"      // behind PathObject + hex digest: POST Doubt
	PathObject = "/v1/object/" // GET + hex digest: ranges of the object, for members whose multicast does not arrive
)

// Headers of ranges of the object. A member that the session has moved to unicast
// says in HeaderRate at how many bits per second its last range came. HeaderJoin in
// the answer asks it to join again with its ticket, and says why: JoinBack or
// JoinSlower.
const (
	HeaderRate = "Castpoint-Rate"
	HeaderJoin = "Castpoint-Join"

	JoinBack   = "back"   // the machine may keep up with the session now
	JoinSlower = "slower" // there is a slower session, for those that cannot
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
	// Nonce is random, made by the machine for one token and told to nobody else: with
	// the same token and the same nonce it is admitted once more, when the answer was
	// lost.
	Nonce string `json:"nonce,omitempty"`
	// Name is what people know the machine by: its host name or MAC.
	Name string `json:"name,omitempty"`
	// AES says that the machine's processor has instructions for AES. A session that
	// waits for its start chooses its cipher by what its members have.
	AES bool `json:"aes,omitempty"`
}

// Admission is everything a member needs to take part in a session.
type Admission struct {
	// Ticket readmits this member, and authorises its other requests (sent as
	// "Authorization: Bearer").
	Ticket string `json:"ticket"`
	// MulticastOnly forbids the fall-back to unicast.
	MulticastOnly bool `json:"multicast_only,omitempty"`

	// Objects are all that the session sends, in the order in which their blocks are
	// numbered. Those that are not for this member come without hashes.
	Objects []block.Object `json:"objects"`
	// Folder says that Files belong into a folder, even if there is one only.
	Folder bool `json:"folder,omitempty"`
	// Files are the member's, and what they are made of. An object may be several.
	Files []File `json:"files"`

	Session Params `json:"session"`
	Member  Member `json:"member"`
	// Keys are the group keys that the session uses or may choose.
	Keys []seal.Key `json:"keys"`
}

// Doubt says that what the server sends of an object is not what its manifest says.
// The answer is a refusal when the object is damaged.
type Doubt struct {
	Block int `json:"block"` // of the object
	// Whole: its SHA-256 is another one. The object is looked at later, whatever the
	// answer.
	Whole bool `json:"whole,omitempty"`
	// Source is an address that is not the server's, and that datagrams of the session
	// come from. Nothing is asked about a block then.
	Source netip.Addr `json:"source,omitzero"`
}

// File is a name that an object has.
type File struct {
	// Name is the file's name when it was added; in a folder the path in it, with "/".
	Name   string `json:"name"`
	Object int    `json:"object"` // index in Admission.Objects
}

// Complete checks an admission that has come as JSON, and fills in what does not
// travel.
func (a *Admission) Complete() error {
	for i := range a.Objects {
		o := &a.Objects[i]
		b, err := hex.DecodeString(o.SHA256)
		if err != nil || len(b) != len(o.Digest) {
			return fmt.Errorf("object %d: its sha256 is not 64 hexadecimal digits", i)
		}
		copy(o.Digest[:], b)
	}
	if len(a.Files) == 0 || !a.Folder && len(a.Files) > 1 {
		return fmt.Errorf("%d files: want one, or a folder of them", len(a.Files))
	}
	for _, f := range a.Files {
		if f.Object < 0 || f.Object >= len(a.Objects) {
			return fmt.Errorf("file %q: there is no object %d among %d", f.Name, f.Object, len(a.Objects))
		}
	}
	return nil
}

// Params are the parameters of a session that all members share.
type Params struct {
	ID       uint32         `json:"id"`
	Group    netip.AddrPort `json:"group"`    // where data arrives
	Feedback netip.AddrPort `json:"feedback"` // where reports go; an unspecified address means the server joined at
	Code     string         `json:"code"`     // CodeLeopard8
	// SourceSymbols and RepairSymbols are the code's k and m; SymbolSize is in
	// bytes and SourceSymbols x SymbolSize is the block size.
	SourceSymbols  int           `json:"source_symbols"`
	RepairSymbols  int           `json:"repair_symbols"`
	SymbolSize     int           `json:"symbol_size"`
	ReportInterval time.Duration `json:"report_interval"` // nanoseconds; changed by beacons
	// Source is the address that the session's datagrams come from: what comes from
	// another is somebody else's. Without it nobody looks.
	Source netip.Addr `json:"source,omitzero"`
	// BeaconKey is the server's Ed25519 key for this session (32 bytes): its beacons are
	// signed, because every member has the group key. Without it they are not.
	BeaconKey []byte `json:"beacon_key,omitempty"`
}

// Member identifies one receiver within a session.
type Member struct {
	ID  uint32 `json:"id"`
	Key []byte `json:"key"` // seals this member's reports; 32 bytes
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

// Names of codes in Params.
const (
	CodeLeopard8 = "leopard8"
)
