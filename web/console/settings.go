package console

import (
	"net/http"
	"strings"
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

func (c *Console) settings(r *http.Request) (*page, error) {
	d := settingsData{Search: strings.TrimSpace(r.URL.Query().Get("search")), All: r.URL.Query().Get("all") != ""}
	if err := c.cfg.API.Call(r.Context(), http.MethodGet, "/settings", nil, &d); err != nil {
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
	return &page{title: "Settings", nav: "/settings", body: "settings", data: &d}, nil
}
