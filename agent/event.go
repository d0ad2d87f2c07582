package agent

import "time"

// Kinds of events that Receive reports.
const (
	EventAway        = "away" // the server does not answer, and is asked again; Message says why
	EventJoined      = "joined"
	EventResumed     = "resumed"      // blocks of an earlier receive were found right
	EventProgress    = "progress"     // several times a second
	EventNoDatagrams = "no-datagrams" // Advice says what may be wrong
	EventUnicast     = "unicast"      // the rest comes by unicast
	EventInjected    = "injected"     // datagrams come from somebody else than the server; Message says from where
	EventAgain       = "again"        // joins the session again; Message says why
	EventDone        = "done"
	EventFailed      = "failed"
)

// Event is something that happens in a receive. Fields that say nothing for its
// kind are zero.
type Event struct {
	Time    time.Time `json:"time"`
	Kind    string    `json:"event"`
	Message string    `json:"message,omitempty"`
	Advice  []string  `json:"advice,omitempty"`

	Session   string `json:"session,omitempty"` // id, hexadecimal
	Group     string `json:"group,omitempty"`   // address and port
	Interface string `json:"interface,omitempty"`
	Out       string `json:"out,omitempty"`
	Files     int    `json:"files,omitempty"`           // of a content that is a folder
	SHA256    string `json:"sha256,omitempty"`          // of a content that is one file
	Whole     bool   `json:"sha256_computed,omitempty"` // of what was received, not only its blocks checked

	State    string  `json:"state,omitempty"`     // of the session: waiting, sending, idle
	Members  int     `json:"members,omitempty"`   // in the session
	WaitFor  int     `json:"wait_for,omitempty"`  // members the session waits for
	StartsIn float64 `json:"starts_in,omitempty"` // seconds

	Blocks    int     `json:"blocks"` // verified and written
	Total     int     `json:"total_blocks"`
	Bytes     int64   `json:"bytes"`
	Size      int64   `json:"size"`
	Rate      float64 `json:"rate,omitempty"` // bits per second
	Loss      float64 `json:"loss,omitempty"` // share of datagrams, 0 to 1
	Repaired  int     `json:"repaired"`       // blocks rebuilt with repair symbols
	Unicast   int     `json:"unicast"`        // blocks that came by unicast
	Forged    uint64  `json:"forged,omitempty"`
	Injected  uint64  `json:"injected,omitempty"`  // datagrams that came from another address than the server's, and were dropped
	Seconds   float64 `json:"seconds,omitempty"`   // since the start of the receive
	Remaining float64 `json:"remaining,omitempty"` // seconds, estimated
}
