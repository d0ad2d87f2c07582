package rollouts

import (
	"errors"
	"net/http"
	"strings"

	"castpoint/agent/protocol"
	"castpoint/deploy/revision"
	"castpoint/deploy/rollout"
	"castpoint/web/admin/deployments"
	"castpoint/web/console/frame"
)

// runData is what the page of a run shows.
type runData struct {
	deployments.RunDetails
	Percent float64
	Leaves  []revision.LeafInfo // steps that it can be tried again from
	ToCome  []revision.LeafInfo // steps that have not begun
}

func (p *Rollouts) run(r *http.Request) (*frame.Page, error) {
	var d runData
	if err := p.Get(r, runPath(r.PathValue("id")), &d.RunDetails); err != nil {
		return nil, err
	}
	d.Percent = d.Run.Percent()
	// How far a step is, is kept with the run only: it changes too often.
	for i := range d.Steps {
		if s := &d.Steps[i]; s.Path == d.Step.Path && s.Ended.IsZero() {
			s.State, s.Percent, s.Message = d.Step.State, d.Step.Percent, d.Step.Message
		} else if s.Path == d.Step.Path && d.Step.Output == "" {
			d.Step.Output = s.Output // which is kept with the step only: it is long
		}
	}
	var text revision.SequenceText
	err := p.Get(r, sequencePath(d.Sequence), &text)
	var refused *protocol.Problem
	if err != nil && !(errors.As(err, &refused) && refused.Status == http.StatusNotFound) { // it may be deleted
		return nil, err
	}
	if text.Revision == d.Revision {
		d.Leaves = text.Leaves
		begun := map[string]bool{}
		for _, s := range d.Steps {
			begun[s.Path] = true
		}
		for _, l := range text.Leaves {
			if !begun[l.Path] && !d.State.Ended() {
				d.ToCome = append(d.ToCome, l)
			}
		}
	}
	shown := &frame.Page{Title: string(d.State) + ": " + d.Sequence + " on " + d.Label, Nav: "/deployments", Body: "run", Data: &d}
	if d.State != rollout.StateSucceeded && d.State != rollout.StateCancelled {
		shown.Live = frame.Soon
	}
	return shown, nil
}

func (p *Rollouts) retry(r *http.Request) (to, said string, err error) {
	id := r.PathValue("id")
	err = p.Do(r, http.MethodPost, runPath(id)+"/retry", deployments.RetryRun{Step: r.PostFormValue("step")}, nil)
	return runPath(id), "The machine tries again, within some seconds.", err
}

func (p *Rollouts) askCancel(r *http.Request) (*frame.Question, error) {
	var d deployments.RunDetails
	if err := p.Get(r, runPath(r.PathValue("id")), &d); err != nil {
		return nil, err
	}
	return &frame.Question{
		Title: "Stop the run on " + d.Label + "?", Do: "Stop the run", Back: runPath(d.ID),
		Says: []string{"The machine stops after the step that it is at. It may be left without an operating system."},
	}, nil
}

func (p *Rollouts) cancel(r *http.Request) (to, said string, err error) {
	id := r.PathValue("id")
	return runPath(id), "The machine is told to stop.", p.Do(r, http.MethodPost, runPath(id)+"/cancel", nil, nil)
}

func (p *Rollouts) answer(r *http.Request) (to, said string, err error) {
	id, answers := r.PathValue("id"), map[string]string{}
	for name := range r.PostForm {
		if variable, ok := strings.CutPrefix(name, "answer."); ok {
			answers[variable] = r.PostForm.Get(name)
		}
	}
	err = p.Do(r, http.MethodPost, runPath(id)+"/answers", deployments.AnswerRun{Answers: answers}, nil)
	return runPath(id), "Answered.", err
}
