package rollout

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"castpoint/agent/protocol"
	"castpoint/boot"
	"castpoint/deploy"
	"castpoint/deploy/collection"
	"castpoint/deploy/named"
	"castpoint/deploy/secret"
	"castpoint/deploy/sequence"
	"castpoint/internal/event"
	"castpoint/internal/store"
)

// bench is a register over a data folder, which can be opened again as after a kill.
type bench struct {
	t       *testing.T
	dir     string
	store   *store.Store
	devices *deploy.Devices
	*Register
	clock  time.Time
	events []string
}

func newBench(t *testing.T) *bench {
	b := &bench{t: t, dir: t.TempDir(), clock: time.Date(2026, 3, 2, 12, 0, 0, 0, time.Local)}
	b.open()
	t.Cleanup(b.close)
	return b
}

func (b *bench) open() {
	b.t.Helper()
	var err error
	if b.store, err = store.Open(context.Background(), b.dir); err != nil {
		b.t.Fatal(err)
	}
	if b.devices, err = deploy.Open(context.Background(), deploy.Config{Store: b.store}); err != nil {
		b.t.Fatal(err)
	}
	b.Register, err = Open(context.Background(), Config{
		Store: b.store, Devices: b.devices, Data: b.dir,
		Note: func(e event.Event) { b.events = append(b.events, e.Message) },
		Now:  func() time.Time { return b.clock },
	})
	if err != nil {
		b.t.Fatal(err)
	}
}

func (b *bench) close() {
	_ = b.devices.Close()
	_ = b.store.Close()
}

// reopen is what a server that was killed finds.
func (b *bench) reopen() {
	b.close()
	b.open()
}

func (b *bench) device(name, mac string, more ...func(*deploy.Device)) deploy.Device {
	b.t.Helper()
	want := deploy.Device{Name: name, MACs: []string{mac}}
	for _, f := range more {
		f(&want)
	}
	d, err := b.devices.Add(b.t.Context(), want, "test")
	if err != nil {
		b.t.Fatal(err)
	}
	return d
}

const install = `name: install
variables:
  Key: {secret: true}
  Role: {required: true}
steps:
  - name: Prepare
    steps:
      - {name: Disk, wipe-disk: {}}
      - {name: Apply, run-command: {command: apply}}
  - {name: Again, restart: {into: boot-image}}
  - {name: Last, run-command: {command: last}}
`

// deploy makes a sequence, a collection of devices and a deployment of it.
func (b *bench) deploy(want Deployment, devices ...deploy.Device) Deployment {
	b.t.Helper()
	if _, err := b.Sequences.Put(b.t.Context(), install, "test"); err != nil {
		b.t.Fatal(err)
	}
	c := collection.Collection{Name: "all of " + want.Name, Variables: map[string]string{"Role": "desk", "Other": "collection"}}
	for _, d := range devices {
		c.Devices = append(c.Devices, d.Name)
	}
	c, err := b.Collections.Put(b.t.Context(), c)
	if err != nil {
		b.t.Fatal(err)
	}
	want.Sequence, want.Collection = "install", c.ID
	d, err := b.PutDeployment(b.t.Context(), want, nil, 0, "test")
	if err != nil {
		b.t.Fatal(err)
	}
	return d
}

func (b *bench) begin(d deploy.Device) *protocol.Run {
	b.t.Helper()
	decision := b.Decide(collection.Machine{Device: &d}, "")
	if len(decision.Offers) != 1 {
		b.t.Fatalf("offers %+v", decision)
	}
	run, err := b.Begin(b.t.Context(), Begin{Device: d, Offer: decision.Offers[0], Request: protocol.RunRequest{Environment: sequence.EnvironmentLinux}}, "")
	if err != nil {
		b.t.Fatal(err)
	}
	return run
}

func (b *bench) report(run *protocol.Run, path, state string, more ...func(*protocol.StepStatus)) protocol.Order {
	b.t.Helper()
	s := protocol.StepStatus{Run: run.ID, Path: path, State: state}
	for _, f := range more {
		f(&s)
	}
	order, err := b.Report(b.t.Context(), run.ID, s)
	if err != nil {
		b.t.Fatal(err)
	}
	return order
}

