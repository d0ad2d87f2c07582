package rollout

import "fmt"

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
// after the rate has been right.
func (g *Register) checkAlert(id string) {
	g.mu.RLock()
	d := g.deployments[id]
	told := g.alerted[id]
	g.mu.RUnlock()
	if d == nil || d.AlertBelow == 0 {
		return
	}
	_, counts, _, err := g.Status(id)
	if err != nil || counts.Succeeded+counts.Failed < d.AlertAfter {
		return
	}
	low := counts.SuccessRate < float64(d.AlertBelow)
	g.mu.Lock()
	g.alerted[id] = low
	g.mu.Unlock()
	if !low || told {
		return
	}
	text := fmt.Sprintf("deployment %s: %.0f%% of %d devices that have ended have succeeded, below %d%%", d.Name, counts.SuccessRate, counts.Succeeded+counts.Failed, d.AlertBelow)
	if len(counts.FailedBy) > 0 {
		most := counts.FailedBy[0]
		for _, s := range counts.FailedBy {
			if s.Count > most.Count {
				most = s
			}
		}
		text += fmt.Sprintf("; %d of them failed in step %d, %s", most.Count, most.Number, most.Name)
	}
	g.cfg.Notify(Notice{Kind: NoticeSuccessRate, Deployment: d.Name, ID: d.ID, Text: text, Counts: counts})
}
