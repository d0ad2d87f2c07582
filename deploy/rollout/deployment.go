package rollout

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"castpoint/agent/protocol"
	"castpoint/deploy/named"
)

// Purpose says who begins a deployment's runs.
type Purpose string

// The purposes.
const (
	Required  Purpose = "required"  // the machine, by itself
	Available Purpose = "available" // somebody at the machine
)

// Rerun says when a device runs a deployment again that it has run.
type Rerun string

// The ways of running again. In all of them "deploy again" does.
const (
	RerunNever     Rerun = "never"
	RerunFailed    Rerun = "if-failed"
	RerunSucceeded Rerun = "if-succeeded"
	RerunAlways    Rerun = "always"
)

// Deployment gives the devices of a collection a sequence.
type Deployment struct {
	ID         string  `json:"id"`
	Name       string  `json:"name"`
	Notes      string  `json:"notes,omitempty"`
	Sequence   string  `json:"sequence"`   // name
	Collection string  `json:"collection"` // id
	Purpose    Purpose `json:"purpose"`
	Disabled   bool    `json:"disabled,omitempty"` // no runs begin; those that have begun go on
	// NetworkOnly: only machines that have booted from the network get it, not
	// agents that were started in a running system.
	NetworkOnly bool `json:"network_only,omitempty"`
	// Hidden: only machines whose variable PreferredDeployment names it, or whose
	// user types its name, get it.
	Hidden bool      `json:"hidden,omitempty"`
	Start  time.Time `json:"start,omitzero"`  // not before
	End    time.Time `json:"end,omitzero"`    // no run begins after it
	Hours  string    `json:"hours,omitempty"` // 22:00-05:00, of the server's clock; runs begin in them only
	Rerun  Rerun     `json:"rerun"`
	// Confirm: somebody at the machine has to say yes.
	Confirm bool `json:"confirm,omitempty"`
	// Password: somebody at the machine has to type it. The hash is not shown.
	Password     bool   `json:"password,omitempty"`
	PasswordHash string `json:"-"`
	// MaxSize is how many devices a required deployment may be for without
	// somebody having confirmed their number; ConfirmedSize is that number.
	MaxSize       int    `json:"max_size"`
	ConfirmedSize int    `json:"confirmed_size,omitempty"`
	Wake          bool   `json:"wake,omitempty"`  // Wake-on-LAN before a required start
	After         string `json:"after,omitempty"` // what machines do at the end: poweroff, reboot, wait
	// AlertBelow is the success rate in percent below which people are told, once
	// AlertAfter devices have ended; 0 never tells.
	AlertBelow int       `json:"alert_below,omitempty"`
	AlertAfter int       `json:"alert_after,omitempty"`
	Created    time.Time `json:"created"`
	Changed    time.Time `json:"changed"`
	By         string    `json:"by,omitempty"` // who made it
}

// PreferredDeployment is the variable that names a hidden deployment for a device.
const PreferredDeployment = "PreferredDeployment"

// DefaultMaxSize is MaxSize when nothing is said.
const DefaultMaxSize = 100

// record is how a deployment is kept: with what is not shown.
type record struct {
	Deployment
	Hash string `json:"hash,omitempty"`
}

var hoursPattern = regexp.MustCompile(`^([01][0-9]|2[0-3]):([0-5][0-9])-([01][0-9]|2[0-3]):([0-5][0-9])$`)

