package monitor

import (
	"slices"
	"strings"

	"castpoint/deploy"
	"castpoint/deploy/rollout"
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
	State   string  `json:"state"` // waiting, a rollout.State, or unknown
	Again   bool    `json:"again,omitempty"`
	Gone    bool    `json:"gone,omitempty"` // not in the collection any more
	Percent float64 `json:"percent"`
	// Refused: it wanted to begin, and could not.
	Refused *rollout.Refusal `json:"refused,omitempty"`
	Run     *rollout.Run     `json:"run,omitempty"`
}

// States of targets that are no rollout.State of a run.
const (
	TargetWaiting = "waiting"
	TargetUnknown = "unknown"
)

// Status says how far a deployment is, and where each of its devices is. Devices
// that have left the collection are listed when they have run it.
func (m *Monitor) Status(text string) (rollout.Deployment, Counts, []Target, error) {
	d, err := m.cfg.Register.Deployment(text)
	if err != nil {
		return rollout.Deployment{}, Counts{}, nil, err
	}
	counts, list, err := m.look(&d)
	if err != nil {
		return rollout.Deployment{}, Counts{}, nil, err
	}
	keys := make(map[string]string, len(list)) // they are compared often
	for i := range list {
		keys[list[i].Device] = strings.ToLower(list[i].Label) + list[i].Device
	}
	slices.SortFunc(list, func(a, b Target) int { return strings.Compare(keys[a.Device], keys[b.Device]) })
	return d, counts, list, nil
}

// Counts is Status without the devices.
func (m *Monitor) Counts(d *rollout.Deployment) (Counts, error) {
	counts, _, err := m.look(d)
	return counts, err
}

// look finds the devices of a deployment, in no order, and counts them.
func (m *Monitor) look(d *rollout.Deployment) (counts Counts, list []Target, err error) {
	runs, again := m.cfg.Register.Progress(d.ID)
	refusals := m.cfg.Register.Refusals(d.ID)
	counts.Untold, err = m.cfg.Register.Collections.EachMember(d.Collection, func(one *deploy.Device) {
		run, has := runs[one.ID]
		delete(runs, one.ID)
		if one.Protected {
			counts.Protected++
			return
		}
		t := Target{Device: one.ID, Label: one.Label(), State: TargetWaiting, Again: again[one.ID]}
		if len(one.MACs) > 0 {
			t.MAC = one.MACs[0]
		}
		if has {
			t.take(&run)
		}
		if why, ok := refusals[one.ID]; ok {
			t.Refused = &why
		}
		list = append(list, t)
	})
	if err != nil {
		return Counts{}, nil, err
	}
	for _, run := range runs {
		t := Target{Device: run.Device, Label: run.Label, Gone: true}
		t.take(&run)
		list = append(list, t)
	}
	counts.add(list)
	return counts, list, nil
}

func (t *Target) take(r *rollout.Run) {
	t.Run, t.State, t.Percent = r, string(r.State), r.Percent()
	if r.Late {
		t.State = TargetUnknown
	}
}

func (c *Counts) add(list []Target) {
	failed, at := make(map[StepCount]int), make(map[StepCount]int)
	total := 0.0
	for i := range list {
		t := &list[i]
		if t.Gone && (t.State != string(rollout.StateRunning) && t.State != string(rollout.StateAsking) && t.State != string(rollout.StateRestarting)) {
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
		case string(rollout.StateSucceeded):
			c.Succeeded++
			total += 100
		case string(rollout.StateFailed):
			c.Failed++
			failed[step]++
		case string(rollout.StateCancelled):
			c.Cancelled++
		case TargetUnknown:
			c.Unknown++
		default:
			if state == string(rollout.StateAsking) {
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
