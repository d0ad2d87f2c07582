package frame

import (
	"fmt"
	"html/template"
	"io"
	"io/fs"
	"path"
	"strings"
	"time"

	"castpoint/agent"
)

// base is the frame and the parts that all rooms use.
type base struct{ template *template.Template }

// body is a page with the frame around it.
type body struct{ template *template.Template }

func loadBase(a assets, navigation []Group) (*base, error) {
	t, err := template.New("frame").Funcs(functions(a, navigation)).ParseFS(files, "templates/frame.html", "templates/parts.html")
	if err != nil {
		return nil, fmt.Errorf("console: %w", err)
	}
	return &base{t}, nil
}

// Templates adds the pages of a room, templates/*.html of it. templates/parts.html
// is what its pages share; functions may be nil.
func (f *Frame) Templates(room fs.FS, functions template.FuncMap) error {
	list, err := fs.Glob(room, "templates/*.html")
	if err != nil {
		return err
	}
	shared, err := f.base.template.Clone()
	if err == nil && functions != nil {
		shared = shared.Funcs(functions)
	}
	const parts = "templates/parts.html"
	for _, file := range list {
		if err == nil && file == parts {
			_, err = shared.ParseFS(room, parts)
		}
	}
	if err != nil {
		return fmt.Errorf("console: %w", err)
	}
	for _, file := range list {
		name := strings.TrimSuffix(path.Base(file), ".html")
		if file == parts || name == "frame" {
			continue
		}
		if f.bodies[name] != nil {
			return fmt.Errorf("console: two rooms have a page %s", name)
		}
		one, err := shared.Clone()
		if err == nil {
			_, err = one.ParseFS(room, file)
		}
		if err != nil {
			return fmt.Errorf("console: %w", err)
		}
		f.bodies[name] = &body{one}
	}
	return nil
}

// page draws a whole page, inner what is within its body.
func (b *body) page(w io.Writer, v *View) error { return b.template.ExecuteTemplate(w, "frame", v) }

func (b *body) inner(w io.Writer, v *View) error { return b.template.ExecuteTemplate(w, "inner", v) }

func functions(a assets, navigation []Group) template.FuncMap {
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
		"field":      func(t time.Time) string { return t.Local().Format("2006-01-02T15:04") }, // of type datetime-local
		"stamp":      func(t time.Time) string { return t.UTC().Format(time.RFC3339) },
		"seconds":    func(s float64) string { return Span(time.Duration(s * float64(time.Second))) },
		"join":       strings.Join,
		"add":        func(a, b int) int { return a + b },
		"dict":       dict,
		"past":       func(t time.Time) bool { return t.Before(time.Now()) },
		"zone":       func() string { return time.Now().Format("MST") },
		"tone":       tone,
		"navigation": func() []Group { return navigation },
		"percentOf":  func(part float64) float64 { return 100 * part },
		"took":       took,
		"plural":     Plural,
	}
}

// Group is a part of the navigation.
type Group struct {
	Name    string // "" for none
	Entries []Entry
}

// Entry is a page of the navigation.
type Entry struct {
	Path, Label string
	Docs        string // the part of the documentation that is about it, below /docs/
	Admin       bool   // only for those who may do everything
}

// Plural is a number of things, as in 1 device, 2 devices.
func Plural(n int, one, more string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, more)
}

// tones are the colour and mark of the words for states; others are neutral.
var tones = map[string]string{
	"good": "ok", "done": "ok", "given": "ok", "known": "ok", "served": "ok", "boots": "ok", "received": "ok", "succeeded": "ok",
	"running": "run", "sending": "run", "receiving": "run", "joined": "run", "restarting": "run", "trying again": "wait",
	"waiting": "wait", "note": "wait", "unicast": "wait", "asking": "wait", "unknown": "wait", "stopped": "wait", "expired": "wait", "counted": "wait",
	"problem": "bad", "failed": "bad", "damaged": "bad", "trouble": "bad", "denied": "bad", "missing": "bad", "silent": "bad",
	"refused": "bad", "locked": "bad", "taken": "bad", "not served": "bad", "not done": "bad", "does not boot": "bad", "kicked": "bad",
}

func tone(state any) string {
	if t, ok := tones[fmt.Sprint(state)]; ok {
		return t
	}
	return "off"
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

// Span is a length of time for people.
func Span(d time.Duration) string {
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
	return Span(ended.Sub(began).Round(time.Second))
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
