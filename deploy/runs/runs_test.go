package runs

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"castpoint/agent/protocol"
	"castpoint/deploy/sequence"
)

var noon = time.Date(2026, 3, 2, 12, 0, 0, 0, time.UTC)

// TestRow: what is kept is what was, and what is shown has nothing in it that is not.
func TestRow(t *testing.T) {
	r := &Run{
		ID: "r", Device: "pc", State: StateRunning, Started: noon, Heard: noon, Variables: map[string]string{"Role": "desk"}, MACs: []string{"52:54:00:00:00:01"},
		Secrets: map[string][]byte{"Key": []byte("sealed-secret")}, Ticket: "hash-of-ticket", Key: []byte("sealed-key"),
		Order: &protocol.Order{Kind: protocol.OrderAnswer, Answers: map[string]string{"Key": "hunter2"}},
	}
	row, err := r.Row()
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(row.Body), "hunter2") {
		t.Errorf("an answer is in the database: %s", row.Body)
	}
	got, err := Of(&row)
	want := r.Clone()
	want.Order = nil
	if diff := cmp.Diff(want, got); err != nil || diff != "" {
		t.Error(err, diff)
	}
	text, err := json.Marshal(r.Shown(noon))
	if err != nil {
		t.Fatal(err)
	}
	for _, hidden := range []string{"hash-of-ticket", "c2VhbGVk", "hunter2", `"ecrets"`} { // c2VhbGVk is sealed in base 64
		if strings.Contains(string(text), hidden) {
			t.Errorf("%s is shown: %s", hidden, text)
		}
	}
	if r.Order.Answers["Key"] != "hunter2" || r.Ticket == "" {
		t.Error("showing a run has changed it")
	}
}

func TestShown(t *testing.T) {
	r := &Run{State: StateRunning, Heard: noon}
	if s := r.Shown(noon.Add(LateTime)); s.Late {
		t.Error("late too early")
	}
	if s := r.Shown(noon.Add(LateTime + 1)); !s.Late || s.State != StateRunning {
		t.Errorf("%+v", s)
	}
	r.Order = &protocol.Order{Kind: protocol.OrderCancel, By: "anna", Time: noon}
	if s := r.Shown(noon.Add(LateTime + 1)); s.Late || s.State != StateCancelled || !strings.Contains(s.Message, "anna") {
		t.Errorf("%+v", s)
	}
}

func TestPercent(t *testing.T) {
	for want, r := range map[float64]Run{
		0:   {Total: 4},
		100: {Total: 4, State: StateSucceeded},
		25:  {Total: 4, State: StateRunning, Step: StepRecord{Number: 1, State: protocol.StepDone}},
		50:  {Total: 4, State: StateRunning, Step: StepRecord{Number: 2, State: protocol.StepFailed, Continue: true}},
		62:  {Total: 4, State: StateRunning, Step: StepRecord{Number: 3, State: protocol.StepProgress, Percent: 48}},
		75:  {Total: 4, State: StateRunning, Step: StepRecord{Number: 4, State: protocol.StepStarted}},
	} {
		if got := r.Percent(); got != want {
			t.Errorf("%+v: %v, want %v", r.Step, got, want)
		}
	}
}

// TestNext: with which step a machine goes on that was away.
func TestNext(t *testing.T) {
	seq, err := sequence.Parse([]byte("name: s\nsteps:\n  - run-command: {command: a}\n  - name: g\n    steps:\n      - run-command: {command: b}\n      - run-command: {command: c}\n"))
	if err != nil {
		t.Fatal(err)
	}
	step := func(path, state string) StepRecord { return StepRecord{Path: path, State: state} }
	ignored := step("1", protocol.StepFailed)
	ignored.Continue = true
	for _, c := range []struct {
		steps       []StepRecord
		path        string
		interrupted bool
	}{
		{nil, "1", false},
		{[]StepRecord{step("1", protocol.StepStarted)}, "1", true},
		{[]StepRecord{step("1", protocol.StepRetry)}, "1", true},
		{[]StepRecord{step("1", protocol.StepFailed)}, "1", false},
		{[]StepRecord{ignored}, "2/1", false},
		{[]StepRecord{step("1", protocol.StepDone), step("2/1", protocol.StepSkipped)}, "2/2", false},
		{[]StepRecord{step("1", protocol.StepDone), step("2/1", protocol.StepDone), step("2/2", protocol.StepProgress)}, "2/2", true},
		{[]StepRecord{step("1", protocol.StepDone), step("2/1", protocol.StepDone), step("2/2", protocol.StepDone)}, "", false},
	} {
		if path, interrupted := Next(seq, c.steps); path != c.path || interrupted != c.interrupted {
			t.Errorf("%+v: %q %v, want %q %v", c.steps, path, interrupted, c.path, c.interrupted)
		}
	}
}

// TestStepOf: what a machine says is cut to what is kept, and a step begins once.
func TestStepOf(t *testing.T) {
	seq, err := sequence.Parse([]byte("name: s\nsteps:\n  - {name: Copy, run-command: {command: a}}\n"))
	if err != nil {
		t.Fatal(err)
	}
	leaf := seq.Leaves()[0]
	first := StepOf(&protocol.StepStatus{Path: "1", State: protocol.StepStarted, Percent: -5, Message: " one\ntwo\x1b[31m "}, &leaf, &StepRecord{}, noon)
	if first.Name != "Copy" || first.Kind != "run-command" || first.Attempt != 1 || first.Percent != 0 || !first.Started.Equal(noon) || first.Message != "one two [31m" {
		t.Errorf("%+v", first)
	}
	long := &protocol.StepStatus{Path: "1", State: protocol.StepDone, Percent: 150, Message: strings.Repeat("ü", protocol.MaxMessage), Output: strings.Repeat("o", 2*protocol.MaxTail)}
	done := StepOf(long, &leaf, &first, noon.Add(time.Minute))
	if done.Percent != 100 || len(done.Message) > protocol.MaxMessage || len(done.Output) != protocol.MaxTail || !done.Started.Equal(noon) || !done.Ended.Equal(noon.Add(time.Minute)) {
		t.Errorf("%v %d %d %s %s", done.Percent, len(done.Message), len(done.Output), done.Started, done.Ended)
	}
	// One that begins again after its end begins anew.
	if again := StepOf(&protocol.StepStatus{Path: "1", State: protocol.StepStarted}, &leaf, &done, noon.Add(time.Hour)); !again.Started.Equal(noon.Add(time.Hour)) {
		t.Errorf("%+v", again)
	}
}

func TestTickets(t *testing.T) {
	one, hash := NewTicket()
	two, _ := NewTicket()
	if one == two || HashTicket(" "+strings.ToUpper(one)+"\n") != hash || HashTicket(two) == hash || strings.Contains(hash, one) {
		t.Errorf("%s %s %s", one, two, hash)
	}
}
