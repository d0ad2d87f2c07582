package delivery

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"net/netip"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"go.uber.org/zap"

	"castpoint/agent/protocol"
	"castpoint/content"
	"castpoint/content/library"
	"castpoint/deploy"
	"castpoint/deploy/collection"
	"castpoint/deploy/named"
	"castpoint/deploy/rollout"
	"castpoint/deploy/sequence"
	"castpoint/web/api"
)

// DirLogs is the folder of the data folder that machines' logs are in: one folder
// for each device, in it one for each run.
const DirLogs = "logs"

// Bearer is whose secret a machine shows.
type Bearer struct {
	MAC, UUID, Name string
	Architecture    string // amd64, arm64; "" when it is not known
	Firmware        string // uefi, bios; "" when it is not known
	Used            bool   // the token was used up already
	Proof           string // by whom, as Use was told
}

// Tokens are the one-time tokens of the join listener.
type Tokens interface {
	// Bearer is whose boot token it is; used or not, of the machine with those MACs.
	Bearer(secret string, macs []string) (Bearer, error)
	// Use uses a boot token up, and remembers proof.
	Use(secret, name, proof string, macs []string) error
	// Grant makes a token that admits a machine to a content once, soon.
	Grant(content, mac, name string) (string, error)
}

// Config is what Delivery needs. All but Guess, Agents and Log is required.
type Config struct {
	Register *rollout.Register
	Devices  *deploy.Devices
	Library  *library.Library
	Tokens   Tokens
	Data     string // folder
	// Guess is asked before a password is looked at, and may refuse; right is called when
	// it was the right one. nil lets everybody try.
	Guess func(*http.Request) (right func(), err error)
	// Server is the URL of the join listener for a request.
	Server func(*http.Request) string
	// Agents has the agent's programs, castagent-SYSTEM-ARCHITECTURE; nil for none.
	Agents fs.FS
	Log    *zap.Logger
}

// Delivery answers machines that run task sequences.
type Delivery struct {
	cfg    Config
	log    *zap.Logger
	logs   string
	agents func() (map[string]program, error)
}

// New makes a Delivery.
func New(cfg Config) (*Delivery, error) {
	if cfg.Register == nil || cfg.Devices == nil || cfg.Library == nil || cfg.Tokens == nil || cfg.Data == "" || cfg.Server == nil {
		return nil, errors.New("delivery: something of its configuration is missing")
	}
	if cfg.Log == nil {
		cfg.Log = zap.NewNop()
	}
	return &Delivery{
		cfg: cfg, log: cfg.Log, logs: filepath.Join(cfg.Data, DirLogs),
		// Not at the start: few servers have machines at work then.
		agents: sync.OnceValues(func() (map[string]program, error) { return readAgents(cfg.Agents) }),
	}, nil
}

// Route is a request that the join listener takes.
type Route struct {
	Pattern string
	// Answer writes an answer, or returns an error: a *protocol.Problem, or a
	// failure of the server's own.
	Answer func(http.ResponseWriter, *http.Request) error
}

// Routes are all of them.
func (d *Delivery) Routes() []Route {
	return []Route{
		{"POST " + protocol.PathRun, d.begin},
		{"POST " + protocol.PathStep, d.step},
		{"POST " + protocol.PathEnd, d.end},
		{"GET " + protocol.PathOrder, d.order},
		{"POST " + protocol.PathQuestions, d.ask},
		{"DELETE " + protocol.PathQuestions, d.answered},
		{"POST " + protocol.PathAnswers, d.answered},
		{"POST " + protocol.PathContent + "{id}", d.grant},
		{"PUT " + protocol.PathLog + "{name}", d.takeLog},
		{"GET " + protocol.PathAgent + "{name}", d.agent},
		{"POST " + protocol.PathInventory, d.inventory},
	}
}

