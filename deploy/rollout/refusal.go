package rollout

import (
	"errors"
	"fmt"
	"maps"
	"strings"
	"time"

	"castpoint/deploy"
)

// Refusal is why a run could not begin, the last time that a machine wanted to.
type Refusal struct {
	Time time.Time `json:"time"`
	Text string    `json:"text"`
}

// refusalAgain is how long the timeline does not say the same of a machine once more: it
// starts anew, and asks again, each minute.
const refusalAgain = time.Hour

// Refused notes that a machine wanted to begin a deployment, and why it could not. What
// is no refusal (the server failed) is left out. device is one that is on record, or
// what is known of one that is not.
func (g *Register) Refused(deployment string, device *deploy.Device, why error) {
	d, err := g.Deployment(deployment)
	if err != nil {
		return
	}
	now := g.now().UTC()
	text := strings.TrimPrefix(why.Error(), ErrRefused.Error()+": ")
	fresh := true
	if device.ID != "" {
		g.mu.Lock()
		if g.refusals[d.ID] == nil {
			g.refusals[d.ID] = make(map[string]Refusal)
		}
		old := g.refusals[d.ID][device.ID]
		fresh = old.Text != text || now.Sub(old.Time).Abs() > refusalAgain || errors.Is(why, ErrPassword)
		if fresh {
			g.refusals[d.ID][device.ID] = Refusal{Time: now, Text: text}
		}
		g.mu.Unlock()
	}
	if fresh {
		g.tell(device, "", true, "", fmt.Sprintf("deployment %s does not begin: %s", d.Name, text))
	}
}

// Refusals are why runs of a deployment could not begin, by device. They end when one
// begins, and with the server.
func (g *Register) Refusals(deployment string) map[string]Refusal {
	g.mu.RLock()
	defer g.mu.RUnlock()
	return maps.Clone(g.refusals[deployment])
}
