package delivery

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"castpoint/agent/protocol"
	"castpoint/boot"
	"castpoint/content"
	"castpoint/deploy"
	"castpoint/deploy/collection"
	"castpoint/deploy/rollout"
	"castpoint/deploy/sequence"
	"castpoint/web/api"
)

// Limits of what machines send.
const (
	maxFacts  = 256 << 10
	maxStatus = 64 << 10
)

// begin begins a run, by a boot token, or goes on with one, by a boot token after a
// network boot or by the ticket of the run itself.
func (d *Delivery) begin(w http.ResponseWriter, r *http.Request) error {
	var req protocol.RunRequest
	if err := read(w, r, maxFacts, &req); err != nil {
		return err
	}
	out, err := d.beginRun(r, &req)
	if err != nil {
		return asProblem(err)
	}
	return write(w, out)
}

// Proof is what is remembered of the nonce of a machine that uses a token up: enough to
// know the machine again, and of no use to who reads the file. "" for none.
func Proof(secret, nonce string) string {
	if nonce == "" {
		return ""
	}
	sum := sha256.Sum256([]byte(secret + " " + nonce))
	return hex.EncodeToString(sum[:])
}

func (d *Delivery) beginRun(r *http.Request, req *protocol.RunRequest) (*protocol.Run, error) {
	secret := bearer(r)
	if run, ok := d.cfg.Register.Authorized(secret); ok {
		return d.goOn(r, req, &run, secret)
	}
	who, err := d.cfg.Tokens.Bearer(secret, macs(r))
	if err != nil {
		return nil, err
	}
	proof := Proof(secret, req.Nonce)
	// The machine that has used the token asks again when the answer was lost.
	again := who.Used && proof != "" && subtle.ConstantTimeCompare([]byte(proof), []byte(who.Proof)) == 1
	if who.Used && !again {
		return nil, api.Refusal(http.StatusForbidden, protocol.CodeTokenUsed, "boot the machine again", "the token of this machine was used already")
	}
	m := d.machine(who, &req.Facts)
	if err := mayRun(m.Device); err != nil {
		return nil, err
	}
	offer, err := d.choose(m, req)
	if err != nil {
		return nil, err
	}
	b := rollout.Begin{Offer: *offer, Request: *req, Remote: remote(r), MACs: macs(r)}
	out, err := d.beginNew(r, m.Device, who, &b, secret, proof, again)
	if err != nil && !(errors.Is(err, rollout.ErrPassword) && req.Password == "") {
		d.tellRefused(&b, m.Device, who, err)
	}
	if errors.Is(err, rollout.ErrPassword) {
		err = api.Refusal(http.StatusForbidden, protocol.CodePassword, "", "%v", err)
	}
	return out, err
}

// tellRefused notes why a machine may not begin what it is to begin: people look for it
// at the deployment and in the timeline, and not at the machine.
func (d *Delivery) tellRefused(b *rollout.Begin, known *deploy.Device, who Bearer, err error) {
	if p, ok := errors.AsType[*protocol.Problem](asProblem(err)); !ok || p.Status >= http.StatusInternalServerError {
		return
	}
	if known == nil {
		known = &deploy.Device{UUID: who.UUID}
		if who.MAC != "" {
			known.MACs = []string{who.MAC}
		}
	}
	d.cfg.Register.Refused(b.Offer.Deployment.ID, known, err)
}

// beginNew begins what was offered, or goes on with it after a network boot.
func (d *Delivery) beginNew(r *http.Request, known *deploy.Device, who Bearer, b *rollout.Begin, secret, proof string, again bool) (*protocol.Run, error) {
	err := d.check(r, b)
	if err != nil {
		return nil, err
	}
	// What can go wrong goes wrong before the token is used up and the machine is
	// put on record: it may ask again.
	if b.Device, err = d.device(r.Context(), known, who, &b.Request.Facts); err != nil {
		return nil, err
	}
	contents, err := d.contents(b)
	if err != nil {
		return nil, err
	}
	if !again {
		if err := d.cfg.Tokens.Use(secret, b.Device.Label(), proof, macs(r)); err != nil {
			return nil, err
		}
	}
	out, err := d.cfg.Register.Begin(r.Context(), *b, "")
	if err != nil {
		return nil, err
	}
	out.Contents, out.Server = contents, d.cfg.Server(r)
	out.Agents, err = d.agentsFor(b.Request.Facts.Architecture)
	return out, err
}

