package rollout

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"castpoint/deploy/collection"
)

// Mode says how a machine boots, as far as deployments decide it.
type Mode string

// The modes.
const (
	ModeGeneral   Mode = ""          // there are no deployments: the general settings hold
	ModeRequired  Mode = "required"  // into the boot environment, without a question
	ModeAvailable Mode = "available" // the same, when somebody presses a key
	ModeLocal     Mode = "local"     // from its own disk: there is nothing to do
	ModeInventory Mode = "inventory" // as required: what it is has to be found out first
)

// soonTime is how long before its start a required deployment boots machines, which
// wait for it then.
const soonTime = 5 * time.Minute

// Offer is a deployment that a machine may run now.
type Offer struct {
	Deployment Deployment
	// Run is the one that goes on; nil for one that begins.
	Run *Run
}

// Decision is what deployments say of a machine.
type Decision struct {
	Mode Mode
	// Offers: one that is required, or one that goes on, or those that are
	// available.
	Offers []Offer
	// Soon is when a required deployment starts; zero when none does.
	Soon time.Time
	// BootImage is the one that the sequence wants; "" for the general one.
	BootImage string
	// Why is one sentence for each deployment that was looked at.
	Why []string
}

// Decide says what a machine gets. prefer names a deployment that is hidden. It
// waits for no disk and changes nothing.
func (g *Register) Decide(m collection.Machine, prefer string) Decision {
	g.mu.RLock()
	list := make([]*Deployment, 0, len(g.deployments))
	for _, d := range g.deployments {
		list = append(list, d)
	}
	g.mu.RUnlock()
	if len(list) == 0 {
		return Decision{}
	}
	// The oldest first: of several required ones a machine gets that.
	slices.SortFunc(list, func(a, b *Deployment) int {
		return strings.Compare(a.Created.Format(time.RFC3339Nano)+a.ID, b.Created.Format(time.RFC3339Nano)+b.ID)
	})
	d := decider{register: g, machine: &m, now: g.now(), prefer: prefer}
	if m.Device != nil {
		if m.Device.Protected {
			d.say("it is protected: nothing is deployed to it")
			d.Mode = ModeLocal
			return d.Decision
		}
		if d.prefer == "" {
			d.prefer = m.Device.Variables[PreferredDeployment]
		}
	}
	for _, one := range list {
		d.look(one)
	}
	return d.end()
}

type decider struct {
	Decision
	register  *Register
	machine   *collection.Machine
	now       time.Time
	prefer    string
	goesOn    []Offer
	required  []Offer
	available []Offer
	inventory bool
	onDisk    bool
}

func (d *decider) say(format string, args ...any) {
	d.Why = append(d.Why, fmt.Sprintf(format, args...))
}

// look goes through the rules for one deployment.
func (d *decider) look(one *Deployment) {
	g := d.register
	say := func(format string, args ...any) { d.say("deployment "+one.Name+": "+format, args...) }
	c := g.Collections.ByID(one.Collection)
	g.mu.RLock()
	var last *Run
	flagged := false
	if d.machine.Device != nil {
		id := d.machine.Device.ID
		if e := g.last[id][one.ID]; e != nil {
			last = e.run
		}
		flagged = g.onceMore[one.ID][id]
	}
	g.mu.RUnlock()
	if last != nil && last.Cancelling() {
		// A machine that boots is not at work any more.
		say("its run on the machine was cancelled by %s", last.Order.By)
		last = last.Clone()
		last.State, last.Ended, last.Order = StateCancelled, last.Order.Time, nil
	}
	if last != nil && !flagged && (!last.State.Ended() || last.Lost || last.Order != nil && last.Order.Path != "") {
		if g.onDisk(last) {
			say("the machine is in the middle of it, and goes on in the system on its disk (step %d of %d)", last.Step.Number, last.Total)
			d.onDisk = true
			return
		}
		say("the machine is in the middle of it (%s, step %d of %d)", last.State, last.Step.Number, last.Total)
		d.goesOn = append(d.goesOn, Offer{*one, last})
		return
	}
	if c == nil {
		return
	}
	v, how := c.Holds(d.machine)
	switch v {
	case collection.No:
		say("the machine is not in collection %s", c.Name)
		return
	case collection.Maybe:
		if one.Disabled {
			return
		}
		say("whether the machine is in collection %s is known when its agent has reported what it is", c.Name)
		d.inventory = true
		return
	}
	if ok, soon, why := one.open(d.now); !ok {
		if say("%s", why); !soon.IsZero() && one.Purpose == Required {
			d.Soon = soon
		}
		return
	}
	if one.Hidden && !strings.EqualFold(d.prefer, one.Name) && !strings.EqualFold(d.prefer, one.ID) {
		say("it is hidden, and nobody has named it")
		return
	}
	if seq := g.sequenceOf(&Offer{Deployment: *one}); seq != nil && len(seq.Architecture) > 0 {
		if arch, _ := d.machine.Hardware(); arch != "" && !slices.Contains(seq.Architecture, arch) {
			say("sequence %s is for %s, and the machine is %s", seq.Name, strings.Join(seq.Architecture, " and "), arch)
			return
		}
	}
	ok, why := one.again(last, flagged)
	if !ok {
		say("%s", why)
		return
	}
	if err := g.checkSize(one, c, d.machine.Device == nil); err != nil {
		say("%v", err)
		return
	}
	say("the machine is in collection %s (%s); %s; %s", c.Name, how, why, one.Purpose)
	if one.Purpose == Required {
		d.required = append(d.required, Offer{*one, nil})
	} else {
		d.available = append(d.available, Offer{*one, nil})
	}
}

// end puts what was found together.
func (d *decider) end() Decision {
	switch {
	case d.onDisk:
		d.Mode = ModeLocal
	case len(d.goesOn) > 0:
		// The last one that it was heard of in.
		slices.SortFunc(d.goesOn, func(a, b Offer) int { return b.Run.Heard.Compare(a.Run.Heard) })
		d.Mode, d.Offers = ModeRequired, d.goesOn[:1]
	case len(d.required) > 0:
		d.Mode, d.Offers = ModeRequired, d.required[:1]
	case !d.Soon.IsZero():
		d.Mode = ModeRequired
	case len(d.available) > 0:
		d.Mode, d.Offers = ModeAvailable, d.available
	case d.inventory:
		d.Mode = ModeInventory
	default:
		d.Mode = ModeLocal
	}
	if len(d.Offers) == 1 {
		if s := d.register.sequenceOf(&d.Offers[0]); s != nil {
			d.BootImage = s.BootImage
		}
	}
	return d.Decision
}
