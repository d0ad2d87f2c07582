package frame

import (
	"maps"
	"net/http"
	"slices"
)

// maxForm is the largest form that is not an upload, in bytes.
const maxForm = 1 << 20

// Action adds a form. do changes something and says where to go on and what was
// done.
func (f *Frame) Action(pattern string, do func(r *http.Request) (to, said string, err error)) {
	f.mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
		if f.Parse(w, r) {
			f.act(w, r, do)
		}
	})
}

// Parse reads a form. When it cannot, it has answered.
func (f *Frame) Parse(w http.ResponseWriter, r *http.Request) bool {
	r.Body = http.MaxBytesReader(w, r.Body, maxForm)
	if err := r.ParseForm(); err != nil {
		f.Fail(w, r, Wrong("the form cannot be read: %v", err))
		return false
	}
	return true
}

// act does what a form asks for, and leads on.
func (f *Frame) act(w http.ResponseWriter, r *http.Request, do func(*http.Request) (to, said string, err error)) {
	to, said, err := do(r)
	if err != nil {
		f.Fail(w, r, err)
		return
	}
	Say(w, r, said)
	http.Redirect(w, r, to, http.StatusSeeOther)
}

// Question is what is asked before something is done that is hard to undo.
type Question struct {
	Title string   // as in "End session 4f1a?"
	Says  []string // what follows from it
	Do    string   // what the button says
	Type  string   // what has to be typed, "" for nothing
	Typed string   // what that is called
	Back  string   // page that leaves everything as it is
}

// asked is what the page of a question shows.
type asked struct {
	*Question
	Path   string
	Fields []field // of the form that was sent
	Wrong  bool    // something else was typed
}

type field struct{ Name, Value string }

// Names of the fields that the page of a question adds.
const (
	fieldSure = "sure"
	fieldCSRF = "csrf"
	// FieldTyped is what was typed to be sure.
	FieldTyped = "sure-typed"
)

// Ask is Action with a question before it, on a page of its own. A nil question asks
// nothing.
func (f *Frame) Ask(pattern string, ask func(*http.Request) (*Question, error), do func(*http.Request) (to, said string, err error)) {
	f.mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
		if !f.Parse(w, r) {
			return
		}
		q, err := ask(r)
		if err != nil {
			f.Fail(w, r, err)
			return
		}
		typed := r.PostFormValue(FieldTyped)
		sure := r.PostFormValue(fieldSure) != ""
		if q == nil || sure && typed == q.Type {
			f.act(w, r, do)
			return
		}
		a := asked{Question: q, Path: r.URL.Path, Wrong: sure}
		for _, name := range slices.Sorted(maps.Keys(r.PostForm)) {
			if name == fieldSure || name == FieldTyped || name == fieldCSRF {
				continue
			}
			for _, value := range r.PostForm[name] {
				a.Fields = append(a.Fields, field{name, value})
			}
		}
		f.Show(w, r, http.StatusOK, &Page{Title: q.Title, Body: "ask", Data: &a})
	})
}

// Back is the page that a form was on, or another one where that is not known.
func Back(r *http.Request, other string) string {
	if to := r.PostFormValue("back"); isLocal(to) {
		return to
	}
	return other
}
