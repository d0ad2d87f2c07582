package server

import (
	"net/http"
	"strings"

	"castpoint/web/console/frame"
)

// setting is one of the answer of the API's settings.
type setting struct {
	Name    string   `json:"name"`
	Value   []string `json:"value"`
	From    string   `json:"from"`
	Line    int      `json:"line"`
	Means   string   `json:"means"`
	Restart bool     `json:"restart"`
}

// Default says whether nobody has set it.
func (s *setting) Default() bool { return s.From == "default" }

// settingsData is what the page of settings shows.
type settingsData struct {
	File     string    `json:"file"`
	Settings []setting `json:"settings"`
	Search   string    `json:"-"`
	All      bool      `json:"-"` // also those that are the default
	Hidden   int       `json:"-"`
}

func (p *Server) settings(r *http.Request) (*frame.Page, error) {
	d := settingsData{Search: strings.TrimSpace(r.URL.Query().Get("search")), All: r.URL.Query().Get("all") != ""}
	if err := p.Get(r, "/settings", &d); err != nil {
		return nil, err
	}
	var shown []setting
	for _, s := range d.Settings {
		text := strings.ToLower(s.Name + " " + strings.Join(s.Value, " ") + " " + s.Means)
		if d.Search != "" && !strings.Contains(text, strings.ToLower(d.Search)) {
			continue
		}
		if s.Default() && !d.All && d.Search == "" {
			d.Hidden++
			continue
		}
		shown = append(shown, s)
	}
	d.Settings = shown
	return &frame.Page{Title: "Settings", Nav: "/settings", Body: "settings", Data: &d}, nil
}

// reload has the server read its settings again. When they are wrong, the problem
// says so and the old ones stay.
func (p *Server) reload(r *http.Request) (to, said string, err error) {
	var res struct {
		Changed []string `json:"changed"`
		Restart []string `json:"restart"`
	}
	if err := p.Do(r, http.MethodPost, "/reload", nil, &res); err != nil {
		return "", "", err
	}
	said = "Nothing has changed."
	if len(res.Changed) > 0 {
		said = "In force now: " + strings.Join(res.Changed, ", ") + "."
	}
	if len(res.Restart) > 0 {
		said += " These need a restart of the server: " + strings.Join(res.Restart, ", ") + "."
	}
	return "/settings", said, nil
}
