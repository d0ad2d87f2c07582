package delivery

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"castpoint/agent/protocol"
	"castpoint/content"
	"castpoint/content/library"
	"castpoint/deploy"
	"castpoint/deploy/collection"
	"castpoint/deploy/rollout"
	"castpoint/deploy/secret"
	"castpoint/deploy/sequence"
	"castpoint/internal/event"
	"castpoint/internal/store"
	"castpoint/web/api"
)

// fakeTokens are boot tokens that a test makes.
type fakeTokens struct {
	mu     sync.Mutex
	all    map[string]*Bearer
	late   map[string]bool // have expired
	grants []string        // content and MAC
}

func (f *fakeTokens) Bearer(text string, macs []string) (Bearer, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	b := f.all[text]
	switch {
	case b == nil:
		return Bearer{}, api.Refusal(http.StatusForbidden, protocol.CodeTokenUnknown, "", "not known")
	case f.late[text]:
		return Bearer{}, api.Refusal(http.StatusForbidden, protocol.CodeTokenExpired, "", "expired")
	case !slices.Contains(macs, b.MAC):
		return Bearer{}, api.Refusal(http.StatusForbidden, protocol.CodeTokenOther, "", "for %s", b.MAC)
	}
	return *b, nil
}

func (f *fakeTokens) Use(text, _, proof string, _ []string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	b := f.all[text]
	if b.Used {
		return api.Refusal(http.StatusForbidden, protocol.CodeTokenUsed, "", "used")
	}
	b.Used, b.Proof = true, proof
	return nil
}

func (f *fakeTokens) Grant(id, mac, _ string) (string, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.grants = append(f.grants, id+" "+mac)
	return "grant", nil
}

const (
	ownMAC = "52:54:00:00:00:01"
	ownSeq = `name: install
variables:
  Password: {secret: true, required: true}
steps:
  - apply-data-image: {content: image, target: /mnt}
  - run-command: {command: "echo ${Password}"}
  - run-command: {command: last}
`
	thePassword = "hunter2"
)

// bench is a Delivery with a device and a required deployment for it.
type bench struct {
	t        *testing.T
	tokens   *fakeTokens
	devices  *deploy.Devices
	register *rollout.Register
	library  *library.Library
	device   deploy.Device
	mux      http.Handler
	*Delivery
	made   int
	clock  time.Time
	events []string
}

func newBench(t *testing.T) *bench {
	t.Helper()
	b := &bench{t: t, tokens: &fakeTokens{all: map[string]*Bearer{}, late: map[string]bool{}}, clock: time.Date(2026, 3, 2, 12, 0, 0, 0, time.UTC)}
	dir := t.TempDir()
	s, err := store.Open(context.Background(), dir)
	if err != nil {
		t.Fatal(err)
	}
	if b.devices, err = deploy.Open(context.Background(), deploy.Config{Store: s}); err != nil {
		t.Fatal(err)
	}
	if b.register, err = rollout.Open(context.Background(), rollout.Config{Store: s, Devices: b.devices, Data: dir, Now: func() time.Time { return b.clock }, Note: func(e event.Event) { b.events = append(b.events, e.Message) }}); err != nil {
		t.Fatal(err)
	}
	if b.library, err = library.Open(filepath.Join(dir, "library")); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		b.library.Close()
		_ = b.devices.Close()
		_ = s.Close()
	})
	b.Delivery, err = New(Config{
		Register: b.register, Devices: b.devices, Library: b.library, Tokens: b.tokens, Data: dir,
		Server: func(*http.Request) string { return "https://192.0.2.1:8443" },
	})
	if err != nil {
		t.Fatal(err)
	}
	mux := http.NewServeMux()
	for _, r := range b.Routes() {
		mux.HandleFunc(r.Pattern, func(w http.ResponseWriter, req *http.Request) {
			err := r.Answer(w, req)
			if err == nil {
				return
			}
			var p *protocol.Problem
			if !errors.As(err, &p) {
				p = &protocol.Problem{Status: http.StatusInternalServerError, Detail: err.Error()}
			}
			w.WriteHeader(p.Status)
			_ = json.NewEncoder(w).Encode(p)
		})
	}
	b.mux = mux
	b.image("image")
	b.image("other")
	if b.device, err = b.devices.Add(t.Context(), deploy.Device{Name: "pc-1", MACs: []string{ownMAC}}, "test"); err != nil {
		t.Fatal(err)
	}
	b.deploy("lab", "pc-1", rollout.Deployment{Purpose: rollout.Required}, nil)
	return b
}

