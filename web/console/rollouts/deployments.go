package rollouts

import (
	"cmp"
	"fmt"
	"net/http"
	"slices"
	"strconv"

	"castpoint/agent/protocol"
	"castpoint/deploy/collection"
	"castpoint/deploy/monitor"
	"castpoint/deploy/revision"
	"castpoint/deploy/rollout"
	"castpoint/web/admin/deployments"
	"castpoint/web/console/frame"
)

// deploymentsData is what the list of deployments shows.
type deploymentsData struct {
	frame.Part[deployments.DeploymentItem]
	Ready bool // there is a collection and a sequence to make one of
}

// deploymentsPart is how many deployments a page of the list has.
const deploymentsPart = 50

func (p *Rollouts) deployments(r *http.Request) (*frame.Page, error) {
	var d deploymentsData
	list, err := frame.All[deployments.DeploymentItem](r, p.Frame, "/deployments")
	if err != nil {
		return nil, err
	}
	// Those that somebody has to look at come first, then those where something goes on.
	rank := func(d deployments.DeploymentItem) int {
		switch {
		case d.Counts.Failed+d.Counts.Asking+d.Counts.Unknown > 0:
			return 0
		case d.Counts.Running > 0:
			return 1
		case d.Disabled:
			return 3
		}
		return 2
	}
	slices.SortStableFunc(list, func(a, b deployments.DeploymentItem) int { return rank(a) - rank(b) })
	d.Part = frame.Cut(r, list, deploymentsPart)
	collections, err := frame.All[collection.Collection](r, p.Frame, "/collections")
	if err != nil {
		return nil, err
	}
	sequences, err := frame.All[revision.SequenceInfo](r, p.Frame, "/sequences")
	d.Ready = len(collections) > 0 && len(sequences) > 0
	return &frame.Page{Title: "Deployments", Nav: "/deployments", Body: "deployments", Data: &d, Live: frame.Rather}, err
}

// choice is one of a form.
type choice struct{ Value, Text string }

// reruns are the ways of running again, as people read them.
var reruns = []choice{
	{"", "as usual: never when it is required, always when it is chosen"},
	{string(rollout.RerunNever), "never"}, {string(rollout.RerunFailed), "when it has failed"},
	{string(rollout.RerunSucceeded), "when it has succeeded"}, {string(rollout.RerunAlways), "always"},
}

// afters are what machines do at the end.
var afters = []choice{
	{"", "what the sequence says"}, {protocol.AfterReboot, "restart"}, {protocol.AfterPoweroff, "switch off"}, {protocol.AfterWait, "wait"},
}

// addData is what the page for making a deployment shows.
type addData struct {
	Collections []collection.Collection
	Sequences   []revision.SequenceInfo
	Collection  string // that is chosen already
	Sequence    string
}

func (p *Rollouts) addPage(r *http.Request) (_ *frame.Page, err error) {
	d := addData{Collection: r.URL.Query().Get("collection"), Sequence: r.URL.Query().Get("sequence")}
	if d.Collections, err = frame.All[collection.Collection](r, p.Frame, "/collections"); err != nil {
		return nil, err
	}
	d.Sequences, err = frame.All[revision.SequenceInfo](r, p.Frame, "/sequences")
	return &frame.Page{Title: "Make a deployment", Nav: "/deployments", Body: "deploy", Data: &d}, err
}

// settings reads the fields that the forms for making and changing a deployment have.
func settings(f *frame.Form) deployments.SetDeployment {
	set := deployments.SetDeployment{
		Notes: f.Set("notes"), Hours: f.Set("hours"), After: f.Set("after"), Start: f.Time("start", "not before"), End: f.Time("end", "not after"),
		NetworkOnly: f.Box("network_only"), Hidden: f.Box("hidden"), Confirm: f.Box("confirm"), Wake: f.Box("wake"), Password: f.Set("password"),
		AlertBelow: f.Number("alert_below", "percent of success"), AlertAfter: f.Number("alert_after", "devices before an alert"), MaxSize: f.Number("max_size", "largest number of devices"),
	}
	if text := f.Text("purpose"); text != "" {
		purpose := rollout.Purpose(text)
		set.Purpose = &purpose
	}
	if text := f.Text("rerun"); text != "" {
		rerun := rollout.Rerun(text)
		set.Rerun = &rerun
	}
	if set.Password != nil && *set.Password == "" && f.Box("drop_password") != nil && !*f.Box("drop_password") {
		set.Password = nil // none was typed: it stays as it is
	}
	// Typed on the page of the question, or already in a request of a script.
	for _, name := range []string{"confirm_size", frame.FieldTyped} {
		if n := f.Number(name, "number of devices"); n != nil {
			set.ConfirmSize = *n
		}
	}
	return set
}

