// Package rollouts has the pages of deployments: collections, task sequences, who
// gets which of them, how far each device is, and its runs.
package rollouts

import (
	"embed"
	"html/template"
	"net/http"
	"net/url"

	"castpoint/agent/protocol"
	"castpoint/deploy/rollout"
	"castpoint/web/console/frame"
)

//go:embed templates
var templates embed.FS

// Rollouts are the pages.
type Rollouts struct{ *frame.Frame }

// Add adds the pages to a frame.
func Add(f *frame.Frame) error {
	p := &Rollouts{f}
	p.Page("GET /deployments", p.deployments)
	p.Page("GET /deployments/add", p.addPage)
	p.Page("GET /deployments/{id}", p.deployment)
	p.Ask("POST /deployments", p.askSize, p.add)
	p.Ask("POST /deployments/{id}", p.askSize, p.set)
	p.Action("POST /deployments/{id}/switch", p.switchOff)
	p.Ask("POST /deployments/{id}/again", p.askAgain, p.again)
	p.Ask("POST /deployments/{id}/remove", p.askRemove, p.remove)
	p.Page("GET /runs/{id}", p.run)
	p.Action("POST /runs/{id}/retry", p.retry)
	p.Ask("POST /runs/{id}/cancel", p.askCancel, p.cancel)
	p.Action("POST /runs/{id}/answers", p.answer)
	p.Page("GET /collections", p.collections)
	p.Page("GET /collections/{id}", p.collection)
	p.Action("POST /collections", p.addCollection)
	p.Action("POST /collections/{id}", p.setCollection)
	p.Action("POST /collections/{id}/devices", p.addDevices)
	p.Action("POST /collections/{id}/devices/remove", p.dropDevices)
	p.Action("POST /collections/{id}/rules", p.addRule)
	p.Action("POST /collections/{id}/rules/remove", p.dropRule)
	p.Action("POST /collections/{id}/variables", p.setVariables)
	p.Action("POST /collections/{id}/secrets", p.setSecret)
	p.Ask("POST /collections/{id}/wake", p.askWake, p.wake)
	p.Ask("POST /collections/{id}/remove", p.askRemoveCollection, p.removeCollection)
	p.Page("GET /sequences", p.sequences)
	p.Page("GET /sequences/add", p.addSequencePage)
	p.Page("GET /sequences/{id}", p.sequence)
	p.Handle("POST /sequences", p.putSequence)
	p.Ask("POST /sequences/{id}/remove", p.askRemoveSequence, func(r *http.Request) (string, string, error) {
		name := r.PathValue("id")
		return "/sequences", "Deleted the task sequence " + name + ".", p.Do(r, http.MethodDelete, sequencePath(name), nil, nil)
	})
	return p.Templates(templates, template.FuncMap{
		"runEnded": func(s rollout.State) bool { return s == rollout.StateSucceeded || s == rollout.StateCancelled },
		"reruns":   func() []choice { return reruns },
		"afters":   func() []choice { return afters },
		"step":     stepState,
	})
}

// stepState is the state of a step in the words for states of runs.
func stepState(state string) string {
	switch state {
	case protocol.StepStarted, protocol.StepProgress:
		return string(rollout.StateRunning)
	case protocol.StepRetry:
		return "trying again"
	}
	return state
}

// Things of the API, and their pages.
func deploymentPath(id string) string { return "/deployments/" + url.PathEscape(id) }

func runPath(id string) string { return "/runs/" + url.PathEscape(id) }

func collectionPath(id string) string { return "/collections/" + url.PathEscape(id) }

func sequencePath(name string) string { return "/sequences/" + url.PathEscape(name) }
