package rollouts

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"castpoint/agent/protocol"
	"castpoint/deploy"
	"castpoint/deploy/collection"
	"castpoint/web/admin/deployments"
	"castpoint/web/console/frame"
)

// collectionsPart is how many collections, or devices of one, a page has.
const collectionsPart = 100

func (p *Rollouts) collections(r *http.Request) (*frame.Page, error) {
	list, err := frame.All[collection.Collection](r, p.Frame, "/collections")
	d := frame.Cut(r, list, collectionsPart)
	return &frame.Page{Title: "Collections", Nav: "/collections", Body: "collections", Data: &d}, err
}

// collectionData is what the page of a collection shows.
type collectionData struct {
	collection.Collection
	Untold      int
	Members     frame.Part[memberData]
	Deployments []deployments.DeploymentItem // that are for it
}

// memberData is a device of a collection.
type memberData struct {
	deploy.Device
	Listed bool // by name, not by a rule
}

func (p *Rollouts) collection(r *http.Request) (*frame.Page, error) {
	var d collectionData
	path := collectionPath(r.PathValue("id"))
	if err := p.Get(r, path, &d.Collection); err != nil {
		return nil, err
	}
	var members deployments.Members
	if err := p.Get(r, path+"/members"+frame.Whole, &members); err != nil {
		return nil, err
	}
	d.Untold = members.Untold
	list := make([]memberData, len(members.Items))
	for i, one := range members.Items {
		list[i] = memberData{one, slices.Contains(d.Devices, one.ID)}
	}
	d.Members = frame.Cut(r, list, collectionsPart)
	deployments, err := frame.All[deployments.DeploymentItem](r, p.Frame, "/deployments")
	for _, one := range deployments {
		if one.Collection == d.ID {
			d.Deployments = append(d.Deployments, one)
		}
	}
	return &frame.Page{Title: d.Name, Nav: "/collections", Body: "collection", Data: &d}, err
}

func (p *Rollouts) addCollection(r *http.Request) (to, said string, err error) {
	f := frame.Read(r)
	req := deployments.AddCollection{Name: f.Text("name"), Notes: f.Text("notes"), Devices: frame.Words(f.Text("devices"))}
	if group := f.Text("group"); group != "" {
		req.Rules = append(req.Rules, collection.MemberRule{Group: group})
	}
	var c collection.Collection
	if err := p.Do(r, http.MethodPost, "/collections", req, &c); err != nil {
		return "", "", err
	}
	return collectionPath(c.ID), "Made the collection " + c.Name + ".", nil
}

// change changes the collection of a request.
func (p *Rollouts) change(r *http.Request, set deployments.SetCollection, said string) (string, string, error) {
	var c collection.Collection
	if err := p.Do(r, http.MethodPatch, collectionPath(r.PathValue("id")), set, &c); err != nil {
		return "", "", err
	}
	return collectionPath(c.ID), said, nil
}

func (p *Rollouts) setCollection(r *http.Request) (to, said string, err error) {
	f := frame.Read(r)
	return p.change(r, deployments.SetCollection{Name: f.Set("name"), Notes: f.Set("notes"), Except: f.List("except")}, "Changed the collection.")
}

func (p *Rollouts) addDevices(r *http.Request) (to, said string, err error) {
	list := frame.Words(r.PostFormValue("devices"))
	if len(list) == 0 {
		return "", "", frame.Wrong("name a device: by name, MAC, UUID or id")
	}
	return p.change(r, deployments.SetCollection{AddDevices: list}, "Added "+frame.Plural(len(list), "device", "devices")+".")
}

func (p *Rollouts) dropDevices(r *http.Request) (to, said string, err error) {
	list := r.PostForm["id"]
	if len(list) == 0 {
		return "", "", frame.Wrong("no device is ticked")
	}
	return p.change(r, deployments.SetCollection{RemoveDevices: list}, "Took "+frame.Plural(len(list), "device", "devices")+" off the list.")
}

func (p *Rollouts) addRule(r *http.Request) (to, said string, err error) {
	f := frame.Read(r)
	rule := collection.MemberRule{
		Unknown: f.Text("unknown") != "", Architecture: f.Text("architecture"), Firmware: f.Text("firmware"), Manufacturer: f.Text("manufacturer"),
		Model: f.Text("model"), Name: f.Text("name"), MAC: f.Text("mac"), Group: f.Text("group"),
	}
	if when := f.Text("when"); when != "" {
		rule.When = []string{when}
	}
	return p.change(r, deployments.SetCollection{AddRules: []collection.MemberRule{rule}}, "Added the rule.")
}

