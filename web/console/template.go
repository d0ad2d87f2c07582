package console

import (
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"fmt"
	"html/template"
	"io"
	"io/fs"
	"net/http"
	"path"
	"strings"
	"time"

	"castpoint/agent"
	"castpoint/content"
	"castpoint/deploy/rollout"
	"castpoint/multicast"
)

//go:embed static templates
var files embed.FS

// assets are the style sheet, the script and the icon, by name.
type assets map[string]asset

// pathAssets is below the login page: a stranger's browser needs them for it.
const pathAssets = "/login/assets/"

type asset struct {
	body []byte
	kind string
	tag  string // of the contents: part of the address, so that a browser may keep the file
}

func loadAssets() (assets, error) {
	list, err := fs.ReadDir(files, "static")
	if err != nil {
		return nil, err
	}
	kinds := map[string]string{".css": "text/css; charset=utf-8", ".js": "text/javascript; charset=utf-8", ".svg": "image/svg+xml"}
	a := make(assets)
	for _, e := range list {
		body, err := files.ReadFile("static/" + e.Name())
		if err != nil {
			return nil, err
		}
		sum := sha256.Sum256(body)
		a[e.Name()] = asset{body, kinds[path.Ext(e.Name())], hex.EncodeToString(sum[:6])}
	}
	return a, nil
}

// address is where a browser gets an asset.
func (a assets) address(name string) string { return pathAssets + name + "?v=" + a[name].tag }

func (a assets) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	one, ok := a[strings.TrimPrefix(r.URL.Path, pathAssets)]
	if !ok {
		http.NotFound(w, r)
		return
	}
	h := w.Header()
	h.Set("Content-Type", one.kind)
	h.Set("Cache-Control", "public, max-age=31536000, immutable")
	_, _ = w.Write(one.body)
}

// templates are the pages, each with the frame around it.
type templates struct{ byName map[string]*template.Template }

func loadTemplates(a assets) (*templates, error) {
	frame, err := template.New("frame").Funcs(functions(a)).ParseFS(files, "templates/frame.html", "templates/parts.html")
	if err != nil {
		return nil, fmt.Errorf("console: %w", err)
	}
	list, err := fs.Glob(files, "templates/*.html")
	if err != nil {
		return nil, err
	}
	t := &templates{make(map[string]*template.Template)}
	for _, file := range list {
		one, err := frame.Clone()
		if err == nil {
			_, err = one.ParseFS(files, file)
		}
		if err != nil {
			return nil, fmt.Errorf("console: %w", err)
		}
		t.byName[strings.TrimSuffix(path.Base(file), ".html")] = one
	}
	return t, nil
}

// page draws a whole page, inner what is within its body.
func (t *templates) page(w io.Writer, name string, v *view) error {
	return t.byName[name].ExecuteTemplate(w, "frame", v)
}

func (t *templates) inner(w io.Writer, name string, v *view) error {
	return t.byName[name].ExecuteTemplate(w, "inner", v)
}

func functions(a assets) template.FuncMap {
	return template.FuncMap{
		"asset":      a.address,
		"size":       func(n any) string { return agent.Size(int64(number(n))) },
		"rate":       agent.Rate,
		"percent":    func(part, whole any) string { return fmt.Sprintf("%.1f %%", share(part, whole)) },
		"share":      share,
		"ago":        ago,
		"clock":      func(t time.Time) string { return t.Local().Format("15:04:05.000") },
		"day":        func(t time.Time) string { return t.Local().Format(time.DateOnly) },
		"moment":     func(t time.Time) string { return t.Local().Format(time.DateTime) },
		"stamp":      func(t time.Time) string { return t.UTC().Format(time.RFC3339) },
		"seconds":    func(s float64) string { return span(time.Duration(s * float64(time.Second))) },
		"join":       strings.Join,
		"add":        func(a, b int) int { return a + b },
		"bytes":      contentSize,
		"dict":       dict,
		"past":       func(t time.Time) bool { return t.Before(time.Now()) },
		"zone":       func() string { return time.Now().Format("MST") },
		"tone":       tone,
		"navigation": func() []entry { return navigation },
		"styles":     func() []string { return []string{"", "complete", "redirect", "menu", "raspberry-pi"} },
		"priorities": func() []content.Priority {
			return []content.Priority{content.PriorityLow, content.PriorityMedium, content.PriorityHigh}
		},
		"percentOf":   func(part float64) float64 { return 100 * part },
		"memberEnded": ended,
		"runEnded":    func(s rollout.State) bool { return s == rollout.StateSucceeded || s == rollout.StateCancelled },
		"took":        took,
		"memberName":  memberName,
	}
}

