package rollouts

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"castpoint/deploy/monitor"
	"castpoint/deploy/revision"
	"castpoint/deploy/rollout"
	"castpoint/web/admin/deployments"
)

// says fails the test unless a text has all parts and none of the others.
func says(t *testing.T, text string, parts []string, others ...string) {
	t.Helper()
	flat := strings.Join(strings.Fields(text), " ")
	for _, part := range parts {
		if !strings.Contains(flat, part) {
			t.Errorf("no %q in:\n%s", part, text)
		}
	}
	for _, part := range others {
		if strings.Contains(flat, part) {
			t.Errorf("%q is in:\n%s", part, text)
		}
	}
}

func TestDeploymentIsShown(t *testing.T) {
	at := time.Date(2026, 3, 2, 12, 0, 0, 0, time.Local)
	s := deployments.DeploymentStatus{
		Deployment:     rollout.Deployment{ID: "d1", Name: "lab", Sequence: "install", Collection: "4750038511", Purpose: rollout.Required, MaxSize: 100},
		CollectionName: "room-101",
		Counts:         monitor.Counts{Targets: 4, Succeeded: 2, Failed: 1, Waiting: 1, SuccessRate: 66.7},
		Targets: []monitor.Target{
			{Label: "pc-1", State: "waiting", Refused: &rollout.Refusal{Time: at, Text: "sequence install needs values for Key"}},
			{Label: "pc-2", State: "failed", Refused: &rollout.Refusal{Time: at, Text: "wrong password"}, Run: &rollout.Run{Heard: at.Add(time.Hour), Message: "step Disk: no", Total: 3}},
		},
	}
	var out bytes.Buffer
	if err := printDeployment(&out, &s.Deployment, s.CollectionName); err != nil {
		t.Fatal(err)
	}
	if err := printStatus(&out, &s); err != nil {
		t.Fatal(err)
	}
	says(t, out.String(), []string{
		"collection room-101 (4750038511)", "maximum size 100", "67% of those that have ended succeeded",
		"did not begin at 2026-03-02 12:00:00: sequence install needs values for Key", "step Disk: no",
	}, "confirmed", "wrong password")
	s.Deployment.ConfirmedSize = 240
	out.Reset()
	if err := printDeployment(&out, &s.Deployment, s.CollectionName); err != nil {
		t.Fatal(err)
	}
	says(t, out.String(), []string{"maximum size 100; 240 are confirmed"})
}

func TestRunIsShown(t *testing.T) {
	code := 3
	r := deployments.RunDetails{
		Run: rollout.Run{ID: "r1", Label: "pc-1", Sequence: "install", State: rollout.StateFailed, Total: 3, Variables: map[string]string{"Owner": "ada", "Printed": "one\ntwo"},
			Step: rollout.StepRecord{Path: "2", Number: 3, Name: "Apply"}},
		Steps: []rollout.StepRecord{
			{Path: "1/1", Number: 1, Name: "Look", Kind: "run-command", State: "done", Attempt: 1, Output: "two disks\n"},
			{Path: "1/2", Number: 2, Name: "Optional", State: "failed", Advice: "see the output of the step"},
			{Path: "2", Number: 3, Name: "Apply", State: "failed", ExitCode: &code, Advice: "make the partition larger", Output: "no room"},
		},
	}
	var out bytes.Buffer
	if err := printRun(&out, &r); err != nil {
		t.Fatal(err)
	}
	says(t, out.String(), []string{"variable Owner=ada", "variable Printed=one ...", "step 3: make the partition larger", "no room"}, "see the output", "two disks")
	for _, text := range []string{"1/1", "1", "look"} {
		out.Reset()
		if err := printStep(&out, &r, text); err != nil {
			t.Fatal(err)
		}
		says(t, out.String(), []string{"step 1 (1/1)", "action run-command", "the last that it printed: two disks"})
	}
	if err := printStep(&out, &r, "9"); err == nil || !strings.Contains(err.Error(), `no step "9"`) {
		t.Error(err)
	}
}

func TestSequenceSaysWhatItNeeds(t *testing.T) {
	var all []string
	for _, row := range needs("name: s\nvariables: {Role: {choices: [a, b], required: true}, Key: {secret: true, description: Of Windows}, Size: \"5\"}\ncontents: [win11]\nsteps: [{restart: {into: disk}}]\n") {
		all = append(all, strings.Join(row, " "))
	}
	says(t, strings.Join(all, "\n"), []string{"variable Key (secret; Of Windows)", "variable Role (required; one of a, b)", "variable Size=5", "content win11"})
	for want, q := range map[string]revision.SequenceText{
		"1":                       {SequenceInfo: revision.SequenceInfo{Revision: 1}, Revisions: []int{1}},
		"2; kept beside it: 1, 3": {SequenceInfo: revision.SequenceInfo{Revision: 2}, Revisions: []int{1, 2, 3}},
	} {
		if got := revisions(&q); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}

func TestRuleMistakesNameWhatThereIs(t *testing.T) {
	_, err := parseRule("nam=pc-*")
	if err == nil || !strings.Contains(err.Error(), "manufacturer") || !strings.Contains(err.Error(), "unknown") {
		t.Error(err)
	}
}
