package machines

import (
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"castpoint/agent/protocol"
	"castpoint/content"
	"castpoint/deploy"
	"castpoint/deploy/collection"
	"castpoint/deploy/rollout"
	"castpoint/internal/event"
	"castpoint/web/admin/deployments"
	"castpoint/web/admin/devices"
	"castpoint/web/console/frame"
)

// deviceData is what the page of a device shows.
type deviceData struct {
	deploy.Device
	OnRecord    bool
	Key         string // what it was asked for by
	Events      []event.Event
	Older       string // address of the page of older events
	Newest      bool   // the events are the newest ones
	Kinds       []kindChoice
	Explain     *explanation
	Why         string // there is no explanation
	Images      []*content.Content
	Secrets     []string // names of its secret variables
	Runs        []rollout.Run
	Collections []membership
}

// kindChoice is a filter of the timeline.
type kindChoice struct {
	Kind   event.Kind
	Chosen bool
}

// membership is a collection, and whether a device is on its list.
type membership struct {
	ID, Name string
	Listed   bool
}

// timelinePage is how many events a page of a timeline has.
const timelinePage = 100

// shownRuns is how many runs the page of a device shows, the newest.
const shownRuns = 10

// device shows a device on record, or what a machine did that is not, by its MAC
// or UUID.
func (p *Machines) device(r *http.Request) (*frame.Page, error) {
	id := r.PathValue("id")
	d := deviceData{Key: id, OnRecord: true}
	err := p.Get(r, devicePath(id), &d.Device)
	var refused *protocol.Problem
	if errors.As(err, &refused) && refused.Status == http.StatusNotFound {
		mac, macErr := deploy.ParseMAC(id)
		uuid, uuidErr := deploy.ParseUUID(id)
		switch {
		case macErr == nil:
			d.Device, d.OnRecord, err = deploy.Device{MACs: []string{mac}}, false, nil
		case uuidErr == nil:
			d.Device, d.OnRecord, err = deploy.Device{UUID: uuid}, false, nil
		}
	}
	if err != nil {
		return nil, err
	}
	if err := p.timeline(r, &d); err != nil {
		return nil, err
	}
	if q := questionOf(&d.Device); d.Newest {
		if d.Explain, err = p.explain(r, q); err != nil {
			d.Why = err.Error()
		}
	}
	if d.Images, err = p.images(r); err != nil {
		return nil, err
	}
	if d.OnRecord {
		if err := p.assigned(r, &d); err != nil {
			return nil, err
		}
	}
	out := &frame.Page{Title: d.Label(), Nav: "/devices", Body: "device", Data: &d}
	if d.Newest {
		out.Live = frame.Soon
	}
	return out, nil
}

// assigned fills in what deployments know of a device. A server without them has
// none.
func (p *Machines) assigned(r *http.Request, d *deviceData) error {
	var names deployments.Names
	collections, err := frame.All[collection.Collection](r, p.Frame, "/collections")
	if err == nil {
		err = p.Get(r, devicePath(d.ID)+"/secrets", &names)
	}
	var runs []rollout.Run
	if err == nil {
		runs, err = frame.All[rollout.Run](r, p.Frame, devicePath(d.ID)+"/runs")
	}
	var refused *protocol.Problem
	if errors.As(err, &refused) && refused.Status == http.StatusNotImplemented {
		return nil
	}
	if err != nil {
		return err
	}
	d.Secrets = names.Items
	slices.Reverse(runs)
	d.Runs = runs[:min(shownRuns, len(runs))]
	for _, c := range collections {
		d.Collections = append(d.Collections, membership{c.ID, c.Name, slices.Contains(c.Devices, d.ID)})
	}
	return nil
}

// timeline fills in the events, newest first.
func (p *Machines) timeline(r *http.Request, d *deviceData) error {
	q := r.URL.Query()
	ask := url.Values{"limit": {strconv.Itoa(timelinePage)}}
	here := url.Values{}
	for _, k := range event.Kinds() {
		chosen := slices.Contains(q["kind"], string(k))
		if chosen {
			ask.Add("kind", string(k))
			here.Add("kind", string(k))
		}
		d.Kinds = append(d.Kinds, kindChoice{k, chosen})
	}
	d.Newest = q.Get("before") == ""
	if !d.Newest {
		ask.Set("before", q.Get("before"))
	}
	var events event.Page
	if err := p.Get(r, devicePath(d.Key)+"/timeline?"+ask.Encode(), &events); err != nil {
		return err
	}
	slices.Reverse(events.Events)
	d.Events = events.Events
	if events.Before > 0 {
		here.Set("before", strconv.FormatInt(events.Before, 10))
		d.Older = devicePath(d.Key) + "?" + here.Encode() + "#timeline"
	}
	return nil
}

