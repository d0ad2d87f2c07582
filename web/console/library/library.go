// Package library has the pages of contents and boot images, and puts what is
// uploaded or imported into the library.
package library

import (
	"embed"
	"html/template"
	"net/http"
	"net/url"

	"castpoint/agent"
	"castpoint/content"
	"castpoint/web/console/frame"
)

//go:embed templates
var templates embed.FS

// Library are the pages.
type Library struct {
	*frame.Frame
	reports reports
}

// Add adds the pages to a frame.
func Add(f *frame.Frame) error {
	p := &Library{Frame: f}
	p.Page("GET /contents", p.contents)
	p.Page("GET /contents/add", p.addPage)
	p.Page("GET /contents/{id}", p.content)
	p.Page("GET /boot-images", p.bootImages)
	p.Action("POST /contents", p.add)
	p.Handle("POST /contents/upload", p.upload)
	p.Action("POST /contents/{id}", p.set)
	p.Action("POST /contents/{id}/validate", p.validate)
	p.Action("POST /contents/{id}/repair", p.repair)
	p.Ask("POST /contents/{id}/remove", p.askRemove, p.remove)
	p.Action("POST /contents/{id}/token", p.createToken)
	p.Ask("POST /jobs/{id}/cancel", p.askCancel, func(r *http.Request) (string, string, error) {
		if !p.Jobs().Cancel(r.PathValue("id")) {
			return frame.Back(r, "/contents"), "It was over already.", nil
		}
		return frame.Back(r, "/contents"), "Cancelled.", nil
	})
	p.Action("POST /jobs/{id}/dismiss", func(r *http.Request) (string, string, error) {
		p.Jobs().Dismiss(r.PathValue("id"))
		return frame.Back(r, "/contents"), "", nil
	})
	return p.Templates(templates, template.FuncMap{
		"bytes": size,
		"priorities": func() []content.Priority {
			return []content.Priority{content.PriorityLow, content.PriorityMedium, content.PriorityHigh}
		},
	})
}

// contentPath is a content in the API, and its page.
func contentPath(id string) string { return "/contents/" + url.PathEscape(id) }

// size is what all files of a content have together.
func size(c *content.Content) string {
	var n int64
	for _, f := range c.Files {
		n += f.Size
	}
	return agent.Size(n)
}

// askCancel says what is given up; what is over already asks nothing.
func (p *Library) askCancel(r *http.Request) (*frame.Question, error) {
	for _, j := range p.Jobs().List(false) {
		if j.ID == r.PathValue("id") {
			return &frame.Question{
				Title: "Cancel: " + j.What + "?", Do: "Cancel it", Back: frame.Back(r, "/contents"),
				Says: []string{"What it has done so far is given up: " + agent.Size(j.Done) + ". Nothing half-done stays in the library."},
			}, nil
		}
	}
	return nil, nil
}
