package rollout

import (
	"castpoint/boot"
	"castpoint/deploy"
	"castpoint/deploy/collection"
)

// Apply adds to what the records say of a client that netboots what is deployed to
// it: required deployments boot it without a question, available ones when somebody
// presses a key, and with neither it boots from its disk. why has one sentence for
// each rule. It changes nothing.
func (g *Register) Apply(r deploy.Ruling, c boot.Client) (_ deploy.Ruling, why []string) {
	r, _, why = g.apply(r, c)
	return r, why
}

// Offers are the names of the deployments that a client runs when it netboots now, or
// out of which a person there chooses, and why.
func (g *Register) Offers(r deploy.Ruling, c boot.Client) (names, why []string) {
	_, d, why := g.apply(r, c)
	for i := range d.Offers {
		names = append(names, d.Offers[i].Deployment.Name)
	}
	return names, why
}

func (g *Register) apply(r deploy.Ruling, c boot.Client) (_ deploy.Ruling, d Decision, why []string) {
	if r.Record.Silent != "" || r.Record.Waiting {
		return r, d, nil
	}
	m := collection.Machine{Device: r.Device}
	if c.HasArch {
		m.Architecture, m.Firmware = collection.ArchOf(c.Arch)
	}
	d = g.Decide(m, "")
	why = d.Why
	switch d.Mode {
	case ModeGeneral:
		return r, d, why
	case ModeLocal:
		r.Change = r.Change.Then(changeLocal)
		why = append(why, "nothing is deployed to it now: it boots from its disk")
	case ModeAvailable:
		r.Change = changeAsk.Then(r.Change)
		why = append(why, "what is available boots when somebody presses a key")
	case ModeInventory:
		r.Change = changeNoAsk.Then(r.Change)
		why = append(why, "it boots the boot environment, whose agent reports what it is")
	case ModeRequired:
		r.Change = changeNoAsk.Then(r.Change)
		why = append(why, "what is required boots without a question")
	}
	if r.Record.BootImage == "" {
		r.Record.BootImage = d.BootImage
	}
	return r, d, why
}

// The boot settings that deployments change.
var (
	changeLocal = mustChange("chain=local")
	changeAsk   = mustChange("ask=yes")
	changeNoAsk = mustChange("ask=no")
)

func mustChange(word string) boot.Change {
	c, err := boot.ParseChange([]string{word})
	if err != nil {
		panic(err) // the words above are right
	}
	return c
}
