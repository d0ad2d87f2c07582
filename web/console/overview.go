package console

import (
	"cmp"
	"embed"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"time"

	"castpoint/agent/protocol"
	"castpoint/content"
	"castpoint/deploy"
	"castpoint/internal/event"
	"castpoint/web/admin"
	"castpoint/web/admin/deployments"
	"castpoint/web/console/frame"
	"castpoint/web/console/job"
	"castpoint/web/session"
)

//go:embed templates
var files embed.FS

// attention is something that somebody has to look at.
type attention struct {
	Bad  bool // else it is a note
	Text string
	Do   string // what to do: the text of the link
	To   string // page
}

// tile is one number that says how it is.
type tile struct {
	Label, Value, Says string
	To                 string
	Tone               string // of the number: bad, wait, run, ok, or nothing
}

// trouble is what kept machines from booting, one for all machines that met it.
type trouble struct {
	event.Event // the last one
	Times       int
	Machines    []machine // those that met it last, at most shownMachines
	More        int       // further ones
}

// machine is a link to what happened to one.
type machine struct{ Label, To string }

// overviewData is what the overview shows.
type overviewData struct {
	Status      admin.Status
	Tiles       []tile
	Attention   []attention
	Bad         int // of Attention
	Jobs        []job.Job
	Sessions    []session.Info // that run
	Deployments []deployments.DeploymentItem
	Waiting     deploy.Page
	Trouble     []trouble // newest first
	BootImage   bool      // there is one
	OSImage     bool
	Known       int
}

// recentEvents is how many events of all machines the overview looks at, recentTime
// how old they may be.
const (
	recentEvents = 500
	recentTime   = 24 * time.Hour
)

// shownTrouble is how many kinds of trouble it shows, shownMachines how many
// machines of each.
const (
	shownTrouble  = 8
	shownMachines = 5
)

func (c *Console) overview(r *http.Request) (*frame.Page, error) {
	d := overviewData{Jobs: c.Jobs().List(false)}
	if err := c.Get(r, "/status", &d.Status); err != nil {
		return nil, err
	}
	sessions, err := frame.All[session.Info](r, c.Frame, "/sessions")
	if err != nil {
		return nil, err
	}
	for _, s := range sessions {
		if s.Ended == nil {
			d.Sessions = append(d.Sessions, s)
		}
	}
	if d.Status.Devices != nil {
		if err := c.Get(r, "/devices?state="+string(deploy.StateWaiting)+"&limit=5", &d.Waiting); err != nil {
			return nil, err
		}
		var recent event.Page
		if err := c.Get(r, fmt.Sprintf("/timeline?limit=%d", recentEvents), &recent); err != nil {
			return nil, err
		}
		d.Trouble = c.troubles(r, recent.Events)
	}
	if err := c.overviewDeployments(r, &d); err != nil {
		return nil, err
	}
	contents, err := frame.All[*content.Content](r, c.Frame, "/contents")
	if err != nil {
		return nil, err
	}
	for _, ct := range contents {
		d.BootImage = d.BootImage || ct.Kind == content.KindBootImage
		d.OSImage = d.OSImage || ct.Kind == content.KindOSImage
	}
	d.Known = d.Status.Devices[deploy.StateKnown] + d.Status.Devices[deploy.StateImported]
	d.Attention = attentions(&d)
	if a, ok := lately(d.Trouble); ok {
		d.Attention = append(d.Attention, a)
	}
	if n, at := c.server.Attention(); n > 0 {
		d.Attention = append(d.Attention, attention{false, fmt.Sprintf("The doctor's visit of %s: %s attention.", at.Local().Format(time.DateTime), frame.Plural(n, "finding needs", "findings need")), "See what to do", "/doctor"})
	}
	for _, a := range d.Attention {
		if a.Bad {
			d.Bad++
		}
	}
	d.Tiles = tiles(&d)
	title := "Overview"
	if n := len(d.Attention); n > 0 {
		title = fmt.Sprintf("(%d) Overview", n) // for those who have it in the background
	}
	return &frame.Page{Title: title, Nav: "/", Body: "overview", Data: &d, Live: frame.Rather}, nil
}

