package frame

import (
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// Form reads the fields of a form that was sent. The first field that cannot be
// read is its error.
type Form struct {
	values url.Values
	err    error
}

// Read is the form of an action.
func Read(r *http.Request) *Form { return &Form{values: r.PostForm} }

// Err is what is wrong with the form.
func (f *Form) Err() error { return f.err }

func (f *Form) fail(format string, args ...any) {
	if f.err == nil {
		f.err = Wrong(format, args...)
	}
}

// Text is a field without blanks around it.
func (f *Form) Text(name string) string { return strings.TrimSpace(f.values.Get(name)) }

// Set is a field that is there, nil when it is not.
func (f *Form) Set(name string) *string {
	if !f.values.Has(name) {
		return nil
	}
	text := f.Text(name)
	return &text
}

// List is a field with several words, nil when it is not there.
func (f *Form) List(name string) *[]string {
	if !f.values.Has(name) {
		return nil
	}
	list := append([]string{}, Words(f.values.Get(name))...)
	return &list
}

// Box is a box with a tick or without one; nil when the form has none of that name.
// A box that is not ticked is not sent, so the form has a field NAME-shown as well.
func (f *Form) Box(name string) *bool {
	if !f.values.Has(name + "-shown") {
		return nil
	}
	on := f.values.Has(name)
	return &on
}

// Number is a whole number, nil when nothing was typed. what is what people call it.
func (f *Form) Number(name, what string) *int {
	text := f.Text(name)
	if text == "" {
		return nil
	}
	n, err := strconv.Atoi(text)
	if err != nil {
		f.fail("%s %q: want a number", what, text)
	}
	return &n
}

// Time is a moment as a field of type datetime-local has it, of the server's clock;
// nil when the form has no such field, the zero time when nothing was typed.
func (f *Form) Time(name, what string) *time.Time {
	text := f.Set(name)
	if text == nil {
		return nil
	}
	var at time.Time
	if *text == "" {
		return &at
	}
	var err error
	for _, layout := range []string{"2006-01-02T15:04", "2006-01-02T15:04:05", "2006-01-02 15:04", time.DateTime} {
		if at, err = time.ParseInLocation(layout, *text, time.Local); err == nil {
			return &at
		}
	}
	f.fail("%s %q: want a date and a time, as in 2026-11-30 22:00", what, *text)
	return &at
}

// Variables are the changes of variables: fields var.NAME with values, drop.NAME
// for those that are to go, and var-name with var-value for one that is new.
func (f *Form) Variables() map[string]*string {
	changes := map[string]*string{}
	for field := range f.values {
		if name, ok := strings.CutPrefix(field, "var."); ok {
			value := f.values.Get(field)
			changes[name] = &value
		}
	}
	for field := range f.values {
		if name, ok := strings.CutPrefix(field, "drop."); ok {
			changes[name] = nil
		}
	}
	if name := f.Text("var-name"); name != "" {
		value := f.values.Get("var-value")
		changes[name] = &value
	} else if f.Text("var-value") != "" {
		f.fail("the value %q has no name", f.Text("var-value"))
	}
	return changes
}

// Words splits what a person typed into a field for several values.
func Words(s string) []string {
	return strings.FieldsFunc(s, func(r rune) bool { return r == ',' || r == ' ' || r == '\n' || r == '\r' || r == '\t' || r == ';' })
}