// image adds a content with one file.
func (b *bench) image(name string) *content.Content {
	b.t.Helper()
	dir := filepath.Join(b.t.TempDir(), "src")
	if err := errors.Join(os.Mkdir(dir, 0o755), os.WriteFile(filepath.Join(dir, name+".bin"), bytes.Repeat([]byte(name), 1000), 0o644)); err != nil {
		b.t.Fatal(err)
	}
	ct, err := b.library.Add(b.t.Context(), content.AddRequest{Kind: content.KindPackage, Path: dir, Name: name})
	if err != nil {
		b.t.Fatal(err)
	}
	return ct
}

func (b *bench) deploy(name, device string, want rollout.Deployment, password *string) rollout.Deployment {
	b.t.Helper()
	if _, err := b.register.Sequences.Put(b.t.Context(), ownSeq, "test"); err != nil {
		b.t.Fatal(err)
	}
	c, err := b.register.Collections.Put(b.t.Context(), collection.Collection{Name: name, Devices: []string{device}})
	if err != nil {
		b.t.Fatal(err)
	}
	if err := b.register.Collections.SetSecret(b.t.Context(), c.ID, "Password", thePassword); err != nil {
		b.t.Fatal(err)
	}
	want.Name, want.Sequence, want.Collection = name, "install", c.ID
	d, err := b.register.PutDeployment(b.t.Context(), want, password, 0, "test")
	if err != nil {
		b.t.Fatal(err)
	}
	return d
}

// boot makes the token of one boot.
func (b *bench) boot(mac, uuid string) string {
	b.made++
	text := fmt.Sprint("token-", b.made)
	b.tokens.all[text] = &Bearer{MAC: mac, UUID: uuid, Architecture: "amd64", Firmware: "uefi"}
	return text
}

// do sends a request; a refusal never has the password in it.
func (b *bench) do(method, path, text string, body any, macs ...string) (int, string) {
	b.t.Helper()
	var send []byte
	switch v := body.(type) {
	case nil:
	case []byte:
		send = v
	default:
		var err error
		if send, err = json.Marshal(v); err != nil {
			b.t.Fatal(err)
		}
	}
	if len(macs) == 0 {
		macs = []string{ownMAC}
	}
	r := httptest.NewRequestWithContext(b.t.Context(), method, path, bytes.NewReader(send))
	r.Header.Set("Authorization", "Bearer "+text)
	r.Header.Set(protocol.HeaderMAC, strings.Join(macs, ","))
	w := httptest.NewRecorder()
	b.mux.ServeHTTP(w, r)
	if w.Code >= 300 && strings.Contains(w.Body.String(), thePassword) {
		b.t.Errorf("%s %s: a refusal has a secret in it: %s", method, path, w.Body)
	}
	return w.Code, w.Body.String()
}

// refused checks a refusal.
func (b *bench) refused(what string, status int, code string, gotStatus int, body string) {
	b.t.Helper()
	var p protocol.Problem
	_ = json.Unmarshal([]byte(body), &p)
	if gotStatus != status || p.Code != code {
		b.t.Errorf("%s: %d %s, want %d %s", what, gotStatus, body, status, code)
	}
}

func (b *bench) begin(text string, req protocol.RunRequest, macs ...string) *protocol.Run {
	b.t.Helper()
	status, body := b.do(http.MethodPost, protocol.PathRun, text, req, macs...)
	run := &protocol.Run{}
	if err := json.Unmarshal([]byte(body), run); err != nil || status != http.StatusOK {
		b.t.Fatalf("%d %s", status, body)
	}
	return run
}

func (b *bench) report(run *protocol.Run, path, state string) protocol.Order {
	b.t.Helper()
	status, body := b.do(http.MethodPost, protocol.PathStep, run.Ticket, protocol.StepStatus{Run: run.ID, Path: path, State: state})
	var o protocol.Order
	if err := json.Unmarshal([]byte(body), &o); err != nil || status != http.StatusOK {
		b.t.Fatalf("step %s %s: %d %s", path, state, status, body)
	}
	return o
}