// overviewDeployments fills in the deployments where something goes on, or has gone
// wrong.
func (c *Console) overviewDeployments(r *http.Request, d *overviewData) error {
	list, err := frame.All[deployments.DeploymentItem](r, c.Frame, "/deployments")
	var refused *protocol.Problem
	if errors.As(err, &refused) && refused.Status == http.StatusNotImplemented {
		return nil // a server that keeps no records
	}
	for _, one := range list {
		n := &one.Counts
		if n.Running+n.Failed+n.Asking+n.Unknown > 0 {
			d.Deployments = append(d.Deployments, one)
		}
	}
	return err
}

// troubles puts the same trouble of many machines into one.
func (c *Console) troubles(r *http.Request, events []event.Event) (list []trouble) {
	since := time.Now().Add(-recentTime)
	byText := map[string]int{}
	seen := map[string]map[string]bool{}
	for _, e := range slices.Backward(events) {
		if !e.Trouble || e.Time.Before(since) {
			continue
		}
		key := string(e.Kind) + " " + general(e.Message)
		i, ok := byText[key]
		if !ok {
			i = len(list)
			byText[key], seen[key] = i, map[string]bool{}
			list = append(list, trouble{Event: e})
		}
		list[i].Times++
		id := cmp.Or(e.MAC, e.UUID)
		switch {
		case id == "" || seen[key][id]:
		case len(list[i].Machines) < shownMachines && i < shownTrouble:
			list[i].Machines = append(list[i].Machines, c.machine(r, id))
			seen[key][id] = true
		default:
			list[i].More++
			seen[key][id] = true
		}
	}
	return list[:min(len(list), shownTrouble)]
}

// latelyTime is how old trouble may be that somebody is told of at once.
const latelyTime = 15 * time.Minute

// lately is what most machines have met in the last minutes. What is on record of
// them, that they wait for one, is told by itself.
func lately(list []trouble) (a attention, ok bool) {
	most := 0
	for _, one := range list {
		if n := len(one.Machines) + one.More; one.Kind != event.KindRecord && n > most && time.Since(one.Time) < latelyTime {
			most = n
			a = attention{false, fmt.Sprintf("%s trouble in the last minutes: %s", frame.Plural(n, "machine had", "machines had"), one.Message), "See which", "/#trouble"}
		}
	}
	return a, most > 0
}

// machine is what a machine is called: its record's name, if it has one.
func (c *Console) machine(r *http.Request, id string) machine {
	m := machine{Label: id, To: "/devices/" + url.PathEscape(id)}
	var one deploy.Device
	if err := c.Get(r, m.To, &one); err == nil && one.ID != "" {
		m.Label, m.To = one.Label(), "/devices/"+url.PathEscape(one.ID)
	}
	return m
}

// particular is what differs between messages that say the same of two machines:
// addresses, names of devices, numbers.
var particular = regexp.MustCompile(`\b(?:[0-9a-fA-F]{2}[:-]){5}[0-9a-fA-F]{2}\b|\b[0-9a-fA-F]{8}-[0-9a-fA-F-]{27}\b|\bdevice \S+|[0-9]+(?:[.:][0-9]+)*`)

// general is a message without what is about one machine.
func general(message string) string { return particular.ReplaceAllString(message, "#") }