func (d *Deployment) normalize() error {
	d.Name, d.Notes = strings.TrimSpace(d.Name), strings.TrimSpace(d.Notes)
	if d.Purpose == "" {
		d.Purpose = Available
	}
	if d.Rerun == "" {
		if d.Rerun = RerunAlways; d.Purpose == Required {
			d.Rerun = RerunNever
		}
	}
	if d.MaxSize == 0 {
		d.MaxSize = DefaultMaxSize
	}
	if err := named.Check(d.Name); err != nil {
		return err
	}
	switch {
	case d.Purpose != Required && d.Purpose != Available:
		return named.Invalid("purpose %q: want %s or %s", d.Purpose, Required, Available)
	case !slices.Contains([]Rerun{RerunNever, RerunFailed, RerunSucceeded, RerunAlways}, d.Rerun):
		return named.Invalid("rerun %q: want %s, %s, %s or %s", d.Rerun, RerunNever, RerunFailed, RerunSucceeded, RerunAlways)
	case d.Hours != "" && !hoursPattern.MatchString(d.Hours):
		return named.Invalid("hours %q: want FROM-TO, as in 22:00-05:00", d.Hours)
	case !d.Start.IsZero() && !d.End.IsZero() && !d.End.After(d.Start):
		return named.Invalid("it ends (%s) before it starts (%s)", d.End.Format(time.RFC3339), d.Start.Format(time.RFC3339))
	case d.MaxSize < 1:
		return named.Invalid("maximum size %d: want 1 or more", d.MaxSize)
	case !slices.Contains([]string{"", protocol.AfterPoweroff, protocol.AfterReboot, protocol.AfterWait}, d.After):
		return named.Invalid("after %q: want %s, %s or %s", d.After, protocol.AfterPoweroff, protocol.AfterReboot, protocol.AfterWait)
	case d.AlertBelow < 0 || d.AlertBelow > 100 || d.AlertAfter < 0:
		return named.Invalid("an alert is below 1 to 100 percent, after 1 or more devices")
	case d.Hidden && d.Purpose == Required:
		return named.Invalid("a hidden deployment is available, not required: nothing would begin it")
	case len(d.Notes) > named.MaxNotes:
		return named.Invalid("notes: want at most %d bytes of text", named.MaxNotes)
	}
	if d.AlertBelow > 0 && d.AlertAfter == 0 {
		d.AlertAfter = 1
	}
	return nil
}

// open says whether runs may begin at a time; why not otherwise. soon is the start
// when it is near.
func (d *Deployment) open(now time.Time) (ok bool, soon time.Time, why string) {
	switch {
	case d.Disabled:
		return false, time.Time{}, "it is disabled"
	case now.Before(d.Start):
		if d.Start.Sub(now) <= soonTime {
			soon = d.Start
		}
		return false, soon, "it starts " + d.Start.Local().Format(time.DateTime)
	case !d.End.IsZero() && !now.Before(d.End):
		return false, time.Time{}, "it ended " + d.End.Local().Format(time.DateTime)
	}
	if d.Hours == "" {
		return true, time.Time{}, ""
	}
	if !within(d.Hours, now.Local()) {
		return false, time.Time{}, "it is outside its hours, " + d.Hours
	}
	return true, time.Time{}, ""
}

// within says whether a clock on the wall shows a time in hours, FROM-TO. When clocks
// are put forward, hours that there are not are left out; when they are put back,
// those that come twice count twice.
func within(hours string, wall time.Time) bool {
	m := hoursPattern.FindStringSubmatch(hours)
	var at [4]int
	for i := range at {
		_, _ = fmt.Sscan(m[i+1], &at[i]) // the pattern has digits there
	}
	from, to := at[0]*60+at[1], at[2]*60+at[3]
	minute := wall.Hour()*60 + wall.Minute()
	if from >= to { // over midnight
		return minute >= from || minute < to
	}
	return minute >= from && minute < to
}

// again says whether a device that has run the deployment runs it once more.
func (d *Deployment) again(last *Run, flagged bool) (ok bool, why string) {
	switch {
	case flagged:
		return true, "somebody has asked for it again"
	case last == nil:
		return true, "it has not run yet"
	case d.Rerun == RerunAlways:
		return true, "it runs again always"
	case d.Rerun == RerunFailed && last.State != StateSucceeded:
		return true, "it has failed, and runs again then"
	case d.Rerun == RerunSucceeded && last.State == StateSucceeded:
		return true, "it has succeeded, and runs again then"
	}
	return false, fmt.Sprintf("it has run (%s, %s), and runs again: %s; castpoint deployment again %s --device %s", last.State, last.Ended.Local().Format(time.DateTime), d.Rerun, d.ID, last.Device)
}
