package protocol

import (
	"time"

	"castpoint/deploy/sequence"
)

// Paths of the join listener for machines that run a task sequence. A run begins
// with POST PathRun, authorised by the boot token, which is used up, and goes on
// with the ticket that is in the answer.
const (
	PathRun       = "/v1/run"           // POST RunRequest, answers Run: begins or resumes
	PathStep      = "/v1/run/step"      // POST StepStatus, answers Order
	PathEnd       = "/v1/run/end"       // POST RunEnd
	PathOrder     = "/v1/run/order"     // GET, answers Order; ?wait=25s holds the answer until there is one
	PathQuestions = "/v1/run/questions" // POST Questions: they can be answered in the console; DELETE takes them back
	PathAnswers   = "/v1/run/answers"   // POST Answers: given at the machine
	PathContent   = "/v1/run/content/"  // + id or name: POST, answers Grant
	PathLog       = "/v1/run/log/"      // + name: PUT the file, at most MaxLog bytes
	PathAgent     = "/v1/run/agent/"    // + a name of Run.Agents: GET, answers the program
	PathInventory = "/v1/inventory"     // POST sequence.Facts; with a token (used or not) or a ticket
)

// Limits of what machines send.
const (
	MaxTail    = 8 << 10  // bytes of a step's output that go with its status
	MaxMessage = 1 << 10  // bytes of a message
	MaxLog     = 64 << 20 // bytes of one log
	MaxLogName = 100
)

// ActionRun is the action of a policy for a machine that a deployment is for: it
// begins the run named in the policy, after having asked for what the policy says.
const ActionRun = "run"

// RunOffer is the part of a policy that offers runs. A machine with one offer that
// is Required begins it; else a person chooses one, or none.
type RunOffer struct {
	Deployment string `json:"deployment"` // id
	Name       string `json:"name"`       // of the deployment, for people
	Sequence   string `json:"sequence"`   // its name
	Required   bool   `json:"required,omitempty"`
	Resume     bool   `json:"resume,omitempty"`  // the machine is in the middle of it
	Confirm    bool   `json:"confirm,omitempty"` // a person has to say yes at the machine
	// Password: the person has to type the deployment's PXE password, which goes
	// into RunRequest.
	Password    bool   `json:"password,omitempty"`
	Environment string `json:"environment,omitempty"` // that the sequence begins in
	Description string `json:"description,omitempty"`
}

// RunRequest begins a run, or goes on with it after a restart.
type RunRequest struct {
	Deployment  string         `json:"deployment,omitempty"` // of the offer that was taken; "" when there is one only
	Password    string         `json:"password,omitempty"`
	Confirmed   bool           `json:"confirmed,omitempty"`
	Environment string         `json:"environment"` // one of sequence.Environment...
	Facts       sequence.Facts `json:"facts"`
	// Nonce is random, made by the machine for one boot and told to nobody else: with
	// the same token and the same nonce a run is begun once more, when the answer was
	// lost.
	Nonce string `json:"nonce,omitempty"`
	// Run is the run that the machine has the state of on its disk, "" without
	// one. With another run than that the server begins or goes on with, the
	// state is of an older run and is dropped.
	Run string `json:"run,omitempty"`
}

// Run is a task sequence for one device, with all that it needs. It holds secrets:
// it is kept in memory, or on the disk sealed with StateKey, and never logged.
type Run struct {
	ID         string             `json:"id"`
	Ticket     string             `json:"ticket"` // authorises everything that follows, over restarts
	Deployment string             `json:"deployment"`
	Device     string             `json:"device"` // its name, or what else it is called
	Sequence   *sequence.Sequence `json:"sequence"`
	// Variables are those of sequence, collection, device and run, in that order
	// of precedence: with what steps that have been done have set.
	Variables map[string]VariableValue `json:"variables,omitempty"`
	Contents  []RunContent             `json:"contents,omitempty"`
	// StateKey seals what the machine keeps on its disk (32 bytes). It is the same
	// for every start of the run.
	StateKey []byte `json:"state_key"`
	// Next is the path of the step to go on with, "" for the first one. Resumed
	// says that the run had begun before; then Interrupted says that Next had
	// started and not ended.
	Next        string `json:"next,omitempty"`
	Resumed     bool   `json:"resumed,omitempty"`
	Interrupted bool   `json:"interrupted,omitempty"`
	// Waits says that the run has failed or was cancelled at Next: the machine waits
	// for an order.
	Waits bool `json:"waits,omitempty"`
	// Agents are the agent's programs, for the operating system that the run goes on
	// in: Name is SYSTEM-ARCHITECTURE, as in windows-amd64.
	Agents []File `json:"agents,omitempty"`
	After  string `json:"after,omitempty"` // what the machine does at the end: one of After...
	Server string `json:"server"`          // URL of the join listener, for _Server
}

// VariableValue is a variable's value.
type VariableValue struct {
	Value  string `json:"value"`
	Secret bool   `json:"secret,omitempty"` // never shown, logged or sent back in output
}