// check refuses what the deployment is against. A password is a try, right or not.
func (d *Delivery) check(r *http.Request, b *rollout.Begin) error {
	if b.Request.Password == "" || d.cfg.Guess == nil {
		return b.Check()
	}
	right, err := d.cfg.Guess(r)
	if err != nil {
		return err
	}
	if err = b.Check(); !errors.Is(err, rollout.ErrPassword) {
		right()
	}
	return err
}

// goOn goes on with the run of a ticket.
func (d *Delivery) goOn(r *http.Request, req *protocol.RunRequest, run *rollout.Run, ticket string) (*protocol.Run, error) {
	device, err := d.cfg.Devices.Get(run.Device)
	if err != nil {
		return nil, api.Refusal(http.StatusForbidden, protocol.CodeTicketUnknown, "", "the device of this run is off the record")
	}
	if err := mayRun(&device); err != nil {
		return nil, err
	}
	if run.State == rollout.StateSucceeded {
		return nil, api.Refusal(http.StatusForbidden, protocol.CodeTicketUnknown, "", "the run %s has ended: %s", run.ID, run.State)
	}
	deployment, err := d.cfg.Register.Deployment(run.Deployment)
	if err != nil {
		return nil, err
	}
	b := rollout.Begin{Device: device, Offer: rollout.Offer{Deployment: deployment, Run: run}, Request: *req, Remote: remote(r), MACs: macs(r)}
	contents, err := d.contents(&b)
	if err != nil {
		return nil, err
	}
	out, err := d.cfg.Register.Begin(r.Context(), b, ticket)
	if err != nil {
		return nil, err
	}
	out.Contents, out.Server = contents, d.cfg.Server(r)
	out.Agents, err = d.agentsFor(req.Facts.Architecture)
	return out, err
}

// mayRun refuses devices that may not run anything, whatever they show.
func mayRun(one *deploy.Device) error {
	switch {
	case one == nil:
		return nil
	case one.Protected:
		return api.Refusal(http.StatusForbidden, protocol.CodeRefused, "", "device %s is protected: nothing is deployed to it", one.Label())
	case one.State == deploy.StateDenied, one.State == deploy.StateWaiting:
		return api.Refusal(http.StatusForbidden, protocol.CodeRefused, "castpoint device approve "+one.ID, "device %s is not approved", one.Label())
	}
	return nil
}

// choose finds the offer that a request is about.
func (d *Delivery) choose(m collection.Machine, req *protocol.RunRequest) (*rollout.Offer, error) {
	decision := d.cfg.Register.Decide(m, req.Deployment)
	for i := range decision.Offers {
		o := &decision.Offers[i]
		if strings.EqualFold(req.Deployment, o.Deployment.ID) || strings.EqualFold(req.Deployment, o.Deployment.Name) {
			return o, nil
		}
	}
	if req.Deployment == "" && len(decision.Offers) == 1 {
		return &decision.Offers[0], nil
	}
	why := "nothing is deployed to it"
	if len(decision.Why) > 0 {
		why = strings.Join(decision.Why, "; ")
	}
	if len(decision.Offers) > 1 && req.Deployment == "" {
		why = "several deployments are available: one has to be named"
	}
	return nil, api.Refusal(http.StatusForbidden, protocol.CodeRefused, "", "this machine may not run deployment %.64q now: %s", req.Deployment, why)
}

