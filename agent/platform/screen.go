package platform

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"castpoint/agent"
)

// Tuning of the screen.
const (
	drawInterval = 250 * time.Millisecond
	keptLines    = 50 // of what was said
)

// Status is what the screen shows.
type Status struct {
	Device   string // name, or the address of the card
	Address  string
	Server   string
	Step     string
	Progress *agent.Event // nil before the first
	Said     []string     // newest last
	Prompt   bool         // F8 gives a command prompt
	Asking   *Asking      // a question, in place of the progress; nil for none
	Trouble  []string     // what has failed, in place of the progress; paragraphs, none for nothing
}

// Asking is a question that waits for its answer.
type Asking struct {
	Text    string
	Choices []string // what can be chosen; none means that the answer is typed
	At      int      // the choice that is marked
	Typed   string
	Secret  bool   // what is typed is not shown
	Wrong   string // why the last answer was not taken
}

// lines lays the question out.
func (a *Asking) lines(width int) []string {
	var lines []string
	for _, text := range wrap(a.Text, width-2) {
		lines = append(lines, " "+text)
	}
	lines = append(lines, "")
	for i, c := range a.Choices {
		mark := "  "
		if i == a.At {
			mark = "> "
		}
		lines = append(lines, " "+mark+c)
	}
	if len(a.Choices) == 0 {
		shown := a.Typed
		if a.Secret {
			shown = strings.Repeat("*", utf8.RuneCountInString(shown))
		}
		lines = append(lines, " > "+shown+"_")
	}
	if a.Wrong != "" {
		lines = append(lines, "", " "+a.Wrong)
	}
	return append(lines, "")
}

// Render lays the status out for a screen of the given size. Each line is as
// wide as the screen, so that it covers what was there. It is plain ASCII: the
// fonts of boot environments have little else.
func (s *Status) Render(width, height int) []string {
	const label = 10
	lines := []string{both(" castpoint", s.Device+" ", width), strings.Repeat("-", width)}
	add := func(name, text string) {
		if text == "" {
			text = "-"
		}
		lines = append(lines, fmt.Sprintf(" %-*s%s", label, name, text))
	}
	add("Address", s.Address)
	add("Server", s.Server)
	add("Step", s.Step)
	lines = append(lines, "")
	if a := s.Asking; a != nil {
		lines = append(lines, a.lines(width)...)
	} else if len(s.Trouble) > 0 {
		lines = append(lines, troubleLines(s.Trouble, width)...)
	} else if e := s.Progress; e != nil {
		lines = append(lines, bar(e, width), " "+agent.ProgressText(*e), "")
	}
	foot := ""
	if s.Prompt {
		foot = " F8  command prompt"
	}
	if a := s.Asking; a != nil {
		foot += " Enter  answer"
		if len(a.Choices) > 0 {
			foot += "  Up, Down  choose"
		}
	}
	room := max(height-len(lines)-2, 0)
	var said []string
	for _, text := range s.Said {
		said = append(said, wrap(text, width-2)...)
	}
	if len(said) > room {
		said = said[len(said)-room:]
	}
	for _, text := range said {
		lines = append(lines, " "+text)
	}
	for len(lines) < height-1 {
		lines = append(lines, "")
	}
	lines = append(lines[:max(height-1, 0)], foot)
	for i, text := range lines {
		lines[i] = fit(text, width)
	}
	return lines
}

// troubleLines lays trouble out between two bars that are seen from afar.
func troubleLines(paragraphs []string, width int) []string {
	bar := " " + strings.Repeat("*", max(width-2, 0))
	lines := []string{bar}
	for i, text := range paragraphs {
		if i > 0 {
			lines = append(lines, "")
		}
		for _, line := range wrap(text, width-2) {
			lines = append(lines, " "+line)
		}
	}
	return append(lines, bar, "")
}

// bar is the progress bar, with the share at its end.
func bar(e *agent.Event, width int) string {
	share := 0.0
	if e.Total > 0 {
		share = float64(e.Blocks) / float64(e.Total)
	}
	n := max(width-10, 1)
	full := int(share * float64(n))
	return fmt.Sprintf(" [%s%s] %3.0f%%", strings.Repeat("#", full), strings.Repeat(".", n-full), share*100)
}

// both puts one text at the left, one at the right.
func both(left, right string, width int) string {
	return left + strings.Repeat(" ", max(width-utf8.RuneCountInString(left)-utf8.RuneCountInString(right), 1)) + right
}

// fit cuts or fills a text to the width, without what would move the cursor.
func fit(text string, width int) string {
	r := []rune(strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return ' '
		}
		return r
	}, text))
	if len(r) > width {
		r = r[:width]
	}
	return string(r) + strings.Repeat(" ", width-len(r))
}