func (b *bench) mode(d deploy.Device, want Mode) Decision {
	b.t.Helper()
	got := b.Decide(collection.Machine{Device: &d}, "")
	if got.Mode != want {
		b.t.Errorf("mode %q, want %q: %q", got.Mode, want, got.Why)
	}
	return got
}

// TestRun is a whole deployment: begun, restarted, failed, tried again, done, left
// alone, and deployed again; the server is killed in between.
func TestRun(t *testing.T) {
	b := newBench(t)
	d := b.device("pc-1", "52:54:00:00:00:01")
	b.mode(d, ModeGeneral) // no deployments: the general settings hold
	dep := b.deploy(Deployment{Name: "lab", Purpose: Required}, d)
	b.mode(d, ModeRequired)

	run := b.begin(d)
	if run.Next != "" || run.Resumed || len(run.StateKey) != secret.KeySize || run.Variables["Role"].Value != "desk" {
		t.Errorf("%+v", run)
	}
	b.report(run, "1/1", protocol.StepStarted)
	b.report(run, "1/1", protocol.StepProgress, func(s *protocol.StepStatus) { s.Percent = 50 })
	b.report(run, "1/1", protocol.StepDone, func(s *protocol.StepStatus) {
		s.Variables = map[string]protocol.VariableValue{"Disk": {Value: "sda"}, "Hidden": {Value: "hunter2", Secret: true}}
	})
	b.report(run, "1/2", protocol.StepStarted)

	// The server is killed and the machine loses power: it goes on in the step that
	// was interrupted.
	b.reopen()
	if _, ok := b.Authorized(run.Ticket); !ok {
		t.Error("the ticket is not known after a restart of the server")
	}
	again := b.begin(d)
	if !again.Resumed || again.Next != "1/2" || !again.Interrupted || again.ID != run.ID || string(again.StateKey) != string(run.StateKey) || again.Ticket == run.Ticket {
		t.Errorf("%+v", again)
	}
	if _, ok := b.Authorized(run.Ticket); ok {
		t.Error("the old ticket is good")
	}
	if again.Variables["Disk"].Value != "sda" || again.Variables["Hidden"] != (protocol.VariableValue{Value: "hunter2", Secret: true}) {
		t.Errorf("variables %+v", again.Variables)
	}
	run = again
	b.report(run, "1/2", protocol.StepDone)
	b.report(run, "2", protocol.StepDone)
	if err := b.End(t.Context(), run.ID, protocol.RunEnd{Run: run.ID, State: protocol.RunRestart, Into: sequence.RestartDisk}); err != nil {
		t.Fatal(err)
	}
	b.mode(d, ModeLocal) // it is to boot from its disk
	if err := b.End(t.Context(), run.ID, protocol.RunEnd{Run: run.ID, State: protocol.RunRestart, Into: sequence.RestartBootImage}); err != nil {
		t.Fatal(err)
	}
	if run = b.begin(d); run.Next != "3" || run.Interrupted {
		t.Errorf("after the restart %+v", run)
	}

	// The last step fails, and is tried again from the one before.
	code := 7
	b.report(run, "3", protocol.StepStarted)
	b.report(run, "3", protocol.StepFailed, func(s *protocol.StepStatus) { s.ExitCode, s.Message, s.Output = &code, "no", "tail" })
	if err := b.End(t.Context(), run.ID, protocol.RunEnd{Run: run.ID, State: protocol.RunFailed, Message: "step 4 failed"}); err != nil {
		t.Fatal(err)
	}
	runs, _ := b.Progress(dep.ID)
	if one := runs[d.ID]; one.State != StateFailed || one.Step.Number != 4 || one.Step.Name != "Last" {
		t.Errorf("%+v", one)
	}
	b.mode(d, ModeLocal) // it ran, and runs again: never
	if _, err := b.Retry(t.Context(), run.ID, "Apply", "anna", nil); err != nil {
		t.Fatal(err)
	}
	b.reopen() // an order is not lost
	b.mode(d, ModeRequired)
	order, err := b.Order(t.Context(), run.ID)
	if err != nil || order.Kind != protocol.OrderRetry || order.Path != "1/2" || order.By != "anna" {
		t.Errorf("%+v, %v", order, err)
	}
	for _, path := range []string{"1/2", "2", "3"} {
		b.report(run, path, protocol.StepDone)
	}
	if err := b.End(t.Context(), run.ID, protocol.RunEnd{Run: run.ID, State: protocol.RunSucceeded}); err != nil {
		t.Fatal(err)
	}
	b.reopen()
	b.mode(d, ModeLocal)
	_, steps, err := b.Run(t.Context(), run.ID)
	if err != nil || len(steps) != 4 || steps[3].State != protocol.StepDone {
		t.Errorf("%+v, %v", steps, err)
	}

	// Deploy again.
	if _, err := b.Again(t.Context(), dep.ID, []string{"pc-1"}, "anna"); err != nil {
		t.Fatal(err)
	}
	b.reopen()
	b.mode(d, ModeRequired)
	if next := b.begin(d); next.ID == run.ID || next.Resumed {
		t.Errorf("%+v", next)
	}
	all := strings.Join(b.events, "\n")
	for _, want := range []string{"deployment lab begins", "step 2 of 4, Apply: started", "step 4 of 4, Last: failed with exit code 7: no", "deployment lab: succeeded", "runs again at its next network boot"} {
		if !strings.Contains(all, want) {
			t.Errorf("no event %q in\n%s", want, all)
		}
	}
	if strings.Contains(all, "hunter2") {
		t.Error("a secret is in the events")
	}
	db, err := os.ReadFile(filepath.Join(b.dir, store.FileName))
	if err != nil || strings.Contains(string(db), "hunter2") {
		t.Error("a secret is in the database as it is", err)
	}
}

