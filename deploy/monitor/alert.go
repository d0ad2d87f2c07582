package monitor

import (
	"fmt"
	"slices"
)

// Notice is something that people are to be told of.
type Notice struct {
	Kind       string `json:"kind"` // success-rate
	Deployment string `json:"deployment"`
	ID         string `json:"id"`
	Text       string `json:"text"`
	Counts     Counts `json:"counts"`
}

// NoticeSuccessRate says that the success rate of a deployment is below what was set.
const NoticeSuccessRate = "success-rate"

// checkAlert tells people, once, when a deployment goes wrong. It tells them again
// after the rate has been right, and after the deployment was changed.
func (m *Monitor) checkAlert(id string) {
	d, err := m.cfg.Register.Deployment(id)
	if err != nil || d.AlertBelow == 0 {
		return
	}
	_, counts, _, err := m.Status(id)
	if err != nil || counts.Succeeded+counts.Failed < d.AlertAfter {
		return
	}
	low := counts.SuccessRate < float64(d.AlertBelow)
	m.mu.Lock()
	at, told := m.alerted[id]
	told = told && at.Equal(d.Changed)
	if low {
		m.alerted[id] = d.Changed
	} else {
		delete(m.alerted, id)
	}
	m.mu.Unlock()
	if !low || told {
		return
	}
	text := fmt.Sprintf("deployment %s: %.0f%% of %d devices that have ended have succeeded, below %d%%", d.Name, counts.SuccessRate, counts.Succeeded+counts.Failed, d.AlertBelow)
	if len(counts.FailedBy) > 0 {
		most := slices.MaxFunc(counts.FailedBy, func(a, b StepCount) int { return a.Count - b.Count })
		text += fmt.Sprintf("; %d of them failed in step %d, %s", most.Count, most.Number, most.Name)
	}
	m.cfg.Notify(Notice{Kind: NoticeSuccessRate, Deployment: d.Name, ID: d.ID, Text: text, Counts: counts})
}