func (b *bench) change(f func(*deploy.Device)) {
	b.t.Helper()
	if _, err := b.devices.Change(b.t.Context(), b.device.ID, "", "", func(d *deploy.Device) error { f(d); return nil }); err != nil {
		b.t.Fatal(err)
	}
}

// TestTokens: with which a run begins, and with which it does not.
func TestTokens(t *testing.T) {
	b := newBench(t)
	token := b.boot(ownMAC, "")
	old := b.boot(ownMAC, "")
	b.tokens.late[old] = true
	for what, c := range map[string]struct {
		token, mac, code string
	}{
		"none":            {"", ownMAC, protocol.CodeTokenUnknown},
		"made up":         {"token-99", ownMAC, protocol.CodeTokenUnknown},
		"expired":         {old, ownMAC, protocol.CodeTokenExpired},
		"another machine": {token, "52:54:00:00:00:99", protocol.CodeTokenOther},
		"no MAC":          {token, "nonsense", protocol.CodeTokenOther},
	} {
		status, body := b.do(http.MethodPost, protocol.PathRun, c.token, protocol.RunRequest{Nonce: "n"}, c.mac)
		b.refused(what, http.StatusForbidden, c.code, status, body)
	}
	run := b.begin(token, protocol.RunRequest{Nonce: "of this boot"})
	if run.Variables["Password"] != (protocol.VariableValue{Value: thePassword, Secret: true}) {
		t.Errorf("%+v", run.Variables)
	}
	// Replays: with another nonce, or none, by who has overheard the token.
	for _, nonce := range []string{"", "another"} {
		status, body := b.do(http.MethodPost, protocol.PathRun, token, protocol.RunRequest{Nonce: nonce})
		b.refused("nonce "+nonce, http.StatusForbidden, protocol.CodeTokenUsed, status, body)
	}
	// The machine itself asks again when the answer was lost.
	again := b.begin(token, protocol.RunRequest{Nonce: "of this boot"})
	if again.ID != run.ID || again.Ticket == run.Ticket || !bytes.Equal(again.StateKey, run.StateKey) {
		t.Errorf("%+v", again)
	}
	// A token that was used without a nonce cannot be used twice.
	bare := b.boot(ownMAC, "")
	b.begin(bare, protocol.RunRequest{})
	status, body := b.do(http.MethodPost, protocol.PathRun, bare, protocol.RunRequest{})
	b.refused("no nonce, again", http.StatusForbidden, protocol.CodeTokenUsed, status, body)
}

// TestTicketIsOfOneRun: no request of it counts for another one.
func TestTicketIsOfOneRun(t *testing.T) {
	b := newBench(t)
	if _, err := b.devices.Add(t.Context(), deploy.Device{Name: "pc-2", MACs: []string{"52:54:00:00:00:02"}}, "test"); err != nil {
		t.Fatal(err)
	}
	b.deploy("lab 2", "pc-2", rollout.Deployment{Purpose: rollout.Required}, nil)
	run := b.begin(b.boot(ownMAC, ""), protocol.RunRequest{})
	other := b.begin(b.boot("52:54:00:00:00:02", ""), protocol.RunRequest{}, "52:54:00:00:00:02")
	for path, body := range map[string]any{
		protocol.PathStep:      protocol.StepStatus{Run: other.ID, Path: "1", State: protocol.StepDone},
		protocol.PathEnd:       protocol.RunEnd{Run: other.ID, State: protocol.RunSucceeded},
		protocol.PathQuestions: protocol.Questions{Run: other.ID, Path: "1"},
	} {
		status, answer := b.do(http.MethodPost, path, run.Ticket, body)
		b.refused(path, http.StatusForbidden, protocol.CodeTokenOther, status, answer)
	}
	for _, text := range []string{"", "made up", b.boot(ownMAC, "")} {
		for _, r := range [][2]string{
			{http.MethodPost, protocol.PathStep}, {http.MethodPost, protocol.PathEnd}, {http.MethodGet, protocol.PathOrder}, {http.MethodPost, protocol.PathQuestions},
			{http.MethodDelete, protocol.PathQuestions}, {http.MethodPost, protocol.PathAnswers}, {http.MethodPost, protocol.PathContent + "image"}, {http.MethodPut, protocol.PathLog + "x.log"},
		} {
			status, answer := b.do(r[0], r[1], text, struct{}{})
			b.refused(r[1]+" with "+text, http.StatusForbidden, protocol.CodeTicketUnknown, status, answer)
		}
	}
	if r, _, err := b.register.Run(t.Context(), other.ID); err != nil || r.State != rollout.StateRunning || r.Step.Path != "" {
		t.Errorf("%+v, %v", r, err)
	}
	if len(b.tokens.grants) != 0 {
		t.Errorf("%q", b.tokens.grants)
	}
}