// Policy is what a machine with that boot token is to do, as far as deployments
// decide it; ok is false when they do not.
func (d *Delivery) Policy(b Bearer) (p protocol.Policy, ok bool) {
	m := d.machine(b, nil)
	if m.Device != nil && m.Device.State == deploy.StateWaiting {
		return protocol.Policy{}, false
	}
	decision := d.cfg.Register.Decide(m, "")
	switch decision.Mode {
	case rollout.ModeGeneral:
		return protocol.Policy{}, false
	case rollout.ModeLocal:
		return protocol.Policy{Action: protocol.ActionLocal, Message: "there is nothing to deploy to this machine: it boots from its disk"}, true
	case rollout.ModeInventory:
		return protocol.Policy{Action: protocol.ActionWait, Message: "this machine is asked what it is", Poll: soonPoll}, true
	}
	if len(decision.Offers) == 0 {
		return protocol.Policy{
			Action: protocol.ActionWait, Message: "the deployment starts " + decision.Soon.Local().Format(time.DateTime), Poll: soonPoll,
		}, true
	}
	p = protocol.Policy{Action: protocol.ActionRun, Message: "this machine runs deployment " + decision.Offers[0].Deployment.Name}
	if len(decision.Offers) > 1 {
		p.Message = fmt.Sprintf("%d deployments are available for this machine", len(decision.Offers))
	}
	for i := range decision.Offers {
		p.Offers = append(p.Offers, d.offer(&decision.Offers[i]))
	}
	return p, true
}

// soonPoll is how often a machine asks that waits for a start, in seconds.
const soonPoll = 5

func (d *Delivery) offer(o *rollout.Offer) protocol.RunOffer {
	one := protocol.RunOffer{
		Deployment: o.Deployment.ID, Name: o.Deployment.Name, Sequence: o.Deployment.Sequence, Description: o.Deployment.Notes,
		Required: o.Deployment.Purpose == rollout.Required || o.Run != nil, Resume: o.Run != nil,
	}
	if o.Run == nil {
		one.Confirm, one.Password = o.Deployment.Confirm, o.Deployment.Password
	}
	if s, err := d.cfg.Register.OfferSequence(o); err == nil {
		one.Environment = s.Environment
		if one.Description == "" {
			one.Description = s.Description
		}
	}
	return one
}

// machine is who asks.
func (d *Delivery) machine(b Bearer, facts *sequence.Facts) collection.Machine {
	m := collection.Machine{Architecture: b.Architecture, Firmware: b.Firmware, Facts: facts}
	if facts != nil && facts.Firmware != "" {
		m.Firmware = facts.Firmware
	}
	if one, ok := d.cfg.Devices.Identify(b.MAC, b.UUID); ok {
		m.Device = &one
	}
	return m
}

// asProblem says which status an error of the rollout is.
func asProblem(err error) error {
	if _, ok := errors.AsType[*protocol.Problem](err); ok {
		return err
	}
	switch {
	case errors.Is(err, named.ErrInvalid):
		return api.Refusal(http.StatusBadRequest, "", "", "%v", err)
	case errors.Is(err, named.ErrNotFound), errors.Is(err, content.ErrNotFound):
		return api.Refusal(http.StatusNotFound, protocol.CodeNotFound, "", "%v", err)
	case errors.Is(err, rollout.ErrRefused), errors.Is(err, rollout.ErrSize):
		return api.Refusal(http.StatusForbidden, protocol.CodeRefused, "", "%v", err)
	}
	return err
}

// read reads a machine's JSON. Fields that are not known are left out: the agent in
// a boot image may be newer.
func read(w http.ResponseWriter, r *http.Request, limit int64, v any) error {
	err := json.NewDecoder(http.MaxBytesReader(w, r.Body, limit)).Decode(v)
	if tooLarge, ok := errors.AsType[*http.MaxBytesError](err); ok {
		return api.Refusal(http.StatusRequestEntityTooLarge, "", "", "request body is larger than %d bytes", tooLarge.Limit)
	}
	if err != nil {
		return api.Refusal(http.StatusBadRequest, "", "", "request body: %v", err)
	}
	return nil
}

func write(w http.ResponseWriter, v any) error {
	body, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("encode answer: %w", err)
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	_, _ = w.Write(append(body, '\n')) // a peer that has gone away is its own problem
	return nil
}

// bearer is the secret of "Authorization: Bearer", or "".
func bearer(r *http.Request) string {
	scheme, secret, ok := strings.Cut(r.Header.Get("Authorization"), " ")
	if !ok || !strings.EqualFold(scheme, "Bearer") {
		return ""
	}
	return strings.TrimSpace(secret)
}

// macs are the hardware addresses that the machine says it has.
func macs(r *http.Request) (list []string) {
	for part := range strings.SplitSeq(r.Header.Get(protocol.HeaderMAC), ",") {
		if mac, err := deploy.ParseMAC(part); err == nil && len(list) < maxMACs {
			list = append(list, mac)
		}
	}
	return list
}

const maxMACs = 32

func remote(r *http.Request) string {
	ap, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return ""
	}
	return ap.Addr().Unmap().String()
}
