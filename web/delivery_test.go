package web

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"castpoint/agent/protocol"
	"castpoint/boot"
	"castpoint/content"
	"castpoint/deploy"
	"castpoint/deploy/collection"
	"castpoint/deploy/monitor"
	"castpoint/deploy/rollout"
	"castpoint/deploy/secret"
	"castpoint/deploy/sequence"
	"castpoint/internal/store"
	"castpoint/multicast"
	"castpoint/test/contents"
	"castpoint/web/admin/accounts"
	"castpoint/web/admin/deployments"
	"castpoint/web/admit"
)

// withRollout adds deployments to a point that keeps records.
func withRollout(t testing.TB, policy deploy.Policy) func(*Config) {
	t.Helper()
	s, err := store.Open(t.Context(), t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	devices, err := deploy.Open(t.Context(), deploy.Config{Store: s, Unknown: policy})
	if err != nil {
		t.Fatal(err)
	}
	register, err := rollout.Open(t.Context(), rollout.Config{Store: s, Devices: devices, Data: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	watch, err := monitor.New(monitor.Config{Register: register, Devices: devices})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		watch.Close()
		_ = devices.Close()
		_ = s.Close()
	})
	return func(c *Config) { c.Devices, c.Rollout, c.Monitor = devices, register, watch }
}

const (
	deliveryMAC = "52:54:00:00:00:01"
	deliverySeq = `name: install
variables:
  Password: {secret: true, required: true}
steps:
  - apply-data-image: {content: image, target: /mnt}
  - run-command: {command: "echo ${Password}"}
`
)

// deployed is a point with a device, and a required deployment for it.
func deployed(t testing.TB, change func(*rollout.Deployment)) (*point, deploy.Device) {
	t.Helper()
	p := newPoint(t, contents.Free, withRollout(t, deploy.PolicyServe))
	contents.AddImage(t, p.lib, "other", 1000, contents.Free)
	g := p.cfg.Rollout
	d, err := p.cfg.Devices.Add(t.Context(), deploy.Device{Name: "pc-1", MACs: []string{deliveryMAC}}, "test")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := g.Sequences.Put(t.Context(), deliverySeq, "test"); err != nil {
		t.Fatal(err)
	}
	c, err := g.Collections.Put(t.Context(), collection.Collection{Name: "lab", Devices: []string{"pc-1"}, Rules: []collection.MemberRule{{Unknown: true}}})
	if err != nil {
		t.Fatal(err)
	}
	if err := g.Collections.SetSecret(t.Context(), c.ID, "Password", "hunter2"); err != nil {
		t.Fatal(err)
	}
	want := rollout.Deployment{Name: "lab", Sequence: "install", Collection: c.ID, Purpose: rollout.Required}
	if change != nil {
		change(&want)
	}
	if _, err := g.PutDeployment(t.Context(), want, nil, 0, "test"); err != nil {
		t.Fatal(err)
	}
	return p, d
}

// bootToken is what the machine finds on its kernel command line.
func (p *point) bootToken(t testing.TB, mac string) string {
	t.Helper()
	addr, err := net.ParseMAC(mac)
	if err != nil {
		t.Fatal(err)
	}
	ticket, err := p.BootToken(t.Context(), boot.Client{MAC: addr, Arch: boot.ArchEFIX64, HasArch: true, PXE: true})
	if err != nil {
		t.Fatal(err)
	}
	return ticket.Token
}

func answer[T any](t *testing.T, want int, status int, body []byte) (v T) {
	t.Helper()
	if status != want {
		t.Fatalf("status %d, want %d: %s", status, want, body)
	}
	if len(body) > 0 {
		if err := json.Unmarshal(body, &v); err != nil {
			t.Fatalf("%v: %s", err, body)
		}
	}
	return v
}

func TestSequenceIsDelivered(t *testing.T) {
	p, _ := deployed(t, nil)
	token := p.bootToken(t, deliveryMAC)
	own := []string{protocol.HeaderMAC, deliveryMAC}

	status, body := p.do(t, http.MethodGet, protocol.PathPolicy, token, nil, own...)
	policy := answer[protocol.Policy](t, http.StatusOK, status, body)
	if policy.Action != protocol.ActionRun || len(policy.Offers) != 1 || !policy.Offers[0].Required || bytes.Contains(body, []byte("hunter2")) {
		t.Fatalf("%s", body)
	}
	// Neither another machine's token nor another machine with this one gets it.
	begin := protocol.RunRequest{Nonce: "of this boot", Environment: sequence.EnvironmentLinux, Facts: sequence.Facts{Manufacturer: "QEMU\x1b[31m", Architecture: "amd64"}}
	for what, try := range map[string]struct {
		secret string
		header []string
	}{
		"no token": {"", own}, "a made-up token": {strings.Repeat("0", 32), own}, "another machine": {token, []string{protocol.HeaderMAC, "52:54:00:00:00:99"}},
		"a token for a content": {p.token(t, admit.Token{}), own},
	} {
		if status, body := p.do(t, http.MethodPost, protocol.PathRun, try.secret, begin, try.header...); status != http.StatusForbidden || bytes.Contains(body, []byte("hunter2")) {
			t.Errorf("%s: %d %s", what, status, body)
		}
	}
	status, body = p.do(t, http.MethodPost, protocol.PathRun, token, begin, own...)
	run := answer[protocol.Run](t, http.StatusOK, status, body)
	if run.Variables["Password"] != (protocol.VariableValue{Value: "hunter2", Secret: true}) || len(run.Contents) != 1 || run.Contents[0].Name != "image" || run.Ticket == "" {
		t.Fatalf("%s", body)
	}
	if d, err := p.cfg.Devices.Find("pc-1"); err != nil || d.Inventory == nil || d.Inventory.Manufacturer != "QEMU[31m" {
		t.Errorf("inventory %+v, %v", d.Inventory, err)
	}
	// The answer may be lost: the same machine asks once more, and the ticket that it
	// did not get is worth nothing.
	first := run.Ticket
	status, body = p.do(t, http.MethodPost, protocol.PathRun, token, begin, own...)
	if run = answer[protocol.Run](t, http.StatusOK, status, body); run.Next != "1" || run.Interrupted || run.Ticket == first {
		t.Errorf("%s", body)
	}
	if status, body = p.do(t, http.MethodGet, protocol.PathOrder, first, nil); status != http.StatusForbidden {
		t.Errorf("the first ticket: %d %s", status, body)
	}
	// The token is used up, so who has overheard it gets nothing.
	begin.Nonce = "another"
	if status, body := p.do(t, http.MethodPost, protocol.PathRun, token, begin, own...); status != http.StatusForbidden || !bytes.Contains(body, []byte(protocol.CodeTokenUsed)) {
		t.Errorf("%d %s", status, body)
	}

	// Its contents, and no others.
	status, body = p.do(t, http.MethodPost, protocol.PathContent+"image", run.Ticket, struct{}{}, own...)
	grant := answer[protocol.Grant](t, http.StatusOK, status, body)
	status, body = p.do(t, http.MethodPost, multicast.PathJoin, "", multicast.JoinRequest{Token: grant.Token, Content: p.ct.ID}, own...)
	answer[multicast.Admission](t, http.StatusOK, status, body)
	if status, body = p.do(t, http.MethodPost, protocol.PathContent+"other", run.Ticket, struct{}{}, own...); status != http.StatusForbidden {
		t.Errorf("another content: %d %s", status, body)
	}
	if status, body = p.do(t, http.MethodGet, multicast.PathObject+run.Contents[0].Files[0].SHA256, run.Ticket, nil); status != http.StatusOK || !bytes.Equal(body, p.data) {
		t.Errorf("object: %d, %d bytes", status, len(body))
	}
	other, err := p.lib.Get("other")
	if err != nil {
		t.Fatal(err)
	}
	if status, body = p.do(t, http.MethodGet, multicast.PathObject+other.Files[0].Digest.String(), run.Ticket, nil); status != http.StatusForbidden {
		t.Errorf("another object: %d %s", status, body)
	}

	// Steps, in order, and what they say is for nobody else's run.
	step := protocol.StepStatus{Run: run.ID, Path: "1", State: protocol.StepStarted}
	status, body = p.do(t, http.MethodPost, protocol.PathStep, run.Ticket, step)
	answer[protocol.Order](t, http.StatusOK, status, body)
	if status, body = p.do(t, http.MethodPost, protocol.PathStep, run.Ticket, protocol.StepStatus{Run: "other", Path: "1", State: protocol.StepDone}); status != http.StatusForbidden {
		t.Errorf("another run: %d %s", status, body)
	}
	if status, body = p.do(t, http.MethodPost, protocol.PathStep, run.Ticket, protocol.StepStatus{Run: run.ID, Path: "9", State: protocol.StepDone}); status != http.StatusBadRequest {
		t.Errorf("no such step: %d %s", status, body)
	}

	// Logs.
	if status, body = p.do(t, http.MethodPut, protocol.PathLog+"sequence.log", run.Ticket, []byte("all of it\n")); status != http.StatusNoContent {
		t.Errorf("log: %d %s", status, body)
	}
	for _, name := range []string{".hidden", "a%2Fb", "..", strings.Repeat("x", 101)} {
		if status, body = p.do(t, http.MethodPut, protocol.PathLog+name, run.Ticket, []byte("x")); status < 300 {
			t.Errorf("log %s: %d %s", name, status, body)
		}
	}
	list, err := p.cfg.Rollout.LastRun("pc-1")
	if err != nil {
		t.Fatal(err)
	}
	logs, err := p.Delivery().Logs(&list)
	if err != nil || len(logs) != 1 || logs[0].Name != "sequence.log" || logs[0].Size != 10 {
		t.Errorf("%+v, %v", logs, err)
	}

	// After a network boot it goes on with a new token, and after a restart into its
	// disk with its ticket.
	again := p.bootToken(t, deliveryMAC)
	status, body = p.do(t, http.MethodPost, protocol.PathRun, again, begin, own...)
	if second := answer[protocol.Run](t, http.StatusOK, status, body); second.ID != run.ID || !second.Interrupted || second.Next != "1" {
		t.Errorf("%s", body)
	} else {
		run = second
	}
	begin.Environment = sequence.EnvironmentWindows
	status, body = p.do(t, http.MethodPost, protocol.PathRun, run.Ticket, begin)
	if third := answer[protocol.Run](t, http.StatusOK, status, body); third.ID != run.ID || third.Ticket != run.Ticket || third.Variables["Password"].Value != "hunter2" {
		t.Errorf("%s", body)
	}
	for _, path := range []string{"1", "2"} {
		status, body = p.do(t, http.MethodPost, protocol.PathStep, run.Ticket, protocol.StepStatus{Run: run.ID, Path: path, State: protocol.StepDone})
		answer[protocol.Order](t, http.StatusOK, status, body)
	}
	if status, body = p.do(t, http.MethodPost, protocol.PathEnd, run.Ticket, protocol.RunEnd{Run: run.ID, State: protocol.RunSucceeded}); status != http.StatusNoContent {
		t.Errorf("%d %s", status, body)
	}
	status, body = p.do(t, http.MethodGet, protocol.PathPolicy, p.bootToken(t, deliveryMAC), nil, own...)
	if policy := answer[protocol.Policy](t, http.StatusOK, status, body); policy.Action != protocol.ActionLocal {
		t.Errorf("%s", body)
	}
	// Secrets of a run that is over are not given out once more.
	if status, body = p.do(t, http.MethodPost, protocol.PathRun, run.Ticket, begin); status != http.StatusForbidden || bytes.Contains(body, []byte("hunter2")) {
		t.Errorf("%d %s", status, body)
	}
}

// TestLogsAreWholeAndBounded: what breaks off leaves nothing, and what is too long is
// refused.
func TestLogsAreWholeAndBounded(t *testing.T) {
	p, d := deployed(t, nil)
	status, body := p.do(t, http.MethodPost, protocol.PathRun, p.bootToken(t, deliveryMAC), protocol.RunRequest{}, protocol.HeaderMAC, deliveryMAC)
	run := answer[protocol.Run](t, http.StatusOK, status, body)
	if status, body := p.do(t, http.MethodPut, protocol.PathLog+"big.log", run.Ticket, make([]byte, protocol.MaxLog+1)); status != http.StatusRequestEntityTooLarge {
		t.Errorf("%d %s", status, body)
	}
	folder := filepath.Join(p.cfg.Data, "logs", d.ID, run.ID)
	entries, err := os.ReadDir(folder)
	if err != nil || len(entries) != 0 {
		t.Errorf("%v, %v", entries, err)
	}
	// Their names lead nowhere else.
	for _, name := range []string{"..%2f..%2fx.log", "%2fetc%2fx.log", "..", ".hidden", "x%00", "a%5cb", strings.Repeat("x", protocol.MaxLogName+1)} {
		if status, body := p.do(t, http.MethodPut, protocol.PathLog+name, run.Ticket, []byte("x")); status == http.StatusNoContent {
			t.Errorf("%s: %d %s", name, status, body)
		}
	}
	if entries, err := os.ReadDir(folder); err != nil || len(entries) != 0 {
		t.Errorf("%v, %v", entries, err)
	}
	// Nor may there be any number of them.
	for i := range 200 {
		if err := os.WriteFile(filepath.Join(folder, fmt.Sprintf("small-%d.log", i)), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if status, body := p.do(t, http.MethodPut, protocol.PathLog+"more.log", run.Ticket, []byte("more")); status != http.StatusRequestEntityTooLarge {
		t.Errorf("one more than 200: %d %s", status, body)
	}
	if err := os.RemoveAll(folder); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(folder, 0o700); err != nil {
		t.Fatal(err)
	}
	// Nor may many of them fill the disk, while one that is there may be replaced.
	for i := range 4 {
		name := filepath.Join(folder, fmt.Sprintf("old-%d.log", i))
		if err := errors.Join(os.WriteFile(name, nil, 0o600), os.Truncate(name, protocol.MaxLog)); err != nil {
			t.Fatal(err)
		}
	}
	if status, body := p.do(t, http.MethodPut, protocol.PathLog+"more.log", run.Ticket, []byte("more")); status != http.StatusRequestEntityTooLarge || !bytes.Contains(body, []byte("at most")) {
		t.Errorf("%d %s", status, body)
	}
	if status, body := p.do(t, http.MethodPut, protocol.PathLog+"old-1.log", run.Ticket, []byte("new")); status != http.StatusNoContent {
		t.Errorf("%d %s", status, body)
	}
}

// The password of a deployment is not found out by trying: an address has ten tries.
func TestDeploymentPasswordIsGuessedSlowly(t *testing.T) {
	p, _ := deployed(t, func(d *rollout.Deployment) { d.Purpose = rollout.Available })
	g := p.cfg.Rollout
	d, err := g.Deployment("lab")
	if err != nil {
		t.Fatal(err)
	}
	password := "open sesame"
	if _, err := g.PutDeployment(t.Context(), d, &password, 0, "test"); err != nil {
		t.Fatal(err)
	}
	token := p.bootToken(t, deliveryMAC)
	try := func(password string) (int, []byte) {
		return p.do(t, http.MethodPost, protocol.PathRun, token, protocol.RunRequest{Deployment: d.ID, Password: password}, protocol.HeaderMAC, deliveryMAC)
	}
	began := time.Now()
	for i := range 10 {
		if status, body := try(fmt.Sprint("guess ", i)); status != http.StatusForbidden || !bytes.Contains(body, []byte(protocol.CodePassword)) {
			t.Fatalf("%d %s", status, body)
		}
	}
	// One more is given every 3 s, and looking at a password takes its time.
	if status, body := try(password); status != http.StatusTooManyRequests && time.Since(began) < 3*time.Second {
		t.Errorf("%d %s", status, body)
	}
}

func TestWhoMayNotRun(t *testing.T) {
	p, d := deployed(t, func(d *rollout.Deployment) { d.Purpose, d.Confirm = rollout.Available, true })
	own := []string{protocol.HeaderMAC, deliveryMAC}
	try := func(req protocol.RunRequest) (int, string) {
		status, body := p.do(t, http.MethodPost, protocol.PathRun, p.bootToken(t, deliveryMAC), req, own...)
		if bytes.Contains(body, []byte("hunter2")) && status != http.StatusOK {
			t.Errorf("a refusal has a secret in it: %s", body)
		}
		return status, string(body)
	}
	if status, body := try(protocol.RunRequest{}); status != http.StatusForbidden || !strings.Contains(body, "confirmed") {
		t.Errorf("%d %s", status, body)
	}
	if status, body := try(protocol.RunRequest{Confirmed: true, Deployment: "nothing"}); status != http.StatusForbidden {
		t.Errorf("%d %s", status, body)
	}
	change := func(f func(*deploy.Device)) {
		t.Helper()
		if _, err := p.cfg.Devices.Change(t.Context(), d.ID, "", "", func(d *deploy.Device) error { f(d); return nil }); err != nil {
			t.Fatal(err)
		}
	}
	change(func(d *deploy.Device) { d.Protected = true })
	if status, body := try(protocol.RunRequest{Confirmed: true}); status != http.StatusForbidden || !strings.Contains(body, "protected") {
		t.Errorf("%d %s", status, body)
	}
	change(func(d *deploy.Device) { d.Protected = false })
	if err := p.lib.Remove(p.ct.ID); err != nil {
		t.Fatal(err)
	}
	if status, body := try(protocol.RunRequest{Confirmed: true}); status != http.StatusNotFound || !strings.Contains(body, "needs content image") {
		t.Errorf("%d %s", status, body)
	}
	contents.AddImage(t, p.lib, "image", 1000, content.Distribution{})
	if status, body := try(protocol.RunRequest{Confirmed: true}); status != http.StatusOK {
		t.Errorf("%d %s", status, body)
	}
}

// TestUnknownMachine: one that is not on record runs what is deployed to unknown ones
// and is on record then.
func TestUnknownMachine(t *testing.T) {
	p, _ := deployed(t, nil)
	const mac = "52:54:00:00:00:77"
	token := p.bootToken(t, mac)
	status, body := p.do(t, http.MethodGet, protocol.PathPolicy, token, nil, protocol.HeaderMAC, mac)
	if policy := answer[protocol.Policy](t, http.StatusOK, status, body); policy.Action != protocol.ActionRun {
		t.Fatalf("%s", body)
	}
	req := protocol.RunRequest{Facts: sequence.Facts{UUID: "4c4c4544-0042-3510-8052-b3c04f4b4e32", Model: "New"}}
	status, body = p.do(t, http.MethodPost, protocol.PathRun, token, req, protocol.HeaderMAC, mac)
	run := answer[protocol.Run](t, http.StatusOK, status, body)
	d, err := p.cfg.Devices.Find(mac)
	if err != nil || d.UUID != req.Facts.UUID || d.Inventory.Model != "New" || d.State != deploy.StateKnown {
		t.Errorf("%+v, %v", d, err)
	}
	// It is known now, and goes on.
	status, body = p.do(t, http.MethodPost, protocol.PathRun, p.bootToken(t, mac), req, protocol.HeaderMAC, mac)
	if again := answer[protocol.Run](t, http.StatusOK, status, body); again.ID != run.ID {
		t.Errorf("%s", body)
	}
}

func TestOrdersAreHeld(t *testing.T) {
	p, _ := deployed(t, nil)
	status, body := p.do(t, http.MethodPost, protocol.PathRun, p.bootToken(t, deliveryMAC), protocol.RunRequest{}, protocol.HeaderMAC, deliveryMAC)
	run := answer[protocol.Run](t, http.StatusOK, status, body)
	got := make(chan protocol.Order, 1)
	go func() {
		_, body := p.do(t, http.MethodGet, protocol.PathOrder+"?wait=50s", run.Ticket, nil)
		var o protocol.Order
		_ = json.Unmarshal(body, &o)
		got <- o
	}()
	if _, err := p.cfg.Rollout.Cancel(t.Context(), run.ID, "anna"); err != nil {
		t.Fatal(err)
	}
	if o := <-got; o.Kind != protocol.OrderCancel || o.By != "anna" {
		t.Errorf("%+v", o)
	}
	status, body = p.do(t, http.MethodGet, protocol.PathOrder, run.Ticket, nil)
	if o := answer[protocol.Order](t, http.StatusOK, status, body); o.Kind != "" {
		t.Errorf("%+v", o)
	}
}

// Each look at a recovery password is in the audit log, with who it was.
func TestLooksAtRecoveryAreRecorded(t *testing.T) {
	change, _ := withAccess(t)
	rolled := withRollout(t, deploy.PolicyServe)
	p := newPoint(t, contents.Free, func(c *Config) { change(c); rolled(c) })
	d, err := p.cfg.Devices.Add(t.Context(), deploy.Device{Name: "pc-1", MACs: []string{deliveryMAC}}, "test")
	if err != nil {
		t.Fatal(err)
	}
	if err := p.cfg.Rollout.Secrets.KeepRecovery(t.Context(), d.ID, secret.Recovery{Time: time.Now(), Run: "r", Step: "Encrypt", Password: "111111-222222"}); err != nil {
		t.Fatal(err)
	}
	c := p.Client()
	var got deployments.Recoveries
	if err := c.Call(t.Context(), http.MethodPost, "/devices/"+d.ID+"/recovery", nil, &got); err != nil || len(got.Items) != 1 {
		t.Fatalf("%+v, %v", got, err)
	}
	var page accounts.AuditPage
	if err := c.Call(t.Context(), http.MethodGet, "/audit", nil, &page); err != nil || len(page.Entries) != 1 {
		t.Fatalf("%+v, %v", page, err)
	}
	if e := page.Entries[0]; e.Action != "show-recovery" || e.Who != "root" || !strings.Contains(e.Detail, d.ID) || strings.Contains(e.Detail, "111111") {
		t.Errorf("%+v", e)
	}
}