// dropRule takes a rule away, by its place: it has to be what the person has seen.
func (p *Rollouts) dropRule(r *http.Request) (to, said string, err error) {
	var c collection.Collection
	if err := p.Get(r, collectionPath(r.PathValue("id")), &c); err != nil {
		return "", "", err
	}
	n, err := strconv.Atoi(r.PostFormValue("rule"))
	if err != nil || n < 0 || n >= len(c.Rules) || c.Changed.UTC().Format(changedLayout) != r.PostFormValue("changed") {
		return "", "", frame.Wrong("the collection has changed since the page was drawn: load it again")
	}
	rules := slices.Delete(slices.Clone(c.Rules), n, n+1)
	return p.change(r, deployments.SetCollection{Rules: &rules}, "Took the rule away.")
}

// changedLayout says by which revision of a collection a page was drawn.
const changedLayout = "20060102150405.000000000"

// Stamp is the revision of the collection.
func (d *collectionData) Stamp() string { return d.Changed.UTC().Format(changedLayout) }

func (p *Rollouts) setVariables(r *http.Request) (to, said string, err error) {
	f := frame.Read(r)
	changes := f.Variables()
	if err := f.Err(); err != nil {
		return "", "", err
	}
	return p.change(r, deployments.SetCollection{Variables: changes}, "Changed the variables.")
}

// setSecret gives a secret variable a value, or takes it away when there is none.
func (p *Rollouts) setSecret(r *http.Request) (to, said string, err error) {
	id, name, value := r.PathValue("id"), strings.TrimSpace(r.PostFormValue("name")), r.PostFormValue("value")
	if name == "" {
		return "", "", frame.Wrong("the secret variable has no name")
	}
	said = "Set " + name + ". Its value is not shown again."
	if value == "" {
		said = "Took " + name + " away."
	}
	return collectionPath(id), said, p.Do(r, http.MethodPut, collectionPath(id)+"/secrets/"+url.PathEscape(name), map[string]string{"value": value}, nil)
}

func (p *Rollouts) askWake(r *http.Request) (*frame.Question, error) {
	var members deployments.Members
	path := collectionPath(r.PathValue("id"))
	if err := p.Get(r, path+"/members"+frame.Whole, &members); err != nil {
		return nil, err
	}
	devices := frame.Plural(len(members.Items), "device", "devices")
	return &frame.Question{Title: "Wake " + devices + "?", Do: "Wake " + devices, Back: path,
		Says: []string{"Each of them gets Wake-on-LAN packets. Those whose firmware starts from the network first begin what is deployed to them."}}, nil
}

func (p *Rollouts) wake(r *http.Request) (to, said string, err error) {
	var members deployments.Members
	path := collectionPath(r.PathValue("id"))
	if err := p.Get(r, path+"/members"+frame.Whole, &members); err != nil {
		return "", "", err
	}
	woken := 0
	var last error
	for _, m := range members.Items {
		err := p.Do(r, http.MethodPost, "/devices/"+url.PathEscape(m.ID)+"/wake", nil, nil)
		var refused *protocol.Problem
		if errors.As(err, &refused) && refused.Status == http.StatusForbidden {
			return "", "", err
		}
		if err != nil {
			last = err
			continue
		}
		woken++
	}
	if last != nil {
		return "", "", frame.Wrong("woke %d of %d devices: %v", woken, len(members.Items), last)
	}
	return path, fmt.Sprintf("Sent Wake-on-LAN packets to %s.", frame.Plural(woken, "device", "devices")), nil
}

func (p *Rollouts) askRemoveCollection(r *http.Request) (*frame.Question, error) {
	var c collection.Collection
	if err := p.Get(r, collectionPath(r.PathValue("id")), &c); err != nil {
		return nil, err
	}
	return &frame.Question{Title: "Delete the collection " + c.Name + "?", Do: "Delete " + c.Name, Back: collectionPath(c.ID),
		Says: []string{"Its rules, variables and secrets go. Its devices stay on record. A collection that a deployment is for cannot be deleted."}}, nil
}

func (p *Rollouts) removeCollection(r *http.Request) (to, said string, err error) {
	return "/collections", "Deleted the collection.", p.Do(r, http.MethodDelete, collectionPath(r.PathValue("id")), nil, nil)
}
