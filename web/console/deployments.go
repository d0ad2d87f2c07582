package console

import (
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"castpoint/deploy/collection"
	"castpoint/deploy/monitor"
	"castpoint/deploy/revision"
	"castpoint/deploy/rollout"
	"castpoint/web"
)

func (c *Console) deploymentRoutes() {
	c.page("GET /deployments", c.deployments)
	c.page("GET /deployments/{id}", c.deployment)
	c.page("GET /runs/{id}", c.run)
	c.page("GET /collections/{id}", c.collection)
	c.page("GET /sequences/{id}", c.sequence)
	c.action("POST /deployments", c.addDeployment)
	c.action("POST /deployments/{id}/switch", c.switchDeployment)
	c.action("POST /deployments/{id}/again", c.deployAgain)
	c.action("POST /deployments/{id}/remove", func(r *http.Request) (string, string, error) {
		return "/deployments", "Deleted the deployment.", c.cfg.API.Call(r.Context(), http.MethodDelete, deploymentPath(r.PathValue("id")), nil, nil)
	})
	c.action("POST /runs/{id}/retry", c.retryRun)
	c.action("POST /runs/{id}/cancel", func(r *http.Request) (string, string, error) {
		id := r.PathValue("id")
		return runPath(id), "The machine is told to stop.", c.cfg.API.Call(r.Context(), http.MethodPost, runPath(id)+"/cancel", nil, nil)
	})
	c.action("POST /runs/{id}/answers", c.answerRun)
}

func deploymentPath(id string) string { return "/deployments/" + url.PathEscape(id) }

func runPath(id string) string { return "/runs/" + url.PathEscape(id) }

// deploymentsData is what the list of deployments shows.
type deploymentsData struct {
	Deployments []web.DeploymentItem
	Collections []collection.Collection
	Sequences   []revision.SequenceInfo
}

func (c *Console) deployments(r *http.Request) (_ *page, err error) {
	var d deploymentsData
	if d.Deployments, err = all[web.DeploymentItem](r.Context(), c, "/deployments"); err != nil {
		return nil, err
	}
	if d.Collections, err = all[collection.Collection](r.Context(), c, "/collections"); err != nil {
		return nil, err
	}
	d.Sequences, err = all[revision.SequenceInfo](r.Context(), c, "/sequences")
	return &page{title: "Deployments", nav: "/deployments", body: "deployments", data: &d, live: liveRather}, err
}

// deploymentData is what the page of a deployment shows.
type deploymentData struct {
	web.DeploymentStatus
	State  string // of the targets that are shown; "" for all
	States []stateCount
	Hidden int
}

// shownTargets is how many devices of a deployment a page shows at most.
const shownTargets = 500

func (c *Console) deployment(r *http.Request) (*page, error) {
	id := r.PathValue("id")
	d := deploymentData{State: r.URL.Query().Get("state")}
	if err := c.cfg.API.Call(r.Context(), http.MethodGet, deploymentPath(id), nil, &d.DeploymentStatus); err != nil {
		return nil, err
	}
	count := map[string]int{}
	for _, t := range d.Targets {
		count[t.State]++
	}
	d.States = append(d.States, stateCount{Label: "All", Count: len(d.Targets), Query: deploymentPath(id), Chosen: d.State == ""})
	for _, state := range []string{"failed", "asking", "unknown", "running", "restarting", "waiting", "succeeded", "cancelled"} {
		if count[state] > 0 {
			d.States = append(d.States, stateCount{state, state, count[state], deploymentPath(id) + "?state=" + state, d.State == state})
		}
	}
	if d.State != "" {
		d.Targets = slices.DeleteFunc(d.Targets, func(t monitor.Target) bool { return t.State != d.State })
	}
	if d.Hidden = len(d.Targets) - shownTargets; d.Hidden > 0 {
		d.Targets = d.Targets[:shownTargets]
	}
	return &page{title: d.Deployment.Name, nav: "/deployments", body: "deployment", data: &d, live: liveSoon}, nil
}

