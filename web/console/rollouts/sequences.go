package rollouts

import (
	"errors"
	"net/http"
	"strconv"
	"strings"

	"castpoint/agent/protocol"
	"castpoint/deploy/revision"
	"castpoint/deploy/sequence"
	"castpoint/web/admin/deployments"
	"castpoint/web/console/frame"
)

func (p *Rollouts) sequences(r *http.Request) (*frame.Page, error) {
	list, err := frame.All[revision.SequenceInfo](r, p.Frame, "/sequences")
	d := frame.Cut(r, list, collectionsPart)
	return &frame.Page{Title: "Task sequences", Nav: "/sequences", Body: "sequences", Data: &d}, err
}

// sequenceData is what the page of a task sequence shows.
type sequenceData struct {
	revision.SequenceText
	Newest bool // it is the newest revision
}

func (p *Rollouts) sequence(r *http.Request) (*frame.Page, error) {
	var d sequenceData
	path := sequencePath(r.PathValue("id"))
	if text := r.URL.Query().Get("revision"); text != "" {
		if _, err := strconv.Atoi(text); err != nil {
			return nil, frame.Wrong("revision %q: want a number", text)
		}
		path += "?revision=" + text
	}
	if err := p.Get(r, path, &d.SequenceText); err != nil {
		return nil, err
	}
	d.Newest = true
	for _, n := range d.Revisions {
		d.Newest = d.Newest && n <= d.Revision
	}
	return &frame.Page{Title: d.Name, Nav: "/sequences", Body: "sequence", Data: &d}, nil
}

// editData is what the page for writing a task sequence shows.
type editData struct {
	Templates []deployments.Template
	From      string // what the text comes from: the name of a template or a sequence
	Name      string // of the sequence that gets a new revision, "" for a new one
	Text      string
	Problems  []sequence.Problem
	Failed    *protocol.Problem
	Checked   bool // it was checked, and may be used
	Steps     int
}

// addSequencePage begins with a template, or with the text of a sequence.
func (p *Rollouts) addSequencePage(r *http.Request) (*frame.Page, error) {
	var d editData
	if err := p.Get(r, "/sequence-templates", &d.Templates); err != nil {
		return nil, err
	}
	d.From = r.URL.Query().Get("template")
	for _, t := range d.Templates {
		if t.Name == d.From {
			d.Text = t.Text
		}
	}
	if d.Name = r.URL.Query().Get("sequence"); d.Name != "" {
		var old revision.SequenceText
		if err := p.Get(r, sequencePath(d.Name), &old); err != nil {
			return nil, err
		}
		d.Text, d.From = old.Text, d.Name
	}
	return editPage(&d), nil
}

func editPage(d *editData) *frame.Page {
	title := "Write a task sequence"
	if d.Name != "" {
		title = "Change " + d.Name
	}
	return &frame.Page{Title: title, Nav: "/sequences", Body: "edit", Data: d}
}

// yamlType is the media type of task sequences.
const yamlType = "application/yaml"

// putSequence checks a text, or keeps it. What is wrong with it is shown beside the
// text, so nothing that was typed is lost.
func (p *Rollouts) putSequence(w http.ResponseWriter, r *http.Request) {
	if !p.Parse(w, r) {
		return
	}
	d := editData{Name: r.PostFormValue("name"), From: r.PostFormValue("from"), Text: strings.ReplaceAll(r.PostFormValue("text"), "\r\n", "\n")}
	if err := p.Get(r, "/sequence-templates", &d.Templates); err != nil {
		p.Fail(w, r, err)
		return
	}
	var check deployments.SequenceCheck
	err := p.API().Send(r.Context(), "/sequences/check", yamlType, strings.NewReader(d.Text), &check)
	if err == nil {
		d.Problems, d.Checked, d.Steps = check.Problems, check.Usable, check.Steps
		if check.Usable && r.PostFormValue("do") == "keep" {
			var kept revision.SequenceText
			if err = p.API().Send(r.Context(), "/sequences", yamlType, strings.NewReader(d.Text), &kept); err == nil {
				frame.Say(w, r, "Kept "+kept.Name+", revision "+strconv.Itoa(kept.Revision)+".")
				http.Redirect(w, r, sequencePath(kept.Name), http.StatusSeeOther)
				return
			}
		}
	}
	if err != nil && !errors.As(err, &d.Failed) {
		p.Fail(w, r, err)
		return
	}
	p.Show(w, r, http.StatusOK, editPage(&d))
}

func (p *Rollouts) askRemoveSequence(r *http.Request) (*frame.Question, error) {
	name := r.PathValue("id")
	return &frame.Question{Title: "Delete the task sequence " + name + "?", Do: "Delete " + name, Back: sequencePath(name),
		Says: []string{"All its revisions go. One that a deployment uses cannot be deleted."}}, nil
}