// RunContent is a content that a sequence names. By multicast it is received with a
// token that is asked for by PathContent when the step begins; its files also come
// one by one, with ranges, by GET multicast.PathObject + SHA256 with the run's ticket,
// unless it may be sent by multicast only.
type RunContent struct {
	ID     string   `json:"id"`
	Names  []string `json:"names"` // what the sequence calls it
	Name   string   `json:"name"`
	Kind   string   `json:"kind"` // os-image, driver-package, ...
	Size   int64    `json:"size"` // bytes
	Files  []File   `json:"files"`
	Method Method   `json:"method"`
}

// File is a file of a content.
type File struct {
	Name   string `json:"name"` // path in the content, with /
	Size   int64  `json:"size"`
	SHA256 string `json:"sha256"` // hexadecimal
}

// Method is how a content may reach machines.
type Method struct {
	Multicast     bool `json:"multicast,omitempty"`
	MulticastOnly bool `json:"multicast_only,omitempty"`
	Encrypted     bool `json:"encrypted,omitempty"`
}

// VariableRecovery is the secret variable by which a step reports a recovery password
// of a volume, which the server keeps for the device.
const VariableRecovery = "BitLockerRecovery"

// Grant admits to a content once: Token is for receive.Receive (or PathJoin).
type Grant struct {
	Content string `json:"content"` // id
	Token   string `json:"token"`
}

// States of a step.
const (
	StepStarted  = "started"
	StepProgress = "progress"
	StepDone     = "done"
	StepFailed   = "failed" // it has been tried as often as it may be
	StepSkipped  = "skipped"
	StepRetry    = "retry" // it has failed and is tried again
)

// StepStatus is what a machine says of a step. Server and machine number steps by
// sequence.Leaves.
type StepStatus struct {
	Run      string  `json:"run"`
	Path     string  `json:"path"`
	Number   int     `json:"number"` // of Total
	Total    int     `json:"total"`
	Name     string  `json:"name,omitempty"`
	Kind     string  `json:"kind,omitempty"` // the action
	State    string  `json:"state"`
	Attempt  int     `json:"attempt,omitempty"` // from 1
	Percent  float64 `json:"percent,omitempty"` // of the step, 0 to 100
	ExitCode *int    `json:"exit_code,omitempty"`
	Message  string  `json:"message,omitempty"` // why it failed or was skipped, or what it does: one line
	Advice   string  `json:"advice,omitempty"`  // what to do about a failure
	Output   string  `json:"output,omitempty"`  // the tail of what it printed, without secrets
	Seconds  float64 `json:"seconds,omitempty"` // since it started
	Continue bool    `json:"continue,omitempty"`
	// Environment is where it runs: one of sequence.Environment...
	Environment string `json:"environment,omitempty"`
	// Variables are those that the step has set. The server keeps them, so that a
	// run can go on without what is on the machine's disk.
	Variables map[string]VariableValue `json:"variables,omitempty"`
}

// States in which a run ends.
const (
	RunSucceeded = "succeeded"
	RunFailed    = "failed" // the machine stays on and waits for orders
	RunCancelled = "cancelled"
	RunRestart   = "restarting" // it has not ended: the machine restarts now and comes back
)

// RunEnd says how a run has ended.
type RunEnd struct {
	Run     string `json:"run"`
	State   string `json:"state"`
	Message string `json:"message,omitempty"`
	Path    string `json:"path,omitempty"` // of the step that failed, or of the next one with RunRestart
	Into    string `json:"into,omitempty"` // of RunRestart: one of sequence.Restart...
	// Within is how long the machine may take to come back from RunRestart, in
	// seconds; 0 is sequence.ReturnTime.
	Within int `json:"within,omitempty"`
}

// Kinds of orders.
const (
	OrderNone   = ""       // go on
	OrderRetry  = "retry"  // run again from the step Path
	OrderCancel = "cancel" // stop, and wait as after a failure
	OrderAnswer = "answer" // Answers are given
	OrderReboot = "reboot" // of a machine whose run has ended: restart
)

// Order is what the console wants of a machine that runs a sequence. An order is
// given once: it is taken back from the server when it is answered to a request.
type Order struct {
	Kind    string            `json:"kind,omitempty"`
	Path    string            `json:"path,omitempty"`
	By      string            `json:"by,omitempty"` // who gave it
	Answers map[string]string `json:"answers,omitempty"`
	// Variables are set before a retry.
	Variables map[string]VariableValue `json:"variables,omitempty"`
	Time      time.Time                `json:"time,omitzero"`
}

// Questions are what an ask step wants to know.
type Questions struct {
	Run       string              `json:"run"`
	Path      string              `json:"path"` // of the step
	Questions []sequence.Question `json:"questions"`
}

// Answers are those that were given at the machine, by variable. Secret ones are
// left out.
type Answers struct {
	Run     string            `json:"run"`
	Path    string            `json:"path"`
	Answers map[string]string `json:"answers"`
}