func (c *Console) addDeployment(r *http.Request) (to, said string, err error) {
	f := r.PostForm
	purpose := rollout.Purpose(f.Get("purpose"))
	req := web.AddDeployment{Name: strings.TrimSpace(f.Get("name")), Sequence: f.Get("sequence"), Collection: f.Get("collection")}
	req.Purpose = &purpose
	if text := strings.TrimSpace(f.Get("confirm_size")); text != "" {
		if req.ConfirmSize, err = strconv.Atoi(text); err != nil {
			return "", "", wrong("number of devices %q: want a number", text)
		}
	}
	if f.Has("confirm") {
		yes := true
		req.Confirm = &yes
	}
	var d rollout.Deployment
	if err := c.cfg.API.Call(r.Context(), http.MethodPost, "/deployments", req, &d); err != nil {
		return "", "", err
	}
	return deploymentPath(d.ID), "Made the deployment " + d.Name + ".", nil
}

// switchDeployment stops a deployment, or lets it go on.
func (c *Console) switchDeployment(r *http.Request) (to, said string, err error) {
	id, off := r.PathValue("id"), r.PostFormValue("disabled") != ""
	said = "Runs begin again."
	if off {
		said = "No more runs begin. Those that have begun go on."
	}
	return deploymentPath(id), said, c.cfg.API.Call(r.Context(), http.MethodPatch, deploymentPath(id), web.SetDeployment{Disabled: &off}, nil)
}

func (c *Console) deployAgain(r *http.Request) (to, said string, err error) {
	id, devices := r.PathValue("id"), r.PostForm["id"]
	if len(devices) == 0 {
		return "", "", wrong("no device is ticked")
	}
	err = c.cfg.API.Call(r.Context(), http.MethodPost, deploymentPath(id)+"/again", web.DeployAgain{Devices: devices}, nil)
	return back(r, deploymentPath(id)), fmt.Sprintf("%d devices run it again when they boot next.", len(devices)), err
}

func (c *Console) run(r *http.Request) (*page, error) {
	var d web.RunDetails
	if err := c.cfg.API.Call(r.Context(), http.MethodGet, runPath(r.PathValue("id")), nil, &d); err != nil {
		return nil, err
	}
	p := &page{title: d.Sequence + " on " + d.Label, nav: "/deployments", body: "run", data: &d}
	if d.State != rollout.StateSucceeded && d.State != rollout.StateCancelled {
		p.live = liveSoon
	}
	return p, nil
}

func (c *Console) retryRun(r *http.Request) (to, said string, err error) {
	id := r.PathValue("id")
	err = c.cfg.API.Call(r.Context(), http.MethodPost, runPath(id)+"/retry", web.RetryRun{Step: r.PostFormValue("step")}, nil)
	return runPath(id), "The machine tries again, within some seconds.", err
}

func (c *Console) answerRun(r *http.Request) (to, said string, err error) {
	id, answers := r.PathValue("id"), map[string]string{}
	for name := range r.PostForm {
		if variable, ok := strings.CutPrefix(name, "answer."); ok {
			answers[variable] = r.PostForm.Get(name)
		}
	}
	err = c.cfg.API.Call(r.Context(), http.MethodPost, runPath(id)+"/answers", web.AnswerRun{Answers: answers}, nil)
	return runPath(id), "Answered.", err
}

// collectionData is what the page of a collection shows.
type collectionData struct {
	collection.Collection
	Members web.Members
}

func (c *Console) collection(r *http.Request) (*page, error) {
	var d collectionData
	path := "/collections/" + url.PathEscape(r.PathValue("id"))
	if err := c.cfg.API.Call(r.Context(), http.MethodGet, path, nil, &d.Collection); err != nil {
		return nil, err
	}
	if err := c.cfg.API.Call(r.Context(), http.MethodGet, path+"/members", nil, &d.Members); err != nil {
		return nil, err
	}
	return &page{title: d.Name, nav: "/deployments", body: "collection", data: &d}, nil
}

func (c *Console) sequence(r *http.Request) (*page, error) {
	var d revision.SequenceText
	if err := c.cfg.API.Call(r.Context(), http.MethodGet, "/sequences/"+url.PathEscape(r.PathValue("id")), nil, &d); err != nil {
		return nil, err
	}
	return &page{title: d.Name, nav: "/deployments", body: "sequence", data: &d}, nil
}