func (p *Machines) set(r *http.Request) (to, said string, err error) {
	f := frame.Read(r)
	set := devices.SetDevice{
		Name: f.Set("name"), UUID: f.Set("uuid"), Notes: f.Set("notes"), Image: f.Set("image"), Loader: f.Set("loader"), Style: f.Set("style"),
		MACs: f.List("macs"), Groups: f.List("groups"), Settings: f.List("settings"), Protected: f.Box("protected"),
	}
	if f.Set("delay") != nil {
		if set.Delay = f.Number("delay", "delay"); set.Delay == nil {
			none := -1
			set.Delay = &none
		}
	}
	if err := f.Err(); err != nil {
		return "", "", err
	}
	return p.patch(r, set, "Changed %s.")
}

// patch changes the record of a request's device. said has its label.
func (p *Machines) patch(r *http.Request, set devices.SetDevice, said string) (string, string, error) {
	var one deploy.Device
	if err := p.Do(r, http.MethodPatch, devicePath(r.PathValue("id")), set, &one); err != nil {
		return "", "", err
	}
	return devicePath(one.ID), strings.ReplaceAll(said, "%s", one.Label()), nil
}

func (p *Machines) setVariables(r *http.Request) (to, said string, err error) {
	f := frame.Read(r)
	changes := f.Variables()
	if err := f.Err(); err != nil {
		return "", "", err
	}
	return p.patch(r, devices.SetDevice{Variables: changes}, "Changed the variables of %s.")
}

// setSecret gives a secret variable a value, or takes it away when there is none.
func (p *Machines) setSecret(r *http.Request) (to, said string, err error) {
	id, name, value := r.PathValue("id"), strings.TrimSpace(r.PostFormValue("name")), r.PostFormValue("value")
	if name == "" {
		return "", "", frame.Wrong("the secret variable has no name")
	}
	said = "Set " + name + ". Its value is not shown again."
	if value == "" {
		said = "Took " + name + " away."
	}
	return devicePath(id), said, p.Do(r, http.MethodPut, devicePath(id)+"/secrets/"+url.PathEscape(name), map[string]string{"value": value}, nil)
}

// setCollections puts a device on the lists of the ticked collections, and takes it
// off those of the others.
func (p *Machines) setCollections(r *http.Request) (to, said string, err error) {
	id := r.PathValue("id")
	collections, err := frame.All[collection.Collection](r, p.Frame, "/collections")
	if err != nil {
		return "", "", err
	}
	for _, c := range collections {
		if !slices.Contains(r.PostForm["shown"], c.ID) {
			continue // it was made since the page was drawn
		}
		want, is := slices.Contains(r.PostForm["collection"], c.ID), slices.Contains(c.Devices, id)
		set := deployments.SetCollection{}
		switch {
		case want && !is:
			set.AddDevices = []string{id}
		case is && !want:
			set.RemoveDevices = []string{id}
		default:
			continue
		}
		if err := p.Do(r, http.MethodPatch, "/collections/"+url.PathEscape(c.ID), set, nil); err != nil {
			return "", "", err
		}
	}
	return devicePath(id), "Changed its collections.", nil
}

func (p *Machines) wake(r *http.Request) (to, said string, err error) {
	var woken deployments.Names
	id := r.PathValue("id")
	err = p.Do(r, http.MethodPost, devicePath(id)+"/wake", nil, &woken)
	return devicePath(id), "Sent Wake-on-LAN packets for " + strings.Join(woken.Items, " and ") + ".", err
}

func (p *Machines) approve(r *http.Request) (to, said string, err error) {
	var one deploy.Device
	err = p.Do(r, http.MethodPost, devicePath(r.PathValue("id"))+"/approve", devices.ApproveDevice{Name: strings.TrimSpace(r.PostFormValue("name"))}, &one)
	return frame.Back(r, devicePath(one.ID)), "Approved " + one.Label() + ": it boots when it asks next, within some seconds.", err
}

func (p *Machines) deny(r *http.Request) (to, said string, err error) {
	var one deploy.Device
	err = p.Do(r, http.MethodPost, devicePath(r.PathValue("id"))+"/deny", nil, &one)
	return frame.Back(r, devicePath(one.ID)), "Denied " + one.Label() + ": it is not answered any more.", err
}

func (p *Machines) askRemove(r *http.Request) (*frame.Question, error) {
	var one deploy.Device
	if err := p.Get(r, devicePath(r.PathValue("id")), &one); err != nil {
		return nil, err
	}
	if one.Protected {
		return nil, frame.Wrong("%s is protected: take the tick away at Change the record first", one.Label())
	}
	return &frame.Question{
		Title: "Remove the record of " + one.Label() + "?", Do: "Remove the record", Back: devicePath(one.ID),
		Says: []string{"Its name, variables, secrets and settings go. Its timeline stays. When it asks next, it is a machine that nobody knows."},
	}, nil
}

func (p *Machines) remove(r *http.Request) (to, said string, err error) {
	id := r.PathValue("id")
	err = p.Do(r, http.MethodDelete, devicePath(id), nil, nil)
	return "/devices", "Removed the record of " + id + ".", err
}