func TestDecide(t *testing.T) {
	b := newBench(t)
	plain := b.device("pc-1", "52:54:00:00:00:01")
	other := b.device("pc-2", "52:54:00:00:00:02")
	server := b.device("srv-1", "52:54:00:00:00:03", func(d *deploy.Device) { d.Protected = true })
	dep := b.deploy(Deployment{Name: "a", Purpose: Available}, plain, server)

	if d := b.mode(plain, ModeAvailable); len(d.Offers) != 1 {
		t.Errorf("%+v", d)
	}
	b.mode(other, ModeLocal)
	if d := b.mode(server, ModeLocal); !strings.Contains(strings.Join(d.Why, " "), "protected") {
		t.Errorf("%q", d.Why)
	}
	if d := b.Decide(collection.Machine{}, ""); d.Mode != ModeLocal {
		t.Errorf("an unknown machine: %+v", d)
	}
	set := func(change func(*Deployment)) {
		t.Helper()
		now, err := b.Deployment(dep.ID)
		if err != nil {
			t.Fatal(err)
		}
		change(&now)
		if _, err := b.PutDeployment(t.Context(), now, nil, 0, "test"); err != nil {
			t.Fatal(err)
		}
	}
	set(func(d *Deployment) { d.Disabled = true })
	b.mode(plain, ModeLocal)
	set(func(d *Deployment) { d.Disabled, d.Start = false, b.clock.Add(time.Hour) })
	b.mode(plain, ModeLocal)
	set(func(d *Deployment) { d.Purpose, d.Start = Required, b.clock.Add(time.Minute) })
	if d := b.mode(plain, ModeRequired); d.Soon.IsZero() || d.Offers != nil {
		t.Errorf("soon: %+v", d)
	}
	set(func(d *Deployment) { d.Start, d.End = time.Time{}, b.clock })
	b.mode(plain, ModeLocal)
	set(func(d *Deployment) { d.End, d.Hours = time.Time{}, "22:00-05:00" })
	b.mode(plain, ModeLocal)
	b.clock = b.clock.Add(11 * time.Hour)
	b.mode(plain, ModeRequired)
	set(func(d *Deployment) { d.Hours, d.Purpose, d.Hidden = "", Available, true })
	b.mode(plain, ModeLocal)
	if d := b.Decide(collection.Machine{Device: &plain}, "A"); d.Mode != ModeAvailable {
		t.Errorf("hidden, and named: %+v", d)
	}
	plain, _ = b.devices.Change(t.Context(), plain.ID, "", "", func(d *deploy.Device) error {
		d.Variables = map[string]string{PreferredDeployment: "a"}
		return nil
	})
	b.mode(plain, ModeAvailable)

	// Sequences say what machines they are for, and where they begin.
	if _, err := b.Sequences.Put(t.Context(), strings.Replace(install, "steps:", "architecture: [arm64]\nenvironment: windows-pe\nsteps:", 1), "test"); err != nil {
		t.Fatal(err)
	}
	if d := b.Decide(collection.Machine{Device: &plain, Architecture: "amd64"}, ""); d.Mode != ModeLocal || !strings.Contains(strings.Join(d.Why, " "), "is for arm64") {
		t.Errorf("another architecture: %+v", d)
	}
	offer := b.mode(plain, ModeAvailable).Offers[0]
	if _, err := b.Begin(t.Context(), Begin{Device: plain, Offer: offer, Request: protocol.RunRequest{Environment: sequence.EnvironmentLinux}}, ""); !errors.Is(err, ErrRefused) || !strings.Contains(err.Error(), "begins in windows-pe") {
		t.Error(err)
	}

	// What boots is decided with it.
	set(func(d *Deployment) { d.Hidden = false })
	client := boot.Client{MAC: net.HardwareAddr{0x52, 0x54, 0, 0, 0, 1}}
	r, why := b.Apply(b.devices.Rule(client), client)
	if words := fmt.Sprint(r.Change.Words()); words != "[ask=yes]" || len(why) == 0 {
		t.Errorf("%s, %q", words, why)
	}
	client.MAC[5] = 2
	r, _ = b.Apply(b.devices.Rule(client), client)
	if words := fmt.Sprint(r.Change.Words()); words != "[chain=local]" {
		t.Errorf("%s", words)
	}
}