// TestNothingForWhoMayNot: a device that was denied or protected, that has left the
// record, or whose run is over, gets no contents, no secrets and no way into a
// session, by none of what it has.
func TestNothingForWhoMayNot(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(*bench, *protocol.Run)
		code   string
		stops  bool // it is told to stop with its next report
		// begins: a new boot may begin or go on.
		begins bool
	}{
		{"denied", func(b *bench, _ *protocol.Run) { b.change(func(d *deploy.Device) { d.State = deploy.StateDenied }) }, protocol.CodeRefused, true, false},
		{"protected", func(b *bench, _ *protocol.Run) { b.change(func(d *deploy.Device) { d.Protected = true }) }, protocol.CodeRefused, true, false},
		{"off the record", func(b *bench, _ *protocol.Run) {
			if err := b.devices.Remove(b.t.Context(), b.device.ID, "anna"); err != nil {
				b.t.Fatal(err)
			}
		}, protocol.CodeTicketUnknown, true, false},
		{"succeeded", func(b *bench, run *protocol.Run) {
			b.do(http.MethodPost, protocol.PathEnd, run.Ticket, protocol.RunEnd{Run: run.ID, State: protocol.RunSucceeded})
		}, "", false, false},
		{"cancelled", func(b *bench, run *protocol.Run) {
			b.do(http.MethodPost, protocol.PathEnd, run.Ticket, protocol.RunEnd{Run: run.ID, State: protocol.RunCancelled})
		}, "", false, false},
		{"deployment removed", func(b *bench, run *protocol.Run) {
			b.do(http.MethodPost, protocol.PathEnd, run.Ticket, protocol.RunEnd{Run: run.ID, State: protocol.RunFailed})
			if err := b.register.RemoveDeployment(b.t.Context(), "lab"); err != nil {
				b.t.Fatal(err)
			}
		}, "", false, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := newBench(t)
			run := b.begin(b.boot(ownMAC, ""), protocol.RunRequest{})
			b.report(run, "1", protocol.StepStarted)
			c.change(b, run)
			status, body := b.do(http.MethodPost, protocol.PathRun, b.boot(ownMAC, ""), protocol.RunRequest{})
			if (status == http.StatusOK) != c.begins {
				t.Errorf("a new boot: %d %s", status, body)
			}
			status, body = b.do(http.MethodPost, protocol.PathRun, run.Ticket, protocol.RunRequest{})
			if status < 400 {
				t.Errorf("it goes on by its ticket: %d %s", status, body)
			}
			if c.code != "" {
				b.refused("ticket", http.StatusForbidden, c.code, status, body)
			}
			status, body = b.do(http.MethodPost, protocol.PathContent+"image", run.Ticket, nil)
			if status < 400 || len(b.tokens.grants) != 0 {
				t.Errorf("a way into a session: %d %s, %q", status, body, b.tokens.grants)
			}
			image, err := b.library.Get("image")
			if err != nil {
				t.Fatal(err)
			}
			if _, _, err := b.Object(run.Ticket, image.Files[0].Digest.String()); err == nil {
				t.Error("it gets an object")
			}
			if !c.stops {
				return
			}
			if err := b.MayReceive(ownMAC); (err == nil) != (c.name == "off the record") {
				t.Errorf("session: %v", err)
			}
			// Orders that people gave before may have secrets in them.
			if o := b.report(run, "1", protocol.StepProgress); o.Kind != protocol.OrderCancel {
				t.Errorf("%+v", o)
			}
			if status, body := b.do(http.MethodGet, protocol.PathOrder+"?wait=10ms", run.Ticket, nil); status != http.StatusOK || strings.TrimSpace(body) != "{}" {
				t.Errorf("order: %d %s", status, body)
			}
		})
	}
}