// askSize asks for the number of devices before machines begin by themselves, when
// there are more than a deployment may have without that.
func (p *Rollouts) askSize(r *http.Request) (*frame.Question, error) {
	f := frame.Read(r)
	set := settings(f)
	if err := f.Err(); err != nil {
		return nil, err
	}
	collection, name, back := f.Text("collection"), f.Text("name"), "/deployments/add"
	confirmed, limit := 0, rollout.DefaultMaxSize
	if n := f.Number("confirm_size", "number of devices"); n != nil {
		confirmed = *n
	}
	purpose := rollout.Available
	if id := r.PathValue("id"); id != "" {
		var now deployments.DeploymentStatus
		if err := p.Get(r, deploymentPath(id), &now); err != nil {
			return nil, err
		}
		d := &now.Deployment
		collection, name, back = d.Collection, cmp.Or(name, d.Name), deploymentPath(d.ID)
		confirmed, limit, purpose = max(confirmed, d.ConfirmedSize), d.MaxSize, d.Purpose
	}
	if set.Purpose != nil {
		purpose = *set.Purpose
	}
	if set.MaxSize != nil {
		limit = *set.MaxSize
	}
	if purpose != rollout.Required || collection == "" {
		return nil, nil
	}
	var members deployments.Members
	if err := p.Get(r, collectionPath(collection)+"/members"+frame.Whole, &members); err != nil {
		return nil, err
	}
	n := 0
	for _, m := range members.Items {
		if !m.Protected {
			n++
		}
	}
	if n <= max(limit, confirmed) {
		return nil, nil
	}
	return &frame.Question{
		Title: "Let " + frame.Plural(n, "machine install itself?", "machines install themselves?"), Do: "Deploy to " + frame.Plural(n, "device", "devices"), Back: back,
		Type: strconv.Itoa(n), Typed: "The number of devices",
		Says: []string{
			fmt.Sprintf("%s is required: each of the %d devices of its collection runs the sequence when it boots from the network next, without anybody asking. What is on their disks is lost when the sequence partitions them.", name, n),
			fmt.Sprintf("More than %d devices are not taken without their number being typed.", limit),
		},
	}, nil
}

func (p *Rollouts) add(r *http.Request) (to, said string, err error) {
	f := frame.Read(r)
	req := deployments.AddDeployment{Name: f.Text("name"), Sequence: f.Text("sequence"), Collection: f.Text("collection"), SetDeployment: settings(f)}
	if err := f.Err(); err != nil {
		return "", "", err
	}
	var d rollout.Deployment
	if err := p.Do(r, http.MethodPost, "/deployments", req, &d); err != nil {
		return "", "", err
	}
	return deploymentPath(d.ID), "Made the deployment " + d.Name + ".", nil
}

func (p *Rollouts) set(r *http.Request) (to, said string, err error) {
	f := frame.Read(r)
	set := settings(f)
	if set.Rename = f.Set("name"); set.Rename != nil && *set.Rename == "" {
		return "", "", frame.Wrong("a deployment needs a name")
	}
	if text := f.Text("sequence"); text != "" {
		set.NewSequence = &text
	}
	if err := f.Err(); err != nil {
		return "", "", err
	}
	var d rollout.Deployment
	if err := p.Do(r, http.MethodPatch, deploymentPath(r.PathValue("id")), set, &d); err != nil {
		return "", "", err
	}
	return deploymentPath(d.ID), "Changed " + d.Name + ".", nil
}

// deploymentData is what the page of a deployment shows.
type deploymentData struct {
	deployments.DeploymentStatus
	CollectionName string
	Sequences      []revision.SequenceInfo
	State          string // of the targets that are shown; "" for all
	States         []stateCount
	Shown          frame.Part[monitor.Target]
}

// stateCount is a filter of the list.
type stateCount struct {
	Label  string
	Count  int
	Query  string
	Chosen bool
}

// targetsPart is how many devices of a deployment a page has.
const targetsPart = 200

// manyTargets is from how many devices on the page is drawn seldom: all of them are
// looked at each time.
const manyTargets = 1000

// targetStates are the states of targets, those first that somebody has to look at.
var targetStates = []string{
	string(rollout.StateFailed), string(rollout.StateAsking), monitor.TargetUnknown, string(rollout.StateRunning), string(rollout.StateRestarting),
	monitor.TargetWaiting, string(rollout.StateSucceeded), string(rollout.StateCancelled),
}

