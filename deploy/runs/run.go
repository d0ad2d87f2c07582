package runs

import (
	"encoding/json"
	"maps"
	"time"

	"castpoint/agent/protocol"
	"castpoint/deploy/sequence"
	"castpoint/internal/store"
)

// State is how far a run is.
type State string

// The states.
const (
	StateRunning    State = "running"
	StateAsking     State = "asking"     // a step waits for a person's answers
	StateRestarting State = "restarting" // the machine is about to come back
	StateSucceeded  State = "succeeded"
	StateFailed     State = "failed" // the machine waits to be told to try again
	StateCancelled  State = "cancelled"
)

// Ended says whether a run goes on by itself.
func (s State) Ended() bool {
	return s == StateSucceeded || s == StateFailed || s == StateCancelled
}

// Run is a sequence on a device.
type Run struct {
	ID         string    `json:"id"`
	Deployment string    `json:"deployment"` // id
	Device     string    `json:"device"`     // id
	Label      string    `json:"label"`      // what the device was called
	Sequence   string    `json:"sequence"`
	Revision   int       `json:"revision"`
	State      State     `json:"state"`
	Started    time.Time `json:"started"`
	Ended      time.Time `json:"ended,omitzero"`
	Heard      time.Time `json:"heard"` // from the machine
	// Step is the one that runs, or ran last.
	Step        StepRecord `json:"step,omitzero"`
	Total       int        `json:"total"` // steps
	Message     string     `json:"message,omitempty"`
	Advice      string     `json:"advice,omitempty"`
	Environment string     `json:"environment,omitempty"`
	Into        string     `json:"into,omitempty"`   // where a restart leads: one of sequence.Restart...
	Remote      string     `json:"remote,omitempty"` // address of the machine
	// MACs are the cards of the machine that runs it, as it says.
	MACs     []string  `json:"macs,omitempty"`
	Next     string    `json:"next,omitempty"`      // while the machine restarts: path of the step to go on with
	Until    time.Time `json:"until,omitzero"`      // while the machine restarts: when it has to be back
	Lost     bool      `json:"lost,omitempty"`      // it has failed because the machine did not come back
	DiskFrom int       `json:"disk_from,omitempty"` // number of the first step in the system on the disk; 0 when the machine was not sent there
	// Order is what the machine has not fetched yet.
	Order *protocol.Order `json:"order,omitempty"`
	// Questions are what an ask step wants to know.
	Questions *protocol.Questions `json:"questions,omitempty"`
	// Variables are those that steps have set, without those that are secret.
	Variables map[string]string `json:"variables,omitempty"`
	// Late: it is running, and nothing was heard for a long time.
	Late bool `json:"late,omitempty"`

	// What is not shown: variables that steps have set, sealed; the hash of the
	// ticket; the machine's state key, sealed.
	Secrets map[string][]byte `json:"-"`
	Ticket  string            `json:"-"`
	Key     []byte            `json:"-"`
	// Fetched: the machine has asked for Order, which is to try again, and has not
	// reported a step since. The order stays: the answer, or the machine's power, may
	// have been lost.
	Fetched bool `json:"-"`
	// Ending: the machine has reported a step that ends the run, and not its end.
	Ending bool `json:"-"`
}

// Stays says whether a run that has failed or was cancelled stays so, whatever its
// machine says, because nobody has ordered that it go on.
func (r *Run) Stays() bool {
	return r.State.Ended() && !r.Lost && !r.Ending && !r.Fetched
}

// Retrying says whether somebody has ordered that the run be tried again, and the
// machine has not begun to.
func (r *Run) Retrying() bool { return r.Order != nil && r.Order.Kind == protocol.OrderRetry }

