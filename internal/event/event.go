// Package event keeps what has happened to which device: from its DISCOVER to the
// last thing its agent said.
//
// Whoever serves a machine hands an [Event] to the [Recorder] and goes on at once;
// one goroutine writes them to the store in batches and passes them to those who
// follow. When more happens than can be written, events are dropped and counted,
// never waited for: a packet is worth more than its record.
package event

import (
	"encoding/json"
	"fmt"
	"time"

	"castpoint/internal/store"
)

// Kind says what an event is about.
type Kind string

// The kinds.
const (
	KindDHCP     Kind = "dhcp"     // a request: what was answered, or why nothing was
	KindTFTP     Kind = "tftp"     // a transfer by TFTP, or a request that was refused
	KindHTTP     Kind = "http"     // a boot file by HTTP
	KindBoot     Kind = "boot"     // a stage of the boot was reached
	KindJoin     Kind = "join"     // became or ceased to be a member of a session
	KindProgress Kind = "progress" // how far a member is
	KindStep     Kind = "step"     // a step of what the machine is to do
	KindError    Kind = "error"    // the machine says what went wrong
	KindRecord   Kind = "record"   // its record was made or changed, or contradicts another
)

// Kinds are all kinds, in the order in which they are explained to people.
func Kinds() []Kind {
	return []Kind{KindDHCP, KindTFTP, KindHTTP, KindBoot, KindJoin, KindProgress, KindStep, KindError, KindRecord}
}

// Event is one thing that happened to a machine.
type Event struct {
	ID      int64     `json:"id"` // rises with every event; given by the recorder
	Time    time.Time `json:"time"`
	MAC     string    `json:"mac,omitempty"`
	UUID    string    `json:"uuid,omitempty"`
	Kind    Kind      `json:"kind"`
	Trouble bool      `json:"trouble,omitempty"` // somebody may have to do something
	Message string    `json:"message"`           // one line for a person
	Details
}

// Details are what programs want to know of an event. Which are set depends on
// its kind.
type Details struct {
	Interface string  `json:"interface,omitempty"`
	Remote    string  `json:"remote,omitempty"` // address of the machine
	Asked     string  `json:"asked,omitempty"`  // DISCOVER, REQUEST, ...
	Answer    string  `json:"answer,omitempty"` // OFFER, ACK, ...; "" for silence
	Address   string  `json:"address,omitempty"`
	File      string  `json:"file,omitempty"`
	Status    int     `json:"status,omitempty"` // of HTTP
	Bytes     int64   `json:"bytes,omitempty"`
	Seconds   float64 `json:"seconds,omitempty"`
	Rate      float64 `json:"rate,omitempty"` // bits per second
	Content   string  `json:"content,omitempty"`
	Blocks    int     `json:"blocks,omitempty"` // of Total
	Total     int     `json:"total,omitempty"`
	By        string  `json:"by,omitempty"` // who did it, when it was a person
}

func (e *Event) row() (store.Event, error) {
	r := store.Event{Time: e.Time, MAC: e.MAC, UUID: e.UUID, Kind: string(e.Kind), Trouble: e.Trouble, Message: e.Message}
	if e.Details == (Details{}) {
		return r, nil
	}
	b, err := json.Marshal(e.Details)
	r.Details = string(b)
	return r, err
}

func fromRow(r *store.Event) (Event, error) {
	e := Event{ID: r.ID, Time: r.Time, MAC: r.MAC, UUID: r.UUID, Kind: Kind(r.Kind), Trouble: r.Trouble, Message: r.Message}
	if r.Details == "" {
		return e, nil
	}
	if err := json.Unmarshal([]byte(r.Details), &e.Details); err != nil {
		return e, fmt.Errorf("event %d: %w", r.ID, err)
	}
	return e, nil
}

// Filter says which events are wanted. The zero Filter wants all.
type Filter struct {
	// MACs and UUIDs of one machine: an event with one of them is its event.
	MACs, UUIDs []string
	Kinds       []Kind
}

func (f *Filter) wants(e *Event) bool {
	if len(f.Kinds) > 0 {
		found := false
		for _, k := range f.Kinds {
			found = found || k == e.Kind
		}
		if !found {
			return false
		}
	}
	if len(f.MACs)+len(f.UUIDs) == 0 {
		return true
	}
	for _, mac := range f.MACs {
		if mac != "" && mac == e.MAC {
			return true
		}
	}
	for _, uuid := range f.UUIDs {
		if uuid != "" && uuid == e.UUID {
			return true
		}
	}
	return false
}