func (p *Rollouts) deployment(r *http.Request) (*frame.Page, error) {
	id := r.PathValue("id")
	d := deploymentData{State: r.URL.Query().Get("state")}
	if err := p.Get(r, deploymentPath(id)+frame.Whole, &d.DeploymentStatus); err != nil {
		return nil, err
	}
	var c collection.Collection
	if err := p.Get(r, collectionPath(d.Deployment.Collection), &c); err != nil {
		return nil, err
	}
	d.CollectionName = c.Name
	var err error
	if d.Sequences, err = frame.All[revision.SequenceInfo](r, p.Frame, "/sequences"); err != nil {
		return nil, err
	}
	count := map[string]int{}
	for _, t := range d.Targets {
		count[t.State]++
	}
	d.States = append(d.States, stateCount{"all", len(d.Targets), deploymentPath(id), d.State == ""})
	for _, state := range targetStates {
		if count[state] > 0 {
			d.States = append(d.States, stateCount{state, count[state], deploymentPath(id) + "?state=" + state, d.State == state})
		}
	}
	if d.State != "" {
		d.Targets = slices.DeleteFunc(d.Targets, func(t monitor.Target) bool { return t.State != d.State })
	}
	slices.SortStableFunc(d.Targets, func(a, b monitor.Target) int {
		return slices.Index(targetStates, a.State) - slices.Index(targetStates, b.State)
	})
	d.Shown = frame.Cut(r, d.Targets, targetsPart)
	shown := &frame.Page{Title: d.Deployment.Name, Nav: "/deployments", Body: "deployment", Data: &d, Live: frame.Soon}
	if d.States[0].Count > manyTargets {
		shown.Live = frame.Seldom
	}
	return shown, nil
}

// switchOff stops a deployment, or lets it go on.
func (p *Rollouts) switchOff(r *http.Request) (to, said string, err error) {
	id, off := r.PathValue("id"), r.PostFormValue("disabled") != ""
	said = "Runs begin again."
	if off {
		said = "No more runs begin. Those that have begun go on."
	}
	return deploymentPath(id), said, p.Do(r, http.MethodPatch, deploymentPath(id), deployments.SetDeployment{Disabled: &off}, nil)
}

func (p *Rollouts) askAgain(r *http.Request) (*frame.Question, error) {
	n := len(r.PostForm["id"])
	if n == 0 {
		return nil, frame.Wrong("no device is ticked")
	}
	var now deployments.DeploymentStatus
	if err := p.Get(r, deploymentPath(r.PathValue("id")), &now); err != nil {
		return nil, err
	}
	devices := frame.Plural(n, "device", "devices")
	return &frame.Question{
		Title: "Deploy again to " + devices + "?", Do: "Deploy again to " + devices, Back: frame.Back(r, deploymentPath(now.Deployment.ID)),
		Says: []string{"Each of them runs " + now.Deployment.Sequence + " from its first step when it boots from the network next, also those that have succeeded. What is on their disks is lost when the sequence partitions them."},
	}, nil
}

func (p *Rollouts) again(r *http.Request) (to, said string, err error) {
	id, devices := r.PathValue("id"), r.PostForm["id"]
	err = p.Do(r, http.MethodPost, deploymentPath(id)+"/again", deployments.DeployAgain{Devices: devices}, nil)
	return frame.Back(r, deploymentPath(id)), frame.Plural(len(devices), "device runs", "devices run") + " it again at the next network boot.", err
}

func (p *Rollouts) askRemove(r *http.Request) (*frame.Question, error) {
	var now deployments.DeploymentStatus
	if err := p.Get(r, deploymentPath(r.PathValue("id")), &now); err != nil {
		return nil, err
	}
	says := []string{"The history of its runs goes with it: steps, outputs and logs."}
	if n := now.Counts.Running; n > 0 {
		says = append(says, frame.Plural(n, "machine is", "machines are")+" running it now: it can be deleted when they have ended, or were stopped.")
	}
	return &frame.Question{Title: "Delete the deployment " + now.Deployment.Name + "?", Says: says, Do: "Delete " + now.Deployment.Name, Back: deploymentPath(now.Deployment.ID)}, nil
}

func (p *Rollouts) remove(r *http.Request) (to, said string, err error) {
	return "/deployments", "Deleted the deployment.", p.Do(r, http.MethodDelete, deploymentPath(r.PathValue("id")), nil, nil)
}