// TestContentsOfTheSequence and of no other.
func TestContentsOfTheSequence(t *testing.T) {
	b := newBench(t)
	run := b.begin(b.boot(ownMAC, ""), protocol.RunRequest{})
	if len(run.Contents) != 1 || run.Contents[0].Name != "image" {
		t.Errorf("%+v", run.Contents)
	}
	if status, body := b.do(http.MethodPost, protocol.PathContent+"IMAGE", run.Ticket, nil); status != http.StatusOK || len(b.tokens.grants) != 1 {
		t.Errorf("%d %s", status, body)
	}
	status, body := b.do(http.MethodPost, protocol.PathContent+"other", run.Ticket, nil)
	b.refused("another content", http.StatusForbidden, protocol.CodeRefused, status, body)
	image, err := b.library.Get("image")
	if err != nil {
		t.Fatal(err)
	}
	other, err := b.library.Get("other")
	if err != nil {
		t.Fatal(err)
	}
	if ct, _, err := b.Object(run.Ticket, image.Files[0].Digest.String()); err != nil || ct.ID != image.ID {
		t.Errorf("%v", err)
	}
	if _, _, err := b.Object(run.Ticket, other.Files[0].Digest.String()); err == nil {
		t.Error("an object of another content")
	}
	// What is demanded of the content meanwhile holds.
	if _, err := b.library.Set(image.ID, library.SetRequest{Distribution: &content.Distribution{Multicast: true, MulticastOnly: true}}); err != nil {
		t.Fatal(err)
	}
	if _, _, err := b.Object(run.Ticket, image.Files[0].Digest.String()); err == nil || !strings.Contains(err.Error(), "multicast only") {
		t.Errorf("%v", err)
	}
	if err := b.library.Remove(image.ID); err != nil {
		t.Fatal(err)
	}
	status, body = b.do(http.MethodPost, protocol.PathContent+"image", run.Ticket, nil)
	b.refused("removed", http.StatusNotFound, protocol.CodeNotFound, status, body)
}

// TestPassword: a wrong one costs no token.
func TestPassword(t *testing.T) {
	b := newBench(t)
	if err := b.register.RemoveDeployment(t.Context(), "lab"); err != nil {
		t.Fatal(err)
	}
	word := "open sesame"
	b.deploy("asked", "pc-1", rollout.Deployment{Purpose: rollout.Available, Confirm: true}, &word)
	token := b.boot(ownMAC, "")
	for _, c := range []struct {
		req  protocol.RunRequest
		code string
	}{
		{protocol.RunRequest{}, protocol.CodeRefused}, {protocol.RunRequest{Password: word}, protocol.CodeRefused},
		{protocol.RunRequest{Confirmed: true}, protocol.CodePassword}, {protocol.RunRequest{Confirmed: true, Password: "open"}, protocol.CodePassword},
	} {
		status, body := b.do(http.MethodPost, protocol.PathRun, token, c.req)
		b.refused(fmt.Sprintf("%+v", c.req), http.StatusForbidden, c.code, status, body)
	}
	if all := strings.Join(b.events, "\n"); strings.Count(all, "deployment asked does not begin: wrong password") != 1 || strings.Contains(all, "open") {
		t.Errorf("a wrong password is in the timeline once, without itself:\n%s", all)
	}
	b.begin(token, protocol.RunRequest{Confirmed: true, Password: word})
	// It has been typed: after a restart nobody is asked once more.
	b.begin(b.boot(ownMAC, ""), protocol.RunRequest{})
}

// TestRefusalIsSeen: why a machine does not begin what it is to begin is said where people
// look for it, until it begins.
func TestRefusalIsSeen(t *testing.T) {
	b := newBench(t)
	c, err := b.register.Collections.Get("lab")
	if err != nil {
		t.Fatal(err)
	}
	lab, err := b.register.Deployment("lab")
	if err != nil {
		t.Fatal(err)
	}
	if err := b.register.Secrets.Drop(t.Context(), secret.OfCollection(c.ID)); err != nil {
		t.Fatal(err)
	}
	for range 3 { // it starts anew each time
		status, body := b.do(http.MethodPost, protocol.PathRun, b.boot(ownMAC, ""), protocol.RunRequest{})
		b.refused("no value", http.StatusForbidden, protocol.CodeRefused, status, body)
		if !strings.Contains(body, "castpoint collection secret ID Password") {
			t.Errorf("it is not said how to set it: %s", body)
		}
	}
	why := b.register.Refusals(lab.ID)[b.device.ID]
	if all := strings.Join(b.events, "\n"); strings.Count(all, "deployment lab does not begin: sequence install needs values for Password") != 1 || !strings.Contains(why.Text, "Password") {
		t.Errorf("refusal %+v, timeline:\n%s", why, all)
	}
	if err := b.register.Collections.SetSecret(t.Context(), c.ID, "Password", thePassword); err != nil {
		t.Fatal(err)
	}
	b.begin(b.boot(ownMAC, ""), protocol.RunRequest{})
	if left := b.register.Refusals(lab.ID); len(left) > 0 {
		t.Errorf("it has begun, and there is %+v", left)
	}
}

