package rollout

import (
	"encoding/csv"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Counts are how far a deployment is.
type Counts struct {
	Targets   int `json:"targets"`   // devices that it is for, without those that are protected
	Protected int `json:"protected"` // in its collection, and left alone
	Untold    int `json:"untold"`    // whose inventory has to show whether they are in it
	Waiting   int `json:"waiting"`   // have not begun, or are to begin again
	Running   int `json:"running"`
	Asking    int `json:"asking"` // of the running ones: wait for a person
	Succeeded int `json:"succeeded"`
	Failed    int `json:"failed"`
	Cancelled int `json:"cancelled"`
	Unknown   int `json:"unknown"` // running, and nothing was heard for a long time
	// Percent is how much of all targets' steps is done.
	Percent float64 `json:"percent"`
	// SuccessRate is the share of those that have ended, in percent; 0 when none
	// has.
	SuccessRate float64 `json:"success_rate"`
	// FailedBy counts failures by the step.
	FailedBy []StepCount `json:"failed_by,omitempty"`
	// At counts running devices by the step that they are at.
	At []StepCount `json:"at,omitempty"`
}

// StepCount is how many devices are at a step, or failed there.
type StepCount struct {
	Number int    `json:"number"`
	Name   string `json:"name"`
	Count  int    `json:"count"`
}

// Target is one device of a deployment.
type Target struct {
	Device  string  `json:"device"` // id
	Label   string  `json:"label"`
	MAC     string  `json:"mac,omitempty"`
	State   string  `json:"state"` // waiting, a State, or unknown
	Again   bool    `json:"again,omitempty"`
	Gone    bool    `json:"gone,omitempty"` // not in the collection any more
	Percent float64 `json:"percent"`
	Run     *Run    `json:"run,omitempty"`
}

// States of targets that are no State of a run.
const (
	TargetWaiting = "waiting"
	TargetUnknown = "unknown"
)

// Status says how far a deployment is, and where each of its devices is. Devices
// that have left the collection are listed when they have run it.
func (g *Register) Status(text string) (Deployment, Counts, []Target, error) {
	d, err := g.Deployment(text)
	if err != nil {
		return Deployment{}, Counts{}, nil, err
	}
	members, untold, err := g.Members(d.Collection)
	if err != nil {
		return Deployment{}, Counts{}, nil, err
	}
	counts := Counts{Untold: untold}
	var list []Target
	listed := make(map[string]bool)
	now := g.now()
	g.mu.RLock()
	defer g.mu.RUnlock()
	for i := range members {
		one := &members[i]
		listed[one.ID] = true
		if one.Protected {
			counts.Protected++
			continue
		}
		t := Target{Device: one.ID, Label: one.Label(), State: TargetWaiting}
		if len(one.MACs) > 0 {
			t.MAC = one.MACs[0]
		}
		if e := g.last[one.ID][d.ID]; e != nil {
			t.take(e.run, now)
		}
		t.Again = g.onceMore[d.ID][one.ID]
		list = append(list, t)
	}
	for _, e := range g.runs {
		if e.run.Deployment == d.ID && !listed[e.run.Device] {
			t := Target{Device: e.run.Device, Label: e.run.Label, Gone: true}
			t.take(e.run, now)
			list = append(list, t)
		}
	}
	slices.SortFunc(list, func(a, b Target) int {
		return strings.Compare(strings.ToLower(a.Label)+a.Device, strings.ToLower(b.Label)+b.Device)
	})
	counts.add(list)
	return d, counts, list, nil
}

func (t *Target) take(r *Run, now time.Time) {
	shown := r.shown(now)
	t.Run, t.State, t.Percent = &shown, string(r.State), r.Percent()
	if shown.Late {
		t.State = TargetUnknown
	}
}

func (c *Counts) add(list []Target) {
	failed, at := make(map[StepCount]int), make(map[StepCount]int)
	total := 0.0
	for i := range list {
		t := &list[i]
		if t.Gone && (t.State != string(StateRunning) && t.State != string(StateAsking) && t.State != string(StateRestarting)) {
			continue // history of a device that it is not for any more
		}
		c.Targets++
		step := StepCount{}
		if t.Run != nil {
			step = StepCount{Number: t.Run.Step.Number, Name: t.Run.Step.Name}
		}
		state := t.State
		if t.Again {
			state = TargetWaiting
		}
		switch state {
		case TargetWaiting:
			c.Waiting++
		case string(StateSucceeded):
			c.Succeeded++
			total += 100
		case string(StateFailed):
			c.Failed++
			failed[step]++
		case string(StateCancelled):
			c.Cancelled++
		case TargetUnknown:
			c.Unknown++
		default:
			if state == string(StateAsking) {
				c.Asking++
			}
			c.Running++
			at[step]++
			total += t.Percent
		}
	}
	if c.Targets > 0 {
		c.Percent = total / float64(c.Targets)
	}
	if ended := c.Succeeded + c.Failed; ended > 0 {
		c.SuccessRate = 100 * float64(c.Succeeded) / float64(ended)
	}
	c.FailedBy, c.At = stepCounts(failed), stepCounts(at)
}

func stepCounts(m map[StepCount]int) (list []StepCount) {
	for s, n := range m {
		s.Count = n
		list = append(list, s)
	}
	slices.SortFunc(list, func(a, b StepCount) int { return a.Number - b.Number })
	return list
}

// WriteCSV writes a deployment's devices as a table.
func WriteCSV(w io.Writer, list []Target) error {
	out := csv.NewWriter(w)
	_ = out.Write([]string{"device", "mac", "state", "percent", "step", "steps", "step name", "exit code", "message", "sequence", "revision", "started", "ended", "seconds", "run"})
	for i := range list {
		t := &list[i]
		row := []string{safeCell(t.Label), t.MAC, t.State, strconv.FormatFloat(t.Percent, 'f', 0, 64)}
		if r := t.Run; r == nil {
			row = append(row, make([]string, 11)...)
		} else {
			code, ended, seconds := "", "", ""
			if r.Step.ExitCode != nil {
				code = strconv.Itoa(*r.Step.ExitCode)
			}
			if !r.Ended.IsZero() {
				ended, seconds = r.Ended.Format(time.RFC3339), fmt.Sprintf("%.0f", r.Ended.Sub(r.Started).Seconds())
			}
			message := r.Message
			if message == "" {
				message = r.Step.Message
			}
			row = append(row, strconv.Itoa(r.Step.Number), strconv.Itoa(r.Total), safeCell(r.Step.Name), code, safeCell(message),
				r.Sequence, strconv.Itoa(r.Revision), r.Started.Format(time.RFC3339), ended, seconds, r.ID)
		}
		_ = out.Write(row) // Flush and Error say what went wrong
	}
	out.Flush()
	if err := out.Error(); err != nil {
		return fmt.Errorf("write the report: %w", err)
	}
	return nil
}

// safeCell keeps office programs from taking a machine's text for a formula.
func safeCell(s string) string {
	if s != "" && strings.ContainsRune("=+-@\t\r", rune(s[0])) {
		return "'" + s
	}
	return s
}
