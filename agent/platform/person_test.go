package platform

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"castpoint/deploy/sequence"
)

// TestPersonLines asks on a console without a screen.
func TestPersonLines(t *testing.T) {
	var out bytes.Buffer
	p := NewPerson(&out, func(string) {}, nil)
	p.reading.Do(func() {}) // what is typed comes from here
	go func() {
		for _, line := range []string{"three", "2", "", "free text"} {
			p.lines <- line
		}
		close(p.lines)
	}()
	answers, err := p.Ask(t.Context(), []sequence.Question{
		{Variable: "Role", Prompt: "Which?", Choices: []string{"one", "two"}},
		{Variable: "Room", Prompt: "Where?", Default: "12"},
		{Variable: "Name", Prompt: "Who?"},
	})
	if err != nil || answers["Role"] != "two" || answers["Room"] != "12" || answers["Name"] != "free text" {
		t.Errorf("answers %v, %v", answers, err)
	}
	for _, text := range []string{"Which?", "2  two", "none of one, two", "[12] >"} {
		if !strings.Contains(out.String(), text) {
			t.Errorf("the console does not say %q:\n%s", text, out.String())
		}
	}
	if _, err := p.Ask(t.Context(), []sequence.Question{{Variable: "X", Prompt: "?"}}); err == nil {
		t.Error("a question is answered without input")
	}
}

// TestPersonProgress writes a line once in a while.
func TestPersonProgress(t *testing.T) {
	var out bytes.Buffer
	p := NewPerson(&out, func(string) {}, nil)
	for i := range 50 {
		p.Progress("receiving", float64(i))
	}
	p.Progress("step 2", -1)
	p.Progress("applying", 10)
	if got := out.String(); got != "receiving: 0%\napplying: 10%\n" {
		t.Errorf("the console says %q", got)
	}
	p.last = time.Now().Add(-progressInterval)
	p.Progress("applying", 90)
	if !strings.HasSuffix(out.String(), "applying: 90%\n") {
		t.Errorf("the console says %q", out.String())
	}
}