// TestOrderOfReports: what comes late, twice or from nowhere does not confuse a run.
func TestOrderOfReports(t *testing.T) {
	b := newBench(t)
	run := b.begin(b.boot(ownMAC, ""), protocol.RunRequest{})
	b.report(run, "1", protocol.StepDone) // started was lost
	b.report(run, "1", protocol.StepDone) // the answer was
	b.report(run, "2", protocol.StepStarted)
	b.report(run, "2", protocol.StepProgress)
	next := func(want string) {
		t.Helper()
		if again := b.begin(b.boot(ownMAC, ""), protocol.RunRequest{}); again.Next != want {
			t.Errorf("it goes on with %q, want %q", again.Next, want)
		} else {
			run = again
		}
	}
	next("2")
	for what, s := range map[string]protocol.StepStatus{
		"no such step": {Path: "7", State: protocol.StepDone}, "no path": {State: protocol.StepDone},
	} {
		s.Run = run.ID
		status, body := b.do(http.MethodPost, protocol.PathStep, run.Ticket, s)
		b.refused(what, http.StatusBadRequest, "", status, body)
	}
	status, body := b.do(http.MethodPost, protocol.PathEnd, run.Ticket, protocol.RunEnd{Run: run.ID, State: "finished"})
	b.refused("no such end", http.StatusBadRequest, "", status, body)
	next("2")
	b.report(run, "2", protocol.StepDone)
	b.report(run, "3", protocol.StepDone)
	if status, body := b.do(http.MethodPost, protocol.PathEnd, run.Ticket, protocol.RunEnd{Run: run.ID, State: protocol.RunSucceeded}); status != http.StatusNoContent {
		t.Errorf("%d %s", status, body)
	}
	// Twice is once, and what was on its way changes nothing.
	if status, body := b.do(http.MethodPost, protocol.PathEnd, run.Ticket, protocol.RunEnd{Run: run.ID, State: protocol.RunSucceeded}); status != http.StatusNoContent {
		t.Errorf("%d %s", status, body)
	}
	status, body = b.do(http.MethodPost, protocol.PathEnd, run.Ticket, protocol.RunEnd{Run: run.ID, State: protocol.RunFailed})
	b.refused("failed after success", http.StatusForbidden, protocol.CodeRefused, status, body)
	status, body = b.do(http.MethodPost, protocol.PathStep, run.Ticket, protocol.StepStatus{Run: run.ID, Path: "1", State: protocol.StepFailed})
	b.refused("step after success", http.StatusForbidden, protocol.CodeRefused, status, body)
	if r, _, err := b.register.Run(t.Context(), run.ID); err != nil || r.State != rollout.StateSucceeded {
		t.Errorf("%+v, %v", r, err)
	}
}

