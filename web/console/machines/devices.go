package machines

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"castpoint/agent/protocol"
	"castpoint/content"
	"castpoint/deploy"
	"castpoint/deploy/collection"
	"castpoint/web/admin"
	"castpoint/web/admin/deployments"
	"castpoint/web/admin/devices"
	"castpoint/web/console/frame"
)

// devicesData is what the list of devices shows.
type devicesData struct {
	deploy.Page
	State, Search, Group string
	States               []stateCount
	First                bool   // it is the first page
	Next                 string // query of the next page
	Images               []*content.Content
	Collections          []collection.Collection
}

// stateCount is a filter of the list.
type stateCount struct {
	State, Label string
	Count        int
	Query        string
	Chosen       bool
}

// devicesPage is how many devices a page of the list has.
const devicesPage = 100

func (p *Machines) devices(r *http.Request) (*frame.Page, error) {
	q := r.URL.Query()
	d := devicesData{State: q.Get("state"), Search: q.Get("search"), Group: q.Get("group")}
	ask := url.Values{"state": {d.State}, "search": {d.Search}, "group": {d.Group}, "after": {q.Get("after")}, "limit": {fmt.Sprint(devicesPage)}}
	if err := p.Get(r, "/devices?"+ask.Encode(), &d.Page); err != nil {
		return nil, err
	}
	var st admin.Status
	if err := p.Get(r, "/status", &st); err != nil {
		return nil, err
	}
	query := func(state, after string) string {
		v := url.Values{}
		for name, value := range map[string]string{"state": state, "search": d.Search, "group": d.Group, "after": after} {
			if value != "" {
				v.Set(name, value)
			}
		}
		return "/devices?" + v.Encode()
	}
	total := 0
	for _, state := range deploy.States() {
		n := st.Devices[state]
		total += n
		d.States = append(d.States, stateCount{string(state), stateLabels[state], n, query(string(state), ""), d.State == string(state)})
	}
	d.States = append([]stateCount{{"", "All", total, query("", ""), d.State == ""}}, d.States...)
	if d.Page.Next != "" {
		d.Next = query(d.State, d.Page.Next)
	}
	d.First = q.Get("after") == ""
	var err error
	if d.Images, err = p.images(r); err != nil {
		return nil, err
	}
	d.Collections, err = p.collections(r)
	return &frame.Page{Title: "Devices", Nav: "/devices", Body: "devices", Data: &d, Live: frame.Rather}, err
}

// stateLabels are the states as people read them.
var stateLabels = map[deploy.State]string{
	deploy.StateWaiting: "Waiting for approval", deploy.StateKnown: "Known", deploy.StateImported: "Imported, not seen yet", deploy.StateDenied: "Denied",
}

// collections are those that there are; none where a server has no deployments.
func (p *Machines) collections(r *http.Request) ([]collection.Collection, error) {
	list, err := frame.All[collection.Collection](r, p.Frame, "/collections")
	var refused *protocol.Problem
	if errors.As(err, &refused) && refused.Status == http.StatusNotImplemented {
		return nil, nil
	}
	return list, err
}

func (p *Machines) add(r *http.Request) (to, said string, err error) {
	var one deploy.Device
	f := frame.Read(r)
	err = p.Do(r, http.MethodPost, "/devices", devices.AddDevice{
		Name: f.Text("name"), UUID: f.Text("uuid"), MACs: frame.Words(f.Text("macs")), Groups: frame.Words(f.Text("groups")),
	}, &one)
	return devicePath(one.ID), "Added " + one.Label() + ".", err
}

// What can be done to all devices that are ticked in the list.
const (
	doApprove = "approve"
	doDeny    = "deny"
	doAssign  = "assign"
	doWake    = "wake"
	doRemove  = "remove"
)