// entry is one of the navigation.
type entry struct{ Path, Label string }

var navigation = []entry{
	{"/", "Overview"}, {"/devices", "Devices"}, {"/contents", "Contents"}, {"/boot-images", "Boot images"}, {"/sessions", "Sessions"}, {"/deployments", "Deployments"},
	{"/explain", "Explain"}, {"/settings", "Settings"}, {"/docs", "Documentation"},
}

// tones are the colour and mark of the words for states; others are neutral.
var tones = map[string]string{
	"good": "ok", "done": "ok", "known": "ok", "served": "ok", "boots": "ok", "received": "ok", "succeeded": "ok",
	"running": "run", "sending": "run", "receiving": "run", "joined": "run", "restarting": "run",
	"waiting": "wait", "note": "wait", "unicast": "wait", "asking": "wait", "unknown": "wait", "stopped": "wait",
	"problem": "bad", "failed": "bad", "damaged": "bad", "trouble": "bad", "denied": "bad", "missing": "bad", "silent": "bad",
	"not served": "bad", "not done": "bad", "does not boot": "bad", "kicked": "bad",
}

func tone(state any) string {
	if t, ok := tones[fmt.Sprint(state)]; ok {
		return t
	}
	return "off"
}

// memberName is what a member is called, or its number where it has no name.
func memberName(m multicast.MemberStatus) string {
	if m.Name != "" {
		return m.Name
	}
	return fmt.Sprintf("member %d", m.ID)
}

// number reads any number of a template.
func number(n any) float64 {
	switch v := n.(type) {
	case int:
		return float64(v)
	case int64:
		return float64(v)
	case uint64:
		return float64(v)
	case float64:
		return v
	}
	return 0
}

// share is a part of a whole in percent.
func share(part, whole any) float64 {
	w := number(whole)
	if w == 0 {
		return 0
	}
	return min(100, 100*number(part)/w)
}

// ago is how long something is past, in one word or two.
func ago(t time.Time) string {
	if t.IsZero() {
		return "never"
	}
	d := time.Since(t)
	switch {
	case d < 5*time.Second:
		return "now"
	case d < time.Minute:
		return fmt.Sprintf("%d s ago", int(d.Seconds())/5*5) // a page does not differ with each second
	case d < time.Hour:
		return fmt.Sprintf("%d min ago", int(d.Minutes()))
	case d < 48*time.Hour:
		return fmt.Sprintf("%d h ago", int(d.Hours()))
	}
	return fmt.Sprintf("%d days ago", int(d.Hours()/24))
}

// span is a length of time for people.
func span(d time.Duration) string {
	switch {
	case d < 10*time.Second:
		return fmt.Sprintf("%.1f s", d.Seconds())
	case d < time.Minute:
		return fmt.Sprintf("%d s", int(d.Seconds()))
	case d < time.Hour:
		return fmt.Sprintf("%d min %d s", int(d.Minutes()), int(d.Seconds())%60)
	}
	return fmt.Sprintf("%d h %d min", int(d.Hours()), int(d.Minutes())%60)
}

// took is how long something went on, or goes on.
func took(began, ended time.Time) string {
	if began.IsZero() {
		return ""
	}
	if ended.IsZero() {
		ended = time.Now()
	}
	return span(ended.Sub(began).Round(time.Second))
}

// contentSize is what all files of a content have together.
func contentSize(c *content.Content) string {
	var n int64
	for _, f := range c.Files {
		n += f.Size
	}
	return agent.Size(n)
}

// dict makes the data of a part out of names and values.
func dict(pairs ...any) (map[string]any, error) {
	if len(pairs)%2 != 0 {
		return nil, fmt.Errorf("%d names and values: want pairs", len(pairs))
	}
	m := make(map[string]any)
	for i := 0; i < len(pairs); i += 2 {
		name, ok := pairs[i].(string)
		if !ok {
			return nil, fmt.Errorf("%v is no name", pairs[i])
		}
		m[name] = pairs[i+1]
	}
	return m, nil
}