// StepRecord is what is known of one step of a run.
type StepRecord struct {
	Path     string    `json:"path"`
	Number   int       `json:"number"`
	Name     string    `json:"name,omitempty"`
	Kind     string    `json:"kind,omitempty"` // its action
	State    string    `json:"state"`
	Attempt  int       `json:"attempt,omitempty"`
	Percent  float64   `json:"percent,omitempty"`
	ExitCode *int      `json:"exit_code,omitempty"`
	Message  string    `json:"message,omitempty"`
	Advice   string    `json:"advice,omitempty"`
	Output   string    `json:"output,omitempty"`
	Started  time.Time `json:"started,omitzero"`
	Ended    time.Time `json:"ended,omitzero"`
	// Continue: the sequence went on although it had failed.
	Continue bool `json:"continue,omitempty"`
}

// Over says whether a step needs nothing more.
func (s *StepRecord) Over() bool {
	return s.State == protocol.StepDone || s.State == protocol.StepSkipped || s.State == protocol.StepFailed && s.Continue
}

// runBody is how a run is kept: with what is not shown.
type runBody struct {
	Run
	Secrets map[string][]byte `json:"secrets,omitempty"`
	Ticket  string            `json:"ticket,omitempty"`
	Key     []byte            `json:"key,omitempty"`
	Fetched bool              `json:"fetched,omitempty"`
	Ending  bool              `json:"ending,omitempty"`
}

// Clone is a copy with variables and secrets of its own.
func (r *Run) Clone() *Run {
	c := *r
	c.Variables, c.Secrets = maps.Clone(r.Variables), maps.Clone(r.Secrets)
	return &c
}

// Row is the run as the database has it. Answers are not in it: they may be secret, and
// after a crash the question is there again.
func (r *Run) Row() (store.Run, error) {
	kept := *r
	if r.Order != nil && r.Order.Kind == protocol.OrderAnswer {
		kept.Order = nil
	}
	body, err := json.Marshal(runBody{kept, r.Secrets, r.Ticket, r.Key, r.Fetched, r.Ending})
	return store.Run{ID: r.ID, Deployment: r.Deployment, Device: r.Device, Ended: r.State.Ended(), Body: body, Started: r.Started}, err
}

// Of is the run of a row.
func Of(row *store.Run) (*Run, error) {
	var b runBody
	if err := json.Unmarshal(row.Body, &b); err != nil {
		return nil, err
	}
	r := b.Run
	r.Secrets, r.Ticket, r.Key, r.Fetched, r.Ending = b.Secrets, b.Ticket, b.Key, b.Fetched, b.Ending
	return &r, nil
}

// OnDisk says whether the run is in the system on the machine's disk, or on its way
// there.
func (r *Run) OnDisk() bool {
	if r.State == StateRestarting || r.Lost {
		return r.Into == sequence.RestartDisk
	}
	return sequence.OnDisk(r.Environment)
}

// Percent is how much of the steps is done, as far as their number says so.
func (r *Run) Percent() float64 {
	if r.State == StateSucceeded || r.Total == 0 {
		return map[bool]float64{true: 100}[r.State == StateSucceeded]
	}
	done := float64(max(0, r.Step.Number-1)) + r.Step.Percent/100
	if r.Step.Over() {
		done = float64(r.Step.Number)
	}
	return min(100, 100*done/float64(r.Total))
}

// LateTime is how long a machine that runs a sequence may be silent. Agents report
// at least once a minute; a restart takes some minutes.
const LateTime = 15 * time.Minute

// Cancelling says whether somebody has cancelled the run, and its machine has not
// heard of it.
func (r *Run) Cancelling() bool { return r.Order != nil && r.Order.Kind == protocol.OrderCancel }

// Shown is a run for people.
func (r *Run) Shown(now time.Time) Run {
	c := *r.Clone()
	c.Late = !c.State.Ended() && now.Sub(c.Heard) > LateTime
	if c.Late && c.Cancelling() {
		c.State, c.Late, c.Ended, c.Message = StateCancelled, false, c.Order.Time, "cancelled by "+c.Order.By+"; nothing was heard of the machine since"
	}
	if c.Order != nil {
		order := *c.Order
		order.Answers, order.Variables = nil, nil // may be secret
		c.Order = &order
	}
	c.Secrets, c.Ticket, c.Key = nil, "", nil
	return c
}