// askChosen asks before what is hard to undo.
func (p *Machines) askChosen(r *http.Request) (*frame.Question, error) {
	n := len(r.PostForm["id"])
	devices := frame.Plural(n, "device", "devices")
	back := frame.Back(r, "/devices")
	switch {
	case n == 0:
		return nil, frame.Wrong("no device is ticked")
	case r.PostFormValue("do") == doRemove:
		return &frame.Question{Title: "Remove the records of " + devices + "?", Do: "Remove " + devices, Back: back,
			Says: []string{"Names, variables, secrets and settings go. The timelines stay. When the machines ask next, nobody knows them. Protected ones are left as they are."}}, nil
	case r.PostFormValue("do") == doDeny && n > 1:
		return &frame.Question{Title: "Deny " + devices + "?", Do: "Deny " + devices, Back: back,
			Says: []string{"They are not answered any more, until somebody approves them."}}, nil
	}
	return nil, nil
}

// changeChosen does one thing to all devices that are ticked in the list. What one
// of them refuses does not keep the others from it.
func (p *Machines) changeChosen(r *http.Request) (to, said string, err error) {
	ids, what := r.PostForm["id"], r.PostFormValue("do")
	verb, ok := map[string]string{doApprove: "Approved", doDeny: "Denied", doAssign: "Assigned", doWake: "Woke", doRemove: "Removed"}[what]
	if !ok {
		return "", "", frame.Wrong("%q is nothing that can be done to devices", what)
	}
	done := 0
	var failed []string
	for _, id := range ids {
		err := p.changeOne(r, what, id)
		var refused *protocol.Problem
		switch {
		case errors.As(err, &refused) && (refused.Status == http.StatusForbidden || refused.Status == http.StatusUnauthorized):
			return "", "", err // so it would be for the others
		case err != nil:
			failed = append(failed, fmt.Sprintf("%s: %v", id, err))
		default:
			done++
		}
	}
	if collection := r.PostFormValue("collection"); what == doAssign && collection != "" && done > 0 {
		if err := p.Do(r, http.MethodPatch, "/collections/"+url.PathEscape(collection), deployments.SetCollection{AddDevices: ids}, nil); err != nil {
			return "", "", err
		}
	}
	if len(failed) > 0 {
		const shown = 3
		more := ""
		if n := len(failed) - shown; n > 0 {
			more = fmt.Sprintf("; and %d more", n)
		}
		return "", "", frame.Wrong("%s %d of %d devices. %s%s", verb, done, len(ids), strings.Join(failed[:min(shown, len(failed))], "; "), more)
	}
	return frame.Back(r, "/devices"), verb + " " + frame.Plural(done, "device", "devices") + ".", nil
}

func (p *Machines) changeOne(r *http.Request, what, id string) error {
	switch what {
	case doApprove, doDeny, doWake:
		return p.Do(r, http.MethodPost, devicePath(id)+"/"+what, nil, nil)
	case doRemove:
		return p.Do(r, http.MethodDelete, devicePath(id), nil, nil)
	}
	return p.assign(r, id)
}

// assign gives a device a boot image, or puts it into a group, or both.
func (p *Machines) assign(r *http.Request, id string) error {
	image, group := r.PostFormValue("image"), strings.TrimSpace(r.PostFormValue("group"))
	if image == "" && group == "" {
		if r.PostFormValue("collection") != "" {
			return nil // the collection is told of all devices at once
		}
		return frame.Wrong("choose a boot image or a collection, or name a group")
	}
	var set devices.SetDevice
	if image != "" {
		if image == useServers {
			image = ""
		}
		set.Image = &image
	}
	if group != "" {
		var one deploy.Device
		if err := p.Get(r, devicePath(id), &one); err != nil {
			return err
		}
		groups := append(one.Groups, group)
		set.Groups = &groups
	}
	return p.Do(r, http.MethodPatch, devicePath(id), set, nil)
}

// useServers is the choice of what the server's settings say, in a form.
const useServers = "server"

// importTable puts a table on record that was pasted into the form.
func (p *Machines) importTable(r *http.Request) (to, said string, err error) {
	var got deploy.Imported
	table := r.PostFormValue("table")
	if strings.TrimSpace(table) == "" {
		return "", "", frame.Wrong("the table is empty")
	}
	if err := p.API().Send(r.Context(), "/devices/import", "text/csv", strings.NewReader(table), &got); err != nil {
		return "", "", err
	}
	return "/devices", fmt.Sprintf("Imported: %d added, %d changed, %d as they were.", got.Added, got.Changed, got.Same), nil
}
