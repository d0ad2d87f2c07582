// Package server has the pages of the server itself: what it runs with and where
// that comes from, its network, addresses that it has given away, its loggers, what
// the doctor finds, who may use it, and who has changed what.
package server

import (
	"context"
	"embed"
	"errors"
	"html/template"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"castpoint/agent/protocol"
	"castpoint/doctor"
	"castpoint/web/admin"
	"castpoint/web/console/frame"
)

//go:embed templates
var templates embed.FS

// Server are the pages.
type Server struct {
	*frame.Frame
	mu    sync.Mutex
	found *findings // of the doctor's last visit, nil before the first
	busy  bool
}

// Add adds the pages to a frame.
func Add(f *frame.Frame) (*Server, error) {
	p := &Server{Frame: f}
	p.Page("GET /server", p.overview)
	p.Page("GET /settings", p.settings)
	p.Action("POST /settings/reload", p.reload)
	p.Page("GET /leases", p.leases)
	p.Action("POST /server/log", p.setLevel)
	p.Page("GET /doctor", p.doctorPage)
	p.Action("POST /doctor", p.visit)
	p.accessRoutes()
	return p, p.Templates(templates, template.FuncMap{
		"levels": func() []string { return []string{"debug", "info", "warn", "error"} },
	})
}

// logger is one of the answer of the API's loggers.
type logger struct {
	Name  string `json:"name"`
	Level string `json:"level"`
	Own   bool   `json:"own"`
}

// serverData is what the page of the server shows.
type serverData struct {
	admin.Status
	Loggers []logger
}

func (p *Server) overview(r *http.Request) (*frame.Page, error) {
	var d serverData
	if err := p.Get(r, "/status", &d.Status); err != nil {
		return nil, err
	}
	var err error
	d.Loggers, err = frame.All[logger](r, p.Frame, "/log")
	return &frame.Page{Title: "Server", Nav: "/server", Body: "server", Data: &d, Live: frame.Rather}, err
}

func (p *Server) setLevel(r *http.Request) (to, said string, err error) {
	name, level := r.PostFormValue("logger"), r.PostFormValue("level")
	var now logger
	if err := p.Do(r, http.MethodPut, "/log/"+name, map[string]string{"level": level}, &now); err != nil {
		return "", "", err
	}
	return "/server#log", "Logger " + now.Name + " writes " + now.Level + " and worse, until the server is restarted or its settings are read again.", nil
}

// lease is one of the answer of the API's leases.
type lease struct {
	Address  string    `json:"address"`
	MAC      string    `json:"mac"`
	UUID     string    `json:"uuid"`
	Hostname string    `json:"hostname"`
	Expires  time.Time `json:"expires"`
	Declined bool      `json:"declined"`
}

// leasesData is what the list of leases shows.
type leasesData struct {
	frame.Part[lease]
	Search string
	None   string // why there are none to be listed
}

// leasesPart is how many leases a page has.
const leasesPart = 200

func (p *Server) leases(r *http.Request) (*frame.Page, error) {
	d := leasesData{Search: r.URL.Query().Get("search")}
	list, err := frame.All[lease](r, p.Frame, "/dhcp/leases")
	var refused *protocol.Problem
	if errors.As(err, &refused) && refused.Status == http.StatusConflict {
		d.None, err = refused.Detail, nil
	}
	if d.Search != "" {
		list = slices.DeleteFunc(list, func(l lease) bool { return !leaseHas(&l, d.Search) })
	}
	d.Part = frame.Cut(r, list, leasesPart)
	return &frame.Page{Title: "Leases", Nav: "/leases", Body: "leases", Data: &d, Live: frame.Rather}, err
}

// findings are what a visit of the doctor found.
type findings struct {
	At, Until time.Time
	By        string
	List      []doctor.Finding
	Failed    string // the visit did not end
}

// doctorData is what the page of the doctor shows.
type doctorData struct {
	findings
	Busy                 bool
	Attention, Notes, OK []doctor.Finding
}

// Attention is how many findings of the last visit need attention, and when it was.
func (p *Server) Attention() (n int, at time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.found == nil {
		return 0, time.Time{}
	}
	return doctor.Worst(p.found.List), p.found.Until
}

func (p *Server) doctorPage(*http.Request) (*frame.Page, error) {
	p.mu.Lock()
	d := doctorData{Busy: p.busy}
	if p.found != nil {
		d.findings = *p.found
	}
	p.mu.Unlock()
	for _, f := range d.List {
		switch f.Level {
		case doctor.Attention:
			d.Attention = append(d.Attention, f)
		case doctor.Note:
			d.Notes = append(d.Notes, f)
		default:
			d.OK = append(d.OK, f)
		}
	}
	return &frame.Page{Title: "Doctor", Nav: "/doctor", Body: "doctor", Data: &d, Live: frame.Soon}, nil
}

// visit lets the doctor look. It goes on when the browser is gone.
func (p *Server) visit(r *http.Request) (to, said string, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.busy {
		return "/doctor", "It is looking already.", nil
	}
	p.busy = true
	f := &findings{At: time.Now(), By: p.Me(r).Name}
	p.Jobs().Start(r.Context(), "doctor", f.By, func(ctx context.Context, _ func(done, total int64)) (string, string, error) {
		var answer struct {
			Items []doctor.Finding `json:"items"`
		}
		err := p.API().Call(ctx, http.MethodPost, "/doctor", nil, &answer)
		f.List, f.Until = answer.Items, time.Now()
		if err != nil {
			f.Failed = err.Error()
		}
		p.mu.Lock()
		p.found, p.busy = f, false
		p.mu.Unlock()
		return "", "", nil // its page says everything
	})
	return "/doctor", "", nil
}

// leaseHas says whether a lease has a text, whatever its letter case.
func leaseHas(l *lease, text string) bool {
	all := strings.Join([]string{l.Address, l.MAC, l.Hostname, l.UUID}, " ")
	return strings.Contains(strings.ToLower(all), strings.ToLower(strings.TrimSpace(text)))
}