// TestInventoryIsAsked: a machine whose inventory would tell boots to report it.
func TestInventoryIsAsked(t *testing.T) {
	b := newBench(t)
	dell, blank := b.device("pc-1", "52:54:00:00:00:01"), b.device("pc-2", "52:54:00:00:00:02")
	dell, err := b.devices.TakeInventory(dell.ID, sequence.Facts{Manufacturer: "Dell Inc.", Model: "OptiPlex 7090"})
	if err != nil {
		t.Fatal(err)
	}
	b.deploy(Deployment{Name: "a", Purpose: Required})
	c, err := b.Collections.Get("all of a")
	if err != nil {
		t.Fatal(err)
	}
	c.Rules = []collection.MemberRule{{Model: "Opti*"}}
	if _, err := b.Collections.Put(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	b.mode(blank, ModeInventory)
	b.mode(dell, ModeRequired)
}

func TestVariables(t *testing.T) {
	b := newBench(t)
	d := b.device("pc-1", "52:54:00:00:00:01", func(d *deploy.Device) { d.Variables = map[string]string{"Other": "device"} })
	dep := b.deploy(Deployment{Name: "a", Purpose: Required}, d)
	if err := b.Collections.SetSecret(t.Context(), dep.Collection, "Key", "collection-key"); err != nil {
		t.Fatal(err)
	}
	if err := b.Secrets.Set(t.Context(), secret.OfDevice(d.ID), "Undeclared", "not for this sequence"); err != nil {
		t.Fatal(err)
	}
	b.reopen()
	vars := b.begin(d).Variables
	want := map[string]protocol.VariableValue{
		"Role": {Value: "desk"}, "Other": {Value: "device"}, "Key": {Value: "collection-key", Secret: true},
	}
	if diff := cmp.Diff(want, vars); diff != "" {
		t.Error(diff)
	}
	c, err := b.Collections.Get(dep.Collection)
	if err != nil || fmt.Sprint(c.Secrets) != "[Key]" {
		t.Errorf("%+v, %v", c, err)
	}
	if err := b.Secrets.Set(t.Context(), secret.OfDevice(d.ID), "Key", "device-key"); err != nil {
		t.Fatal(err)
	}
	if v := b.begin(d).Variables["Key"]; v.Value != "device-key" {
		t.Errorf("%+v", v)
	}
	// What is missing is said before anything begins.
	c.Variables = nil
	if _, err := b.Collections.Put(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	decision := b.Decide(collection.Machine{Device: &d}, "")
	if _, err := b.Begin(t.Context(), Begin{Device: d, Offer: decision.Offers[0]}, ""); !errors.Is(err, ErrRefused) || !strings.Contains(err.Error(), "Role") {
		t.Error(err)
	}
	// Without its key a database tells nothing.
	if err := os.Remove(filepath.Join(b.dir, secret.FileKey)); err != nil {
		t.Fatal(err)
	}
	b.reopen()
	if _, err := b.Begin(t.Context(), Begin{Device: d, Offer: decision.Offers[0]}, ""); err == nil || !strings.Contains(err.Error(), secret.FileKey) {
		t.Error(err)
	}
}

// TestRetryHasValuesOfNow: what was wrong with a variable is mended where it is set, and
// the machine that waits gets it. No secret value is shown or written as it is.
func TestRetryHasValuesOfNow(t *testing.T) {
	b := newBench(t)
	d := b.device("pc-1", "52:54:00:00:00:01")
	dep := b.deploy(Deployment{Name: "a", Purpose: Required}, d)
	fail := func(run *protocol.Run) {
		t.Helper()
		b.report(run, "1/1", protocol.StepFailed, func(s *protocol.StepStatus) { s.Message = "no" })
		if err := b.End(t.Context(), run.ID, protocol.RunEnd{Run: run.ID, State: protocol.RunFailed, Message: "step Disk: no"}); err != nil {
			t.Fatal(err)
		}
	}
	run := b.begin(d)
	fail(run)
	if err := b.Collections.SetSecret(t.Context(), dep.Collection, "Key", "key-of-now"); err != nil {
		t.Fatal(err)
	}
	c, err := b.Collections.Get(dep.Collection)
	if err != nil {
		t.Fatal(err)
	}
	c.Variables = map[string]string{"Role": "kiosk"}
	if _, err := b.Collections.Put(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	if _, err := b.Retry(t.Context(), run.ID, "", "anna", nil); err != nil {
		t.Fatal(err)
	}
	b.reopen()
	order, err := b.Order(t.Context(), run.ID)
	want := map[string]protocol.VariableValue{"Role": {Value: "kiosk"}, "Key": {Value: "key-of-now", Secret: true}}
	if diff := cmp.Diff(want, order.Variables); err != nil || diff != "" {
		t.Error(err, diff)
	}
	// It was failed; when a step begins it is not, and says nothing of what is over.
	b.report(run, "1/1", protocol.StepStarted)
	if one, _, err := b.Run(t.Context(), run.ID); err != nil || one.State != StateRunning || one.Message != "" {
		t.Errorf("%+v, %v", one, err)
	}

	// A value for a secret variable is secret, also when it comes with the order.
	fail(run)
	shown, err := b.Retry(t.Context(), run.ID, "", "anna", map[string]protocol.VariableValue{"Key": {Value: "key-of-order"}, "Role": {Value: "desk"}})
	if err != nil || shown.Variables["Key"] != "" || shown.Variables["Role"] != "desk" || shown.Order.Variables != nil {
		t.Errorf("%+v, %v", shown, err)
	}
	b.reopen()
	if order, err = b.Order(t.Context(), run.ID); err != nil || order.Variables["Key"] != (protocol.VariableValue{Value: "key-of-order", Secret: true}) {
		t.Errorf("%+v, %v", order, err)
	}
	b.report(run, "1/1", protocol.StepDone, func(s *protocol.StepStatus) {
		s.Variables = map[string]protocol.VariableValue{"Key": {Value: "key-of-step"}}
	})
	if one, _, err := b.Run(t.Context(), run.ID); err != nil || one.Variables["Key"] != "" {
		t.Errorf("%+v, %v", one, err)
	}
	for _, name := range []string{store.FileName, store.FileName + "-wal"} {
		db, err := os.ReadFile(filepath.Join(b.dir, name))
		if err != nil {
			t.Fatal(err)
		}
		for _, secret := range []string{"key-of-now", "key-of-order", "key-of-step"} {
			if strings.Contains(string(db), secret) {
				t.Errorf("%s is in %s as it is", secret, name)
			}
		}
	}
}

func TestSizeHasToBeConfirmed(t *testing.T) {
	b := newBench(t)
	var all []deploy.Device
	for i := range 5 {
		all = append(all, b.device(fmt.Sprint("pc-", i), fmt.Sprintf("52:54:00:00:00:%02x", i+1)))
	}
	dep := b.deploy(Deployment{Name: "a", Purpose: Available, MaxSize: 3}, all...)
	dep.Purpose = Required
	if _, err := b.PutDeployment(t.Context(), dep, nil, 0, ""); !errors.Is(err, ErrSize) || !strings.Contains(err.Error(), "--confirm-size 5") {
		t.Error(err)
	}
	dep, err := b.PutDeployment(t.Context(), dep, nil, 5, "")
	if err != nil {
		t.Fatal(err)
	}
	b.mode(all[0], ModeRequired)
	// It is for more than was confirmed: it stops, and says so.
	extra := b.device("pc-9", "52:54:00:00:00:09")
	c, _ := b.Collections.Get(dep.Collection)
	c.Devices = append(c.Devices, extra.ID)
	if _, err := b.Collections.Put(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	if d := b.mode(all[0], ModeLocal); !strings.Contains(strings.Join(d.Why, " "), "has 6 devices") {
		t.Errorf("%q", d.Why)
	}
}

// TestStrangersAreCounted: a required deployment for machines that are not on record stops
// when more of them have begun than it may be for.
func TestStrangersAreCounted(t *testing.T) {
	b := newBench(t)
	dep := b.deploy(Deployment{Name: "new", Purpose: Required, MaxSize: 2}, b.device("listed", "52:54:00:00:00:0a"))
	c, err := b.Collections.Get(dep.Collection)
	if err != nil {
		t.Fatal(err)
	}
	c.Devices, c.Rules = nil, []collection.MemberRule{{Unknown: true}}
	if _, err := b.Collections.Put(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	for i := range 2 {
		d := b.Decide(collection.Machine{}, "")
		if d.Mode != ModeRequired || len(d.Offers) != 1 {
			t.Fatalf("machine %d: %+v", i, d)
		}
		one := b.device(fmt.Sprint("new-", i), fmt.Sprintf("52:54:00:00:01:%02x", i))
		if _, err := b.Begin(t.Context(), Begin{Device: one, Offer: d.Offers[0], Request: protocol.RunRequest{Environment: sequence.EnvironmentLinux}}, ""); err != nil {
			t.Fatal(err)
		}
	}
	if d := b.Decide(collection.Machine{}, ""); d.Mode != ModeLocal || !strings.Contains(strings.Join(d.Why, " "), "--confirm-size 3") {
		t.Errorf("%+v", d)
	}
	if dep, err = b.Deployment("new"); err != nil {
		t.Fatal(err)
	}
	if _, err := b.PutDeployment(t.Context(), dep, nil, 3, ""); err != nil {
		t.Fatal(err)
	}
	if d := b.Decide(collection.Machine{}, ""); d.Mode != ModeRequired {
		t.Errorf("%+v", d)
	}
}

func TestPasswordAndConfirmation(t *testing.T) {
	b := newBench(t)
	d := b.device("pc-1", "52:54:00:00:00:01")
	dep := b.deploy(Deployment{Name: "a", Purpose: Available, Confirm: true}, d)
	secret := "open sesame"
	dep, err := b.PutDeployment(t.Context(), dep, &secret, 0, "")
	if err != nil || !dep.Password {
		t.Fatal(err)
	}
	b.reopen()
	offer := b.mode(d, ModeAvailable).Offers[0]
	for req, ok := range map[*protocol.RunRequest]bool{
		{}: false, {Confirmed: true}: false, {Password: secret}: false, {Confirmed: true, Password: "wrong"}: false, {Confirmed: true, Password: secret}: true,
	} {
		begin := Begin{Device: d, Offer: offer, Request: *req}
		if err := begin.Check(); (err == nil) != ok || err != nil && !errors.Is(err, ErrRefused) {
			t.Errorf("%+v: %v", req, err)
		}
	}
	short := "abc"
	if _, err := b.PutDeployment(t.Context(), dep, &short, 0, ""); !errors.Is(err, named.ErrInvalid) {
		t.Error(err)
	}
}

func TestQuestionsAndCancel(t *testing.T) {
	b := newBench(t)
	d := b.device("pc-1", "52:54:00:00:00:01")
	b.deploy(Deployment{Name: "a", Purpose: Required}, d)
	run := b.begin(d)
	b.report(run, "1/1", protocol.StepStarted)
	q := protocol.Questions{Run: run.ID, Path: "1/1", Questions: []sequence.Question{{Variable: "Role", Prompt: "?", Choices: []string{"a", "b"}}}}
	if err := b.Ask(t.Context(), run.ID, q); err != nil {
		t.Fatal(err)
	}
	if err := b.Answer(t.Context(), run.ID, map[string]string{"Role": "c"}, "anna"); !errors.Is(err, named.ErrInvalid) {
		t.Error(err)
	}
	got := make(chan protocol.Order, 1)
	go func() {
		order, err := b.Order(context.Background(), run.ID)
		if err != nil {
			t.Error(err)
		}
		got <- order
	}()
	if err := b.Answer(t.Context(), run.ID, map[string]string{"Role": "b"}, "anna"); err != nil {
		t.Fatal(err)
	}
	if order := <-got; order.Kind != protocol.OrderAnswer || order.Answers["Role"] != "b" {
		t.Errorf("%+v", order)
	}
	if _, err := b.Cancel(t.Context(), run.ID, "anna"); err != nil {
		t.Fatal(err)
	}
	if order := b.report(run, "1/1", protocol.StepProgress); order.Kind != protocol.OrderCancel {
		t.Errorf("%+v", order)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if order, err := b.Order(ctx, run.ID); err != nil || order.Kind != "" {
		t.Errorf("an order is given twice: %+v, %v", order, err)
	}
	if err := b.End(t.Context(), run.ID, protocol.RunEnd{State: protocol.RunCancelled}); err != nil {
		t.Fatal(err)
	}
	b.mode(d, ModeLocal)
}

// TestDeployAgainInTheMiddle: a run that is begun anew ends the one before.
func TestDeployAgainInTheMiddle(t *testing.T) {
	b := newBench(t)
	d := b.device("pc-1", "52:54:00:00:00:01")
	b.deploy(Deployment{Name: "a", Purpose: Required}, d)
	first := b.begin(d)
	b.report(first, "1/1", protocol.StepStarted)
	if _, err := b.Again(t.Context(), "a", []string{"pc-1"}, "anna"); err != nil {
		t.Fatal(err)
	}
	second := b.begin(d)
	if second.ID == first.ID || second.Resumed {
		t.Errorf("%+v", second)
	}
	if old, _, err := b.Run(t.Context(), first.ID); err != nil || old.State != StateCancelled {
		t.Errorf("%+v, %v", old, err)
	}
	if _, ok := b.Authorized(first.Ticket); ok {
		t.Error("the ticket of the first run is good")
	}
	if list, err := b.RunsOf(t.Context(), "pc-1"); err != nil || len(list) != 2 || list[1].ID != second.ID {
		t.Errorf("%+v, %v", list, err)
	}
}

func TestSequenceRevisions(t *testing.T) {
	b := newBench(t)
	d := b.device("pc-1", "52:54:00:00:00:01")
	b.deploy(Deployment{Name: "a", Purpose: Required}, d)
	run := b.begin(d)
	for i := range 30 {
		if _, err := b.Sequences.Put(t.Context(), strings.Replace(install, "command: last", fmt.Sprintf("command: last %d", i), 1), "anna"); err != nil {
			t.Fatal(err)
		}
	}
	b.reopen()
	s, err := b.Sequences.Get("INSTALL", 0)
	if err != nil || s.Revision != 31 || len(s.Revisions) != 20 || s.Revisions[0] != 1 {
		t.Errorf("%d, %v, %v", s.Revision, s.Revisions, err)
	}
	// The run goes on with what it began with.
	if again := b.begin(d); again.ID != run.ID || again.Sequence.Steps[2].RunCommand.Command != "last" {
		t.Errorf("%+v", again.Sequence.Steps[2].RunCommand)
	}
	if err := b.RemoveSequence(t.Context(), "install"); !errors.Is(err, named.ErrInUse) {
		t.Error(err)
	}
	if err := b.RemoveDeployment(t.Context(), "a"); !errors.Is(err, named.ErrInUse) {
		t.Error(err)
	}
}
