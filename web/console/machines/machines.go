// Package machines has the pages of devices: the list, one device with its record
// and its timeline, what happened to machines that are not on record, and what a
// machine would get.
package machines

import (
	"embed"
	"html/template"
	"net/http"
	"net/url"

	"castpoint/content"
	"castpoint/web/console/frame"
)

//go:embed templates
var templates embed.FS

// Machines are the pages.
type Machines struct{ *frame.Frame }

// Add adds the pages to a frame.
func Add(f *frame.Frame) error {
	p := &Machines{f}
	p.Page("GET /devices", p.devices)
	p.Page("GET /devices/{id}", p.device)
	p.Page("GET /explain", p.explainPage)
	p.Action("POST /devices", p.add)
	p.Ask("POST /devices/chosen", p.askChosen, p.changeChosen)
	p.Action("POST /devices/import", p.importTable)
	p.Action("POST /devices/{id}", p.set)
	p.Action("POST /devices/{id}/variables", p.setVariables)
	p.Action("POST /devices/{id}/secrets", p.setSecret)
	p.Action("POST /devices/{id}/collections", p.setCollections)
	p.Action("POST /devices/{id}/approve", p.approve)
	p.Action("POST /devices/{id}/wake", p.wake)
	p.Action("POST /devices/{id}/deny", p.deny)
	p.Ask("POST /devices/{id}/remove", p.askRemove, p.remove)
	return p.Templates(templates, template.FuncMap{
		"styles": func() []string { return []string{"", "complete", "redirect", "menu", "raspberry-pi"} },
	})
}

// devicePath is a device in the API, and its page.
func devicePath(id string) string { return "/devices/" + url.PathEscape(id) }

// images are the boot images that there are.
func (p *Machines) images(r *http.Request) (list []*content.Content, err error) {
	contents, err := frame.All[*content.Content](r, p.Frame, "/contents")
	for _, ct := range contents {
		if ct.Kind == content.KindBootImage {
			list = append(list, ct)
		}
	}
	return list, err
}
