package console

import (
	"fmt"
	"net/http"
	"net/url"
	"time"

	"castpoint/content"
	"castpoint/deploy"
	"castpoint/internal/event"
	"castpoint/web"
)

// How often pages are drawn again.
const (
	liveSoon   = time.Second     // what people watch: sessions, timelines
	liveRather = 2 * time.Second // lists
)

// attention is something that somebody has to look at.
type attention struct {
	Bad  bool // else it is a note
	Text string
	Do   string // what to do, or the text of the link
	To   string // page
}

// overviewData is what the overview shows.
type overviewData struct {
	Status    web.Status
	Attention []attention
	Sessions  []web.SessionInfo // that run
	Waiting   deploy.Page
	Trouble   []event.Event // newest first
	Contents  int
	BootImage bool // there is one
	OSImage   bool
	Known     int
}

// recentEvents is how many events of all machines the overview looks at.
const recentEvents = 200

// shownTrouble is how many of them it shows.
const shownTrouble = 8

func (c *Console) overview(r *http.Request) (*page, error) {
	var d overviewData
	get := func(path string, into any) error {
		return c.cfg.API.Call(r.Context(), http.MethodGet, path, nil, into)
	}
	if err := get("/status", &d.Status); err != nil {
		return nil, err
	}
	sessions, err := all[web.SessionInfo](r.Context(), c, "/sessions")
	if err != nil {
		return nil, err
	}
	for _, s := range sessions {
		if s.Ended == nil {
			d.Sessions = append(d.Sessions, s)
		}
	}
	if d.Status.Devices != nil {
		if err := get("/devices?state="+string(deploy.StateWaiting)+"&limit=5", &d.Waiting); err != nil {
			return nil, err
		}
		var recent event.Page
		if err := get(fmt.Sprintf("/timeline?limit=%d", recentEvents), &recent); err != nil {
			return nil, err
		}
		for i := len(recent.Events) - 1; i >= 0 && len(d.Trouble) < shownTrouble; i-- {
			if recent.Events[i].Trouble {
				d.Trouble = append(d.Trouble, recent.Events[i])
			}
		}
	}
	contents, err := all[*content.Content](r.Context(), c, "/contents")
	if err != nil {
		return nil, err
	}
	for _, ct := range contents {
		d.BootImage = d.BootImage || ct.Kind == content.KindBootImage
		d.OSImage = d.OSImage || ct.Kind == content.KindOSImage
	}
	d.Known = d.Status.Devices[deploy.StateKnown] + d.Status.Devices[deploy.StateImported]
	d.Attention = attentions(&d)
	return &page{title: "Overview", nav: "/", body: "overview", data: &d, live: liveRather}, nil
}

// attentions lists what keeps machines from booting, worst first.
func attentions(d *overviewData) (list []attention) {
	for _, id := range d.Status.Damaged {
		list = append(list, attention{true, "Content " + id + " is damaged: machines cannot get it whole.", "repair it", "/contents/" + url.PathEscape(id)})
	}
	for _, p := range d.Status.Problems {
		list = append(list, attention{true, "The library could not use everything: " + p, "see the contents", "/contents"})
	}
	if n := d.Status.Network; n != nil {
		for _, o := range n.Others {
			if o.Trouble != "" {
				list = append(list, attention{true, fmt.Sprintf("%s at %s on %s: %s.", o.What, o.Address, o.Interface, o.Trouble), "how the modes differ", "/docs/dhcp"})
			}
		}
		if n.Dropped > 0 {
			list = append(list, attention{false, fmt.Sprintf("%d DHCP packets found the queues full.", n.Dropped), "", ""})
		}
	}
	if d.Waiting.Total > 0 {
		text := "1 machine waits for approval."
		if d.Waiting.Total > 1 {
			text = fmt.Sprintf("%d machines wait for approval.", d.Waiting.Total)
		}
		list = append(list, attention{false, text, "approve or deny", "/devices?state=" + string(deploy.StateWaiting)})
	}
	if d.Status.EventsLost > 0 {
		list = append(list, attention{false, fmt.Sprintf("%d events came faster than they could be kept.", d.Status.EventsLost), "", ""})
	}
	return list
}