// attentions lists what keeps machines from booting, worst first.
func attentions(d *overviewData) (list []attention) {
	for _, one := range d.Deployments {
		n := &one.Counts
		to := "/deployments/" + url.PathEscape(one.ID)
		if n.Failed > 0 {
			text := fmt.Sprintf("%s: %s", one.Name, frame.Plural(n.Failed, "machine has failed", "machines have failed"))
			if len(n.FailedBy) > 0 {
				text += fmt.Sprintf(", at step %d, %s", n.FailedBy[0].Number, n.FailedBy[0].Name)
			}
			list = append(list, attention{true, text + ".", "See why, try again", to + "?state=failed"})
		}
		if n.Unknown > 0 {
			list = append(list, attention{true, fmt.Sprintf("%s: nothing is heard from %s.", one.Name, frame.Plural(n.Unknown, "machine that runs it", "machines that run it")), "See which", to + "?state=unknown"})
		}
	}
	for _, id := range d.Status.Damaged {
		list = append(list, attention{true, "Content " + id + " is damaged: machines cannot get it whole.", "Repair it", "/contents/" + url.PathEscape(id)})
	}
	for _, p := range d.Status.Problems {
		list = append(list, attention{true, "The library could not use everything: " + p, "See the contents", "/contents"})
	}
	if n := d.Status.Network; n != nil {
		for _, o := range n.Others {
			if o.Trouble != "" {
				list = append(list, attention{true, fmt.Sprintf("%s at %s on %s: %s.", o.What, o.Address, o.Interface, o.Trouble), "How the modes differ", "/docs/dhcp#modes"})
			}
		}
	}
	for _, one := range d.Deployments {
		if n := one.Counts.Asking; n > 0 {
			list = append(list, attention{false, fmt.Sprintf("%s: %s.", one.Name, frame.Plural(n, "machine asks something", "machines ask something")), "Answer", "/deployments/" + url.PathEscape(one.ID) + "?state=asking"})
		}
	}
	if d.Waiting.Total > 0 {
		list = append(list, attention{false, frame.Plural(d.Waiting.Total, "machine waits", "machines wait") + " for approval.", "Approve or deny", "/devices?state=" + string(deploy.StateWaiting)})
	}
	if n := d.Status.Network; n != nil && n.Dropped > 0 {
		list = append(list, attention{false, fmt.Sprintf("%s found the queues full: the server's processor is too slow for what comes in.", frame.Plural(int(n.Dropped), "DHCP packet", "DHCP packets")), "Ask the doctor", "/doctor"})
	}
	if d.Status.EventsLost > 0 {
		list = append(list, attention{false, fmt.Sprintf("%d events came faster than they could be kept: timelines have gaps.", d.Status.EventsLost), "How events are kept", "/docs/devices#timeline"})
	}
	return list
}

// tiles are the numbers on top.
func tiles(d *overviewData) []tile {
	failed, running, asking := 0, 0, 0
	for _, one := range d.Deployments {
		failed += one.Counts.Failed + one.Counts.Unknown
		running += one.Counts.Running
		asking += one.Counts.Asking
	}
	members, rate := 0, 0.0
	for _, s := range d.Sessions {
		members += len(s.Members)
		rate += s.Rate
	}
	machines := tile{Label: "Machines", Value: fmt.Sprint(d.Known), Says: "known", To: "/devices"}
	if n := d.Waiting.Total; n > 0 {
		machines.Says, machines.Tone = fmt.Sprintf("known, %d waiting", n), "wait"
	}
	work := tile{Label: "Deploying", Value: fmt.Sprint(running), Says: frame.Plural(running, "machine", "machines")[len(fmt.Sprint(running))+1:], To: "/deployments"}
	switch {
	case failed > 0:
		work.Says, work.Tone = fmt.Sprintf("running, %d failed", failed), "bad"
	case asking > 0:
		work.Says, work.Tone = fmt.Sprintf("running, %d ask", asking), "wait"
	case running > 0:
		work.Tone = "run"
	}
	sending := tile{Label: "Multicast", Value: fmt.Sprint(len(d.Sessions)), Says: "sessions", To: "/sessions"}
	if len(d.Sessions) == 1 {
		sending.Says = "session"
	}
	if members > 0 {
		sending.Says += ", " + frame.Plural(members, "member", "members")
		sending.Tone = "run"
	}
	library := tile{Label: "Library", Value: fmt.Sprint(d.Status.Contents), Says: "contents", To: "/contents"}
	if n := len(d.Status.Damaged); n > 0 {
		library.Says, library.Tone = fmt.Sprintf("contents, %d damaged", n), "bad"
	}
	return []tile{machines, work, sending, library}
}
