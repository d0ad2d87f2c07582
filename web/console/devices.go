package console

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"castpoint/agent/protocol"
	"castpoint/content"
	"castpoint/deploy"
	"castpoint/web"
)

func (c *Console) deviceRoutes() {
	c.page("GET /devices", c.devices)
	c.page("GET /devices/{id}", c.device)
	c.action("POST /devices", c.addDevice)
	c.action("POST /devices/chosen", c.changeChosen)
	c.action("POST /devices/{id}", c.setDevice)
	c.action("POST /devices/{id}/approve", c.approveDevice)
	c.action("POST /devices/{id}/deny", c.denyDevice)
	c.action("POST /devices/{id}/remove", c.removeDevice)
}

// devicePath is a device in the API.
func devicePath(id string) string { return "/devices/" + url.PathEscape(id) }

// devicesData is what the list of devices shows.
type devicesData struct {
	deploy.Page
	State, Search, Group string
	States               []stateCount
	Next                 string // query of the next page
	Images               []*content.Content
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

func (c *Console) devices(r *http.Request) (*page, error) {
	q := r.URL.Query()
	d := devicesData{State: q.Get("state"), Search: q.Get("search"), Group: q.Get("group")}
	ask := url.Values{"state": {d.State}, "search": {d.Search}, "group": {d.Group}, "after": {q.Get("after")}, "limit": {fmt.Sprint(devicesPage)}}
	if err := c.cfg.API.Call(r.Context(), http.MethodGet, "/devices?"+ask.Encode(), nil, &d.Page); err != nil {
		return nil, err
	}
	var st web.Status
	if err := c.cfg.API.Call(r.Context(), http.MethodGet, "/status", nil, &st); err != nil {
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
	var err error
	d.Images, err = c.contentsOf(r, content.KindBootImage)
	return &page{title: "Devices", nav: "/devices", body: "devices", data: &d, live: liveRather}, err
}

// stateLabels are the states as people read them.
var stateLabels = map[deploy.State]string{
	deploy.StateWaiting: "Waiting for approval", deploy.StateKnown: "Known", deploy.StateImported: "Imported, not seen yet", deploy.StateDenied: "Denied",
}

// contentsOf are the contents of a kind.
func (c *Console) contentsOf(r *http.Request, kind content.Kind) (list []*content.Content, err error) {
	contents, err := all[*content.Content](r.Context(), c, "/contents")
	for _, ct := range contents {
		if ct.Kind == kind {
			list = append(list, ct)
		}
	}
	return list, err
}

// words splits what a person typed into a field for several values.
func words(s string) []string {
	return strings.FieldsFunc(s, func(r rune) bool { return r == ',' || r == ' ' || r == '\n' || r == '\r' || r == '\t' || r == ';' })
}

func (c *Console) addDevice(r *http.Request) (to, said string, err error) {
	var one deploy.Device
	err = c.cfg.API.Call(r.Context(), http.MethodPost, "/devices", web.AddDevice{
		Name: r.PostFormValue("name"), UUID: r.PostFormValue("uuid"), MACs: words(r.PostFormValue("macs")), Groups: words(r.PostFormValue("groups")),
	}, &one)
	return "/devices/" + url.PathEscape(one.ID), "Added " + one.Label() + ".", err
}

// changeChosen does one thing to all devices that are ticked in the list. What one
// of them refuses does not keep the others from it.
func (c *Console) changeChosen(r *http.Request) (to, said string, err error) {
	ids := r.PostForm["id"]
	if len(ids) == 0 {
		return "", "", wrong("no device is ticked")
	}
	do := r.PostFormValue("do")
	done := 0
	var failed []string
	for _, id := range ids {
		var err error
		switch do {
		case "approve":
			err = c.cfg.API.Call(r.Context(), http.MethodPost, devicePath(id)+"/approve", nil, nil)
		case "deny":
			err = c.cfg.API.Call(r.Context(), http.MethodPost, devicePath(id)+"/deny", nil, nil)
		case "assign":
			err = c.assign(r, id)
		default:
			return "", "", wrong("%q is nothing that can be done to devices", do)
		}
		var p *protocol.Problem
		switch {
		case errors.As(err, &p) && (p.Status == http.StatusForbidden || p.Status == http.StatusUnauthorized):
			return "", "", err // so it would be for the others
		case err != nil:
			failed = append(failed, fmt.Sprintf("%s: %v", id, err))
		default:
			done++
		}
	}
	verb := map[string]string{"approve": "Approved", "deny": "Denied", "assign": "Assigned"}[do]
	if len(failed) > 0 {
		const shown = 3
		more := ""
		if n := len(failed) - shown; n > 0 {
			more = fmt.Sprintf("; and %d more", n)
		}
		return "", "", wrong("%s %d of %d devices. %s%s", verb, done, len(ids), strings.Join(failed[:min(shown, len(failed))], "; "), more)
	}
	noun := "devices"
	if done == 1 {
		noun = "device"
	}
	return back(r, "/devices"), fmt.Sprintf("%s %d %s.", verb, done, noun), nil
}

// assign gives a device a boot image, or puts it into a group, or both.
func (c *Console) assign(r *http.Request, id string) error {
	image, group := r.PostFormValue("image"), strings.TrimSpace(r.PostFormValue("group"))
	if image == "" && group == "" {
		return wrong("choose a boot image, or name a group")
	}
	var set web.SetDevice
	if image != "" {
		if image == useServers {
			image = ""
		}
		set.Image = &image
	}
	if group != "" {
		var one deploy.Device
		if err := c.cfg.API.Call(r.Context(), http.MethodGet, devicePath(id), nil, &one); err != nil {
			return err
		}
		groups := append(one.Groups, group)
		set.Groups = &groups
	}
	return c.cfg.API.Call(r.Context(), http.MethodPatch, devicePath(id), set, nil)
}

// useServers is the choice of what the server's settings say, in a form.
const useServers = "server"

func (c *Console) approveDevice(r *http.Request) (to, said string, err error) {
	var one deploy.Device
	err = c.cfg.API.Call(r.Context(), http.MethodPost, devicePath(r.PathValue("id"))+"/approve", web.ApproveDevice{Name: strings.TrimSpace(r.PostFormValue("name"))}, &one)
	return back(r, "/devices/"+url.PathEscape(one.ID)), "Approved " + one.Label() + ": it boots when it asks next, within some seconds.", err
}

func (c *Console) denyDevice(r *http.Request) (to, said string, err error) {
	var one deploy.Device
	err = c.cfg.API.Call(r.Context(), http.MethodPost, devicePath(r.PathValue("id"))+"/deny", nil, &one)
	return back(r, "/devices/"+url.PathEscape(one.ID)), "Denied " + one.Label() + ": it is not answered any more.", err
}

func (c *Console) removeDevice(r *http.Request) (to, said string, err error) {
	id := r.PathValue("id")
	err = c.cfg.API.Call(r.Context(), http.MethodDelete, devicePath(id), nil, nil)
	return "/devices", "Removed the record of " + id + ".", err
}