// wrap breaks a text at spaces into lines of at most width.
func wrap(text string, width int) (lines []string) {
	line := ""
	for word := range strings.FieldsSeq(text) {
		for utf8.RuneCountInString(word) > width && width > 0 {
			if line != "" {
				lines, line = append(lines, line), ""
			}
			r := []rune(word)
			lines, word = append(lines, string(r[:width])), string(r[width:])
		}
		switch {
		case line == "":
			line = word
		case utf8.RuneCountInString(line)+1+utf8.RuneCountInString(word) > width:
			lines, line = append(lines, line), "  "+word
		default:
			line += " " + word
		}
	}
	return append(lines, line)
}

// Screen keeps a status on a console. Its methods may be called concurrently.
type Screen struct {
	console Console
	prompt  func(context.Context) error

	mu      sync.Mutex
	status  Status
	answer  chan<- string // of the question that is asked; nil when none is
	changed chan struct{} // has room for one
	stop    context.CancelFunc
	running sync.WaitGroup
}

// NewScreen shows the status until Close. prompt opens a command prompt; it is
// called when the status allows one and the key is pressed.
func NewScreen(ctx context.Context, console Console, status Status, prompt func(context.Context) error) *Screen {
	ctx, stop := context.WithCancel(ctx)
	s := &Screen{console: console, prompt: prompt, status: status, changed: make(chan struct{}, 1), stop: stop}
	var drawing sync.Mutex // kept while a prompt has the screen
	s.running.Go(func() { s.draw(ctx, &drawing) })
	s.running.Go(func() { s.keys(ctx, &drawing) })
	return s
}

// draw shows every change, but not all at once: consoles are slow.
func (s *Screen) draw(ctx context.Context, drawing *sync.Mutex) {
	for {
		drawing.Lock()
		s.show()
		drawing.Unlock()
		select {
		case <-ctx.Done():
			return
		case <-time.After(drawInterval):
		}
		select {
		case <-ctx.Done():
			return
		case <-s.changed:
		}
	}
}

func (s *Screen) show() {
	s.mu.Lock()
	status := s.status
	status.Said = slices.Clone(s.status.Said)
	if s.status.Asking != nil {
		asking := *s.status.Asking
		status.Asking = &asking
	}
	s.mu.Unlock()
	_ = s.console.Draw(status.Render(s.console.Size())) // a screen that is gone is no reason to stop
}

func (s *Screen) keys(ctx context.Context, drawing *sync.Mutex) {
	for {
		key, err := s.console.Key(ctx)
		if err != nil {
			return // also at the end of ctx
		}
		if key != KeyPrompt {
			s.typed(key)
			continue
		}
		s.mu.Lock()
		allowed := s.status.Prompt
		s.mu.Unlock()
		if !allowed {
			continue
		}
		drawing.Lock()
		err = s.prompt(ctx)
		drawing.Unlock()
		if err != nil {
			s.Say(fmt.Sprintf("command prompt: %v", err))
		}
		s.Update(func(*Status) {})
	}
}

// Update changes the status.
func (s *Screen) Update(change func(*Status)) {
	s.mu.Lock()
	change(&s.status)
	s.mu.Unlock()
	select {
	case s.changed <- struct{}{}:
	default:
	}
}

// Say adds a line to what was said.
func (s *Screen) Say(text string) {
	s.Update(func(st *Status) {
		st.Said = append(st.Said, text)
		if n := len(st.Said); n > keptLines {
			st.Said = slices.Delete(st.Said, 0, n-keptLines)
		}
	})
}

// Report shows what happens in a receive.
func (s *Screen) Report(e agent.Event) {
	s.Update(func(st *Status) {
		if e.Total > 0 {
			st.Progress = &e
		}
		st.Step = step(e, st.Step)
	})
	switch e.Kind {
	case agent.EventNoDatagrams:
		s.Say(e.Message + ":")
		for _, a := range e.Advice {
			s.Say("- " + a)
		}
	case agent.EventUnicast, agent.EventInjected, agent.EventAgain, agent.EventFailed:
		s.Say(e.Message)
	case agent.EventDone:
		s.Say("sha256 " + e.SHA256 + ", verified")
	}
}

// step is what a receive does now, in words.
func step(e agent.Event, before string) string {
	switch {
	case e.Kind == agent.EventJoined:
		return "joined the session of " + e.Message
	case e.Kind == agent.EventResumed:
		return "going on with an earlier receive"
	case e.Kind == agent.EventDone:
		return "done"
	case e.Kind == agent.EventFailed:
		return "failed"
	case e.Kind == agent.EventUnicast, e.State == "unicast":
		return "receiving by unicast"
	case e.State == "waiting":
		return fmt.Sprintf("waiting for other machines, %d of %d here", e.Members, max(e.WaitFor, e.Members))
	case e.Kind == agent.EventProgress:
		return "receiving by multicast"
	}
	return before
}

// Close shows the last status and gives the console back.
func (s *Screen) Close() error {
	s.stop()
	s.running.Wait()
	s.show()
	return s.console.Close()
}