// device is the device on record for a machine, with what it has just said of
// itself; one that is not on record is put there.
func (d *Delivery) device(ctx context.Context, known *deploy.Device, who Bearer, facts *sequence.Facts) (deploy.Device, error) {
	if known != nil {
		return d.cfg.Devices.TakeInventory(known.ID, *facts)
	}
	want := deploy.Device{UUID: who.UUID, Notes: "put on record by a deployment for unknown machines"}
	if want.UUID == "" && !boot.SharedUUID(facts.UUID) {
		want.UUID = facts.UUID
	}
	if who.MAC != "" {
		want.MACs = []string{who.MAC}
	}
	one, err := d.cfg.Devices.Add(ctx, want, "deployment")
	if err != nil {
		return deploy.Device{}, fmt.Errorf("put the machine on record: %w", err)
	}
	return d.cfg.Devices.TakeInventory(one.ID, *facts)
}

// contents are those that the sequence of a run names.
func (d *Delivery) contents(b *rollout.Begin) ([]protocol.RunContent, error) {
	seq, vars, err := d.cfg.Register.Variables(b)
	if err != nil {
		return nil, err
	}
	lookup := func(name string) (string, bool) {
		v, ok := vars[name]
		return v.Value, ok
	}
	var list []protocol.RunContent
	for _, name := range seq.ContentNames(lookup) {
		ct, err := d.cfg.Library.Get(name)
		if err != nil {
			if errors.Is(err, content.ErrNotFound) {
				return nil, api.Refusal(http.StatusNotFound, protocol.CodeNotFound, "castpoint content list shows what there is",
					"sequence %s needs content %s, which is not in the library", seq.Name, name)
			}
			return nil, fmt.Errorf("content %s of sequence %s: %w", name, seq.Name, err)
		}
		list = addContent(list, ct, name)
	}
	return list, nil
}

// addContent adds a content, or one more name of it.
func addContent(list []protocol.RunContent, ct *content.Content, name string) []protocol.RunContent {
	for i := range list {
		if list[i].ID == ct.ID {
			list[i].Names = append(list[i].Names, name)
			return list
		}
	}
	one := protocol.RunContent{
		ID: ct.ID, Names: []string{name}, Name: ct.Name, Kind: string(ct.Kind),
		Method: protocol.Method{Multicast: ct.Distribution.Multicast, MulticastOnly: ct.Distribution.MulticastOnly, Encrypted: ct.Distribution.Encrypt},
	}
	for _, f := range ct.Files {
		if f.Role == content.RoleAttached {
			continue // boot images only
		}
		one.Files = append(one.Files, protocol.File{Name: f.Name, Size: f.Size, SHA256: f.Digest.String()})
		one.Size += f.Size
	}
	return append(list, one)
}

// run is the run of the ticket that a request shows.
func (d *Delivery) run(r *http.Request) (rollout.Run, error) {
	run, ok := d.cfg.Register.Authorized(bearer(r))
	if !ok {
		return run, api.Refusal(http.StatusForbidden, protocol.CodeTicketUnknown, "boot the machine again", "the ticket belongs to no run of this server, or its run has ended")
	}
	return run, nil
}

// ofRun is run for a message that names it.
func (d *Delivery) ofRun(r *http.Request, id string) (rollout.Run, error) {
	run, err := d.run(r)
	if err == nil && id != run.ID {
		err = api.Refusal(http.StatusForbidden, protocol.CodeTokenOther, "", "the ticket is of run %s, not of %.64q", run.ID, id)
	}
	return run, err
}

func (d *Delivery) step(w http.ResponseWriter, r *http.Request) error {
	var s protocol.StepStatus
	if err := read(w, r, maxStatus, &s); err != nil {
		return err
	}
	run, err := d.ofRun(r, s.Run)
	if err != nil {
		return err
	}
	order, err := d.cfg.Register.Report(r.Context(), run.ID, s)
	if err != nil {
		return asProblem(err)
	}
	if d.stillMay(&run) != nil {
		// It was denied or protected meanwhile: it stops, and hears nothing more.
		order = protocol.Order{Kind: protocol.OrderCancel, By: "castpoint", Time: time.Now().UTC()}
	}
	return write(w, order)
}