// TestCancelled: the machine hears of it with its next report, or when it starts
// again; and then it runs nothing.
func TestCancelled(t *testing.T) {
	b := newBench(t)
	run := b.begin(b.boot(ownMAC, ""), protocol.RunRequest{})
	b.report(run, "1", protocol.StepStarted)
	if _, err := b.register.Cancel(t.Context(), run.ID, "anna"); err != nil {
		t.Fatal(err)
	}
	if o := b.report(run, "1", protocol.StepProgress); o.Kind != protocol.OrderCancel || o.By != "anna" {
		t.Errorf("%+v", o)
	}

	// Another one loses its power before it hears of it.
	b = newBench(t)
	run = b.begin(b.boot(ownMAC, ""), protocol.RunRequest{})
	b.report(run, "1", protocol.StepStarted)
	if _, err := b.register.Cancel(t.Context(), run.ID, "anna"); err != nil {
		t.Fatal(err)
	}
	if p, ok := b.Policy(Bearer{MAC: ownMAC}); !ok || p.Action != protocol.ActionLocal {
		t.Errorf("%+v", p)
	}
	status, body := b.do(http.MethodPost, protocol.PathRun, b.boot(ownMAC, ""), protocol.RunRequest{})
	b.refused("a new boot", http.StatusForbidden, protocol.CodeRefused, status, body)
	status, body = b.do(http.MethodPost, protocol.PathRun, run.Ticket, protocol.RunRequest{Environment: sequence.EnvironmentWindows})
	b.refused("from its disk", http.StatusForbidden, protocol.CodeRefused, status, body)
	if r, _, err := b.register.Run(t.Context(), run.ID); err != nil || r.State != rollout.StateCancelled || r.Message != "cancelled by anna" {
		t.Errorf("%+v, %v", r, err)
	}
	// Tried again, it goes on with what it was in.
	if _, err := b.register.Retry(t.Context(), run.ID, "", "anna", nil); err != nil {
		t.Fatal(err)
	}
	if again := b.begin(b.boot(ownMAC, ""), protocol.RunRequest{}); again.ID != run.ID || again.Next != "1" {
		t.Errorf("%+v", again)
	}

	// A machine that restarts has nothing to stop.
	b = newBench(t)
	run = b.begin(b.boot(ownMAC, ""), protocol.RunRequest{})
	if status, body := b.do(http.MethodPost, protocol.PathEnd, run.Ticket, protocol.RunEnd{Run: run.ID, State: protocol.RunRestart, Into: sequence.RestartDisk}); status != http.StatusNoContent {
		t.Fatalf("%d %s", status, body)
	}
	if r, err := b.register.Cancel(t.Context(), run.ID, "anna"); err != nil || r.State != rollout.StateCancelled {
		t.Errorf("%+v, %v", r, err)
	}
}

// TestTwoMachinesWithOneUUID: the second one does not take the run of the first.
func TestTwoMachinesWithOneUUID(t *testing.T) {
	const uuid, second = "4c4c4544-0042-3510-8052-b3c04f4b4e32", "52:54:00:00:00:02"
	b := newBench(t)
	b.change(func(d *deploy.Device) { d.UUID = uuid })
	run := b.begin(b.boot(ownMAC, uuid), protocol.RunRequest{})
	b.report(run, "1", protocol.StepStarted)
	status, body := b.do(http.MethodPost, protocol.PathRun, b.boot(second, uuid), protocol.RunRequest{}, second)
	b.refused("the other machine", http.StatusForbidden, protocol.CodeRefused, status, body)
	if !strings.Contains(body, "devices-shared-uuids") || !strings.Contains(body, ownMAC) {
		t.Errorf("%s", body)
	}
	b.report(run, "1", protocol.StepDone) // the first goes on
	// The same machine with a second card is no other one.
	run = b.begin(b.boot(second, uuid), protocol.RunRequest{}, second, ownMAC)
	// Nor is one whose card was replaced while it was off.
	b.clock = b.clock.Add(time.Hour)
	if again := b.begin(b.boot("52:54:00:00:00:03", uuid), protocol.RunRequest{}, "52:54:00:00:00:03"); again.ID != run.ID {
		t.Errorf("%+v", again)
	}
}

