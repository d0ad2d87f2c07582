package tftp

import (
	"fmt"
	"net/netip"
	"time"

	"castpoint/tftp/flow"
	"castpoint/tftp/wire"
)

// Request is what a client asked for, as Config.Open and events see it.
type Request struct {
	Name    string // as sent, less what parsing forgives
	Path    string // Name with '/' between parts, no leading '/', no "." or ".."; letter case kept
	Write   bool   // a write request
	Mode    wire.Mode
	Options []wire.Option // as sent, in order

	Peer      netip.AddrPort // the client
	Local     netip.AddrPort // where the request was sent to: an address of this machine, and the listening port
	Interface int            // index of the interface it came by; 0 when unknown
}

// Option returns the value of an option by its name in lower case.
func (r *Request) Option(name string) (string, bool) { return wire.FindOption(r.Options, name) }

// Kind says what an Event is about.
type Kind uint8

// The kinds of events. Every transfer has a Started and then one of Finished,
// Probe and Aborted; a request that does not become a transfer has one Refused.
const (
	Started  Kind = iota + 1 // a file was opened, the first answer goes out
	Finished                 // the last block was acknowledged (or see Stats.Confirmed)
	Probe                    // the client ended it after the size was told: normal
	Aborted                  // ended early; Err says by whom and why
	Refused                  // not begun; Err says why
)

// String is the kind in lower case.
func (k Kind) String() string {
	switch k {
	case Started:
		return "started"
	case Finished:
		return "finished"
	case Probe:
		return "probe"
	case Aborted:
		return "aborted"
	case Refused:
		return "refused"
	}
	return fmt.Sprintf("kind %d", uint8(k))
}

// Event is something that happened to a request.
type Event struct {
	Kind     Kind
	Time     time.Time
	Transfer uint64 // counts transfers from 1; 0 for Refused
	Request  Request
	Terms    wire.Terms // what was negotiated; zero for Refused
	Stats    flow.Stats // zero for Started and Refused
	Err      error      // nil for Started, Finished and Probe

	// Ordinary is set on a Refused whose file is one that a boot which goes well
	// asks for in vain (Windows policies, menu texts): nothing to worry about.
	Ordinary bool
}