func (d *Delivery) end(w http.ResponseWriter, r *http.Request) error {
	var e protocol.RunEnd
	if err := read(w, r, maxStatus, &e); err != nil {
		return err
	}
	run, err := d.ofRun(r, e.Run)
	if err == nil {
		err = d.cfg.Register.End(r.Context(), run.ID, e)
	}
	if err != nil {
		return asProblem(err)
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

// maxWait is how long an answer is held for an order.
const maxWait = 50 * time.Second

func (d *Delivery) order(w http.ResponseWriter, r *http.Request) error {
	run, err := d.run(r)
	if err != nil {
		return err
	}
	wait, _ := time.ParseDuration(r.URL.Query().Get("wait")) // none, or no time, is at once
	// The listener's time limit for requests would end the wait. With none at all a body
	// that does not come would be waited for when the answer is written.
	if err := http.NewResponseController(w).SetReadDeadline(time.Now().Add(maxWait + 10*time.Second)); err != nil && !errors.Is(err, http.ErrNotSupported) {
		return err
	}
	ctx, cancel := context.WithTimeout(r.Context(), min(max(wait, 0), maxWait))
	defer cancel()
	if d.stillMay(&run) != nil {
		<-ctx.Done()
		return write(w, protocol.Order{})
	}
	order, err := d.cfg.Register.Order(ctx, run.ID)
	if err != nil {
		return asProblem(err)
	}
	return write(w, order)
}

func (d *Delivery) ask(w http.ResponseWriter, r *http.Request) error {
	var q protocol.Questions
	if err := read(w, r, maxStatus, &q); err != nil {
		return err
	}
	run, err := d.ofRun(r, q.Run)
	if err == nil {
		err = d.cfg.Register.Ask(r.Context(), run.ID, q)
	}
	if err != nil {
		return asProblem(err)
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

// answered takes questions back. What was answered comes with the step's status.
func (d *Delivery) answered(w http.ResponseWriter, r *http.Request) error {
	run, err := d.run(r)
	if err == nil {
		err = d.cfg.Register.Answered(r.Context(), run.ID)
	}
	if err != nil {
		return asProblem(err)
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

// grant gives a token for a content that the run's sequence names.
func (d *Delivery) grant(w http.ResponseWriter, r *http.Request) error {
	run, err := d.run(r)
	if err != nil {
		return err
	}
	ct, device, err := d.Content(&run, r.PathValue("id"))
	if err != nil {
		return asProblem(err)
	}
	mac := ""
	if len(device.MACs) > 0 {
		// The token is bound to a card that the machine shows to have.
		mac = device.MACs[0]
		for _, m := range macs(r) {
			for _, own := range device.MACs {
				if m == own {
					mac = m
				}
			}
		}
	}
	token, err := d.cfg.Tokens.Grant(ct.ID, mac, run.Label)
	if err != nil {
		return err
	}
	return write(w, protocol.Grant{Content: ct.ID, Token: token})
}

// atWork refuses a run that is over: one that is tried again says so with a step
// first.
func atWork(run *rollout.Run) error {
	if run.State.Ended() {
		return api.Refusal(http.StatusForbidden, protocol.CodeRefused, "castpoint run retry "+run.ID+" has it go on", "the run on %s has ended: %s", run.Label, run.State)
	}
	return nil
}

// stillMay refuses a run whose device is off the record, or may not run anything any
// more.
func (d *Delivery) stillMay(run *rollout.Run) error {
	device, err := d.cfg.Devices.Get(run.Device)
	if err != nil {
		return api.Refusal(http.StatusForbidden, protocol.CodeTicketUnknown, "", "the device of this run is off the record")
	}
	return mayRun(&device)
}

// MayReceive refuses machines that may not run anything, by a card that a token of
// theirs is bound to.
func (d *Delivery) MayReceive(mac string) error {
	if one, ok := d.cfg.Devices.Identify(mac, ""); ok {
		return mayRun(&one)
	}
	return nil
}

// Content is a content that the sequence of a run names, by id or name. Others are
// refused.
func (d *Delivery) Content(run *rollout.Run, name string) (*content.Content, deploy.Device, error) {
	device, err := d.cfg.Devices.Get(run.Device)
	if err != nil {
		return nil, device, api.Refusal(http.StatusForbidden, protocol.CodeTicketUnknown, "", "the device of this run is off the record")
	}
	err = mayRun(&device)
	if err == nil {
		err = atWork(run)
	}
	if err != nil {
		return nil, device, err
	}
	list, err := d.runContents(run, device)
	if err != nil {
		return nil, device, err
	}
	for _, one := range list {
		for _, known := range append(one.Names, one.ID) {
			if strings.EqualFold(known, name) {
				ct, err := d.cfg.Library.Get(one.ID)
				return ct, device, err
			}
		}
	}
	return nil, device, api.Refusal(http.StatusForbidden, protocol.CodeRefused, "list it in contents: of the sequence",
		"sequence %s names no content %.64q", run.Sequence, name)
}

// Object is an object that the run of a ticket may fetch by unicast, and its content.
func (d *Delivery) Object(ticket, digest string) (*content.Content, content.Digest, error) {
	run, ok := d.cfg.Register.Authorized(ticket)
	if !ok {
		return nil, content.Digest{}, api.Refusal(http.StatusForbidden, protocol.CodeTicketUnknown, "", "the ticket belongs to no run of this server")
	}
	device, err := d.cfg.Devices.Get(run.Device)
	if err != nil {
		return nil, content.Digest{}, api.Refusal(http.StatusForbidden, protocol.CodeTicketUnknown, "", "the device of this run is off the record")
	}
	if err = mayRun(&device); err == nil {
		err = atWork(&run)
	}
	if err != nil {
		return nil, content.Digest{}, err
	}
	list, err := d.runContents(&run, device)
	if err != nil {
		return nil, content.Digest{}, asProblem(err)
	}
	for _, one := range list {
		ct, err := d.cfg.Library.Get(one.ID)
		if err != nil {
			continue // removed in this moment
		}
		for _, f := range ct.Files {
			if f.Digest.String() != digest {
				continue
			}
			if ct.Distribution.MulticastOnly {
				return nil, f.Digest, api.Refusal(http.StatusForbidden, protocol.CodeRefused, "castpoint content set "+ct.ID+" --multicast-only=false allows it",
					"content %s may be sent by multicast only", ct.ID)
			}
			return ct, f.Digest, nil
		}
	}
	return nil, content.Digest{}, api.Refusal(http.StatusForbidden, protocol.CodeTokenOther, "", "no content of sequence %s has object %.64q", run.Sequence, digest)
}

func (d *Delivery) runContents(run *rollout.Run, device deploy.Device) ([]protocol.RunContent, error) {
	deployment, err := d.cfg.Register.Deployment(run.Deployment)
	if err != nil {
		return nil, err
	}
	return d.contents(&rollout.Begin{Device: device, Offer: rollout.Offer{Deployment: deployment, Run: run}})
}

// inventory takes what a machine says of itself, by token or ticket. Of a machine
// that is not on record nothing is kept.
func (d *Delivery) inventory(w http.ResponseWriter, r *http.Request) error {
	var facts sequence.Facts
	if err := read(w, r, maxFacts, &facts); err != nil {
		return err
	}
	var id string
	if run, ok := d.cfg.Register.Authorized(bearer(r)); ok {
		id = run.Device
	} else {
		who, err := d.cfg.Tokens.Bearer(bearer(r), macs(r))
		if err != nil {
			return err
		}
		if one, ok := d.cfg.Devices.Identify(who.MAC, who.UUID); ok {
			id = one.ID
		}
	}
	if id != "" {
		if _, err := d.cfg.Devices.TakeInventory(id, facts); err != nil {
			return asProblem(err)
		}
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}