func TestBodiesAreBounded(t *testing.T) {
	b := newBench(t)
	run := b.begin(b.boot(ownMAC, ""), protocol.RunRequest{})
	long := strings.Repeat("x", 1<<20)
	for path, body := range map[string]any{
		protocol.PathRun:       protocol.RunRequest{Deployment: long},
		protocol.PathStep:      protocol.StepStatus{Run: run.ID, Path: "1", State: protocol.StepDone, Output: long},
		protocol.PathEnd:       protocol.RunEnd{Run: run.ID, State: protocol.RunFailed, Message: long},
		protocol.PathQuestions: protocol.Questions{Run: run.ID, Path: long},
		protocol.PathInventory: sequence.Facts{Model: long},
	} {
		if status, answer := b.do(http.MethodPost, path, run.Ticket, body); status != http.StatusRequestEntityTooLarge {
			t.Errorf("%s: %d %s", path, status, answer)
		}
		if status, answer := b.do(http.MethodPost, path, run.Ticket, []byte(`{"run": `)); status != http.StatusBadRequest {
			t.Errorf("%s, half a body: %d %s", path, status, answer)
		}
	}
	// What fits is cut to what is kept.
	if _, err := b.register.Report(t.Context(), run.ID, protocol.StepStatus{Path: "1", State: protocol.StepFailed, Message: strings.Repeat("m\n", 9000), Output: strings.Repeat("o", 60_000)}); err != nil {
		t.Fatal(err)
	}
	_, steps, err := b.register.Run(t.Context(), run.ID)
	if err != nil || len(steps) != 1 || len(steps[0].Message) > protocol.MaxMessage || len(steps[0].Output) > protocol.MaxTail || strings.Contains(steps[0].Message, "\n") {
		t.Errorf("%v, %d", err, len(steps))
	}
}

// TestSecretsOfItsOwnSequence: of the device's secrets those that the sequence
// declares, and those of no other device.
func TestSecretsOfItsOwnSequence(t *testing.T) {
	b := newBench(t)
	two, err := b.devices.Add(t.Context(), deploy.Device{Name: "pc-2", MACs: []string{"52:54:00:00:00:02"}}, "test")
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range []struct {
		owner       secret.Owner
		name, value string
	}{{secret.OfDevice(b.device.ID), "Undeclared", "first"}, {secret.OfDevice(two.ID), "Password", "second"}, {secret.OfDevice(two.ID), "Other", "third"}} {
		if err := b.register.Secrets.Set(t.Context(), s.owner, s.name, s.value); err != nil {
			t.Fatal(err)
		}
	}
	status, body := b.do(http.MethodPost, protocol.PathRun, b.boot(ownMAC, ""), protocol.RunRequest{})
	if status != http.StatusOK || !strings.Contains(body, thePassword) {
		t.Fatalf("%d %s", status, body)
	}
	for _, text := range []string{"first", "second", "third", "Undeclared"} {
		if strings.Contains(body, `"`+text+`"`) {
			t.Errorf("the answer has %s: %s", text, body)
		}
	}
}

// TestRecoveryPassword: what a step that encrypts reports is kept, sealed, and in no
// answer and no timeline.
func TestRecoveryPassword(t *testing.T) {
	const password = "111111-222222-333333-444444-555555-666666-777777-888888"
	b := newBench(t)
	run := b.begin(b.boot(ownMAC, ""), protocol.RunRequest{})
	for range 2 { // the first answer was lost
		status, body := b.do(http.MethodPost, protocol.PathStep, run.Ticket, protocol.StepStatus{
			Run: run.ID, Path: "2", State: protocol.StepDone, Variables: map[string]protocol.VariableValue{protocol.VariableRecovery: {Value: password, Secret: true}},
		})
		if status != http.StatusOK {
			t.Fatalf("%d %s", status, body)
		}
	}
	list, err := b.register.Secrets.Recoveries(b.device.ID)
	if err != nil || len(list) != 1 || list[0].Password != password || list[0].Run != run.ID || list[0].Step == "" {
		t.Errorf("%+v, %v", list, err)
	}
	r, steps, err := b.register.Run(t.Context(), run.ID)
	if text, _ := json.Marshal([]any{r, steps}); err != nil || strings.Contains(string(text), password) {
		t.Errorf("%s, %v", text, err)
	}
	if text := strings.Join(b.events, "\n"); strings.Contains(text, password) || !strings.Contains(text, "castpoint device recovery") {
		t.Errorf("%s", text)
	}
}

// TestInventoryOfProtectedDevices: no machine changes their record.
func TestInventoryOfProtectedDevices(t *testing.T) {
	b := newBench(t)
	b.change(func(d *deploy.Device) { d.Protected = true })
	if status, body := b.do(http.MethodPost, protocol.PathInventory, b.boot(ownMAC, ""), sequence.Facts{Model: "made up"}); status != http.StatusNoContent {
		t.Errorf("%d %s", status, body)
	}
	if d, err := b.devices.Get(b.device.ID); err != nil || d.Inventory != nil {
		t.Errorf("%+v, %v", d.Inventory, err)
	}
}
