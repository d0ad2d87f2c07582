// Package protocol holds the messages between a machine and the join listener
// that are not about a session (those are in package multicast): what a machine
// is to do, what it reports, and how a refusal looks. They are JSON over TLS
// 1.3.
//
// Terms:
//
//   - a token admits once; a machine finds it on its kernel command line, a
//     person gets one from castpoint token create;
//   - a ticket is what a token is exchanged for when the machine joins; it
//     authorises everything after that and survives restarts of both sides;
//   - a policy is what the server wants the machine to do;
//   - an event is what the machine says has happened to it.
package protocol

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strings"
	"time"
)

// Paths of the join listener beside those of package multicast. Both are
// authorised by "Authorization: Bearer" with a token (used or not) or a ticket.
const (
	PathPolicy = "/v1/policy" // GET, answers Policy; does not use up the token
	PathEvents = "/v1/events" // POST Event
)

// HeaderMAC lists the hardware addresses of the asking machine, separated by
// commas. A token that is bound to a MAC is taken from no other machine. It is
// a guard against mix-ups, not against an attacker, who can say anything.
const HeaderMAC = "Castpoint-Mac"

// Actions of a policy.
const (
	ActionReceive = "receive" // receive Content into Target, then do After
	ActionWait    = "wait"    // nothing to do: show Message, ask again after Poll
	ActionLocal   = "local"   // nothing to do: boot from the disk
)

// What a machine does after it has received its content.
const (
	AfterPoweroff = "poweroff"
	AfterReboot   = "reboot"
	AfterShell    = "shell" // leave the agent; the boot environment opens a shell
	AfterWait     = "wait"  // stay as it is
)

// Policy is what a machine is to do.
type Policy struct {
	Action  string `json:"action"`
	Content string `json:"content,omitempty"` // id of the content to receive
	Size    int64  `json:"size,omitempty"`    // bytes it takes on the machine
	Folder  bool   `json:"folder,omitempty"`  // it is several files, and Target a folder
	Target  string `json:"target,omitempty"`  // path on the machine: a file, or a disk
	After   string `json:"after,omitempty"`
	Message string `json:"message,omitempty"` // one line for the machine's screen
	Poll    int    `json:"poll,omitempty"`    // seconds until the machine asks again
	// Offers are the task sequences that the machine may run, with ActionRun.
	Offers []RunOffer `json:"offers,omitempty"`
}

// Event is one thing that happened to a machine.
type Event struct {
	Kind    string `json:"kind"`              // started, joined, progress, unicast, done, failed, ...
	Message string `json:"message,omitempty"` // one line for a person
	MAC     string `json:"mac,omitempty"`
	Name    string `json:"name,omitempty"`
	Content string `json:"content,omitempty"`
	// Blocks of Total are verified and written.
	Blocks  int     `json:"blocks,omitempty"`
	Total   int     `json:"total,omitempty"`
	Rate    float64 `json:"rate,omitempty"` // bits per second
	Seconds float64 `json:"seconds,omitempty"`
	// Time and Remote are filled in by the server.
	Time   time.Time `json:"time,omitzero"`
	Remote string    `json:"remote,omitempty"`
}

// Codes of a Problem that a program branches on.
const (
	CodeTokenUnknown  = "token-unknown"
	CodeTokenUsed     = "token-used"
	CodeTokenExpired  = "token-expired"
	CodeTokenOther    = "token-other" // for another content or another machine
	CodeTicketUnknown = "ticket-unknown"
	CodeSessionEnded  = "session-ended" // somebody has ended the session of the ticket, or its member's part in it
	CodeDamaged       = "damaged"       // the content is damaged on the server
	CodeNotFound      = "not-found"
	CodeRefused       = "refused" // the settings of the content forbid it
	CodeTooMany       = "too-many"
	CodeInvalid       = "invalid"    // the request has a field or a value that cannot be
	CodeUnreadable    = "unreadable" // a file on the server's host that its user may not read
	CodePassword      = "password"   // of a deployment: missing, or another one
)

// Problem is the body of every answer that is not a success, from the join
// listener and from the admin API.
type Problem struct {
	Status int    `json:"status"`         // HTTP status
	Title  string `json:"title"`          // the kind of problem, always the same for the same kind
	Detail string `json:"detail"`         // what is wrong, with names
	Hint   string `json:"hint,omitempty"` // the way out
	Code   string `json:"code,omitempty"` // for programs
	// Request is the id of the request, which is in the server's log too.
	Request string `json:"request,omitempty"`
}

// Error is the detail and the way out in one line.
func (p *Problem) Error() string {
	s := p.Detail
	if s == "" {
		s = p.Title
	}
	if s == "" { // from a server, or what is in its place, that says nothing
		s = fmt.Sprintf("refused with status %d and no reason", p.Status)
	}
	if p.Hint != "" {
		s += "; " + p.Hint
	}
	return s
}

// Pin is the SHA-256 of a server's certificate (DER). It is all that a machine
// needs to know to trust the server.
type Pin [sha256.Size]byte

// NewPin hashes a certificate in DER form.
func NewPin(der []byte) Pin { return sha256.Sum256(der) }

// String is the form people copy: "sha256:" and 64 hexadecimal digits.
func (p Pin) String() string { return "sha256:" + hex.EncodeToString(p[:]) }

// ParsePin reads what String wrote; the prefix may be missing, and colons
// between bytes and upper case are accepted, as other programs print them.
func ParsePin(s string) (Pin, error) {
	var p Pin
	text := strings.TrimPrefix(strings.ToLower(strings.TrimSpace(s)), "sha256:")
	b, err := hex.DecodeString(strings.ReplaceAll(text, ":", ""))
	if err != nil || len(b) != len(p) {
		return p, fmt.Errorf("pin %q is not a certificate hash: want sha256: and 64 hexadecimal digits, as castpoint serve prints it", s)
	}
	copy(p[:], b)
	return p, nil
}
