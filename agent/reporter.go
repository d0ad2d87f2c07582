package agent

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"time"
	"unicode/utf8"
)

// lineInterval is how often progress becomes a line of JSON.
const lineInterval = time.Second

// JSONReporter writes one JSON object a line, progress about once a second.
func JSONReporter(w io.Writer) func(Event) {
	enc := json.NewEncoder(w)
	var last time.Time
	return func(e Event) {
		if e.Kind == EventProgress {
			if e.Time.Sub(last) < lineInterval && e.Blocks < e.Total {
				return
			}
			last = e.Time
		}
		_ = enc.Encode(e) // a reader that has gone away is no reason to stop
	}
}

// ScreenReporter writes for people: one line that is written over while there is
// progress, at most once in interval (serial consoles are slow), and whole lines
// for everything else.
func ScreenReporter(w io.Writer, interval time.Duration) func(Event) {
	s := &screen{w: w, interval: interval}
	return s.report
}

type screen struct {
	w        io.Writer
	interval time.Duration
	last     time.Time
	shown    int // characters of the line that can be written over
}

func (s *screen) report(e Event) {
	switch e.Kind {
	case EventProgress:
		if e.Time.Sub(s.last) >= s.interval {
			s.last = e.Time
			s.over(progressLine(e))
		}
	case EventJoined:
		s.line("joined session %s at %s: %s%s in %d blocks", e.Session, e.Group, named(e.Message), Size(e.Size), e.Total)
	case EventResumed:
		s.line("%d of %d blocks are here already", e.Blocks, e.Total)
	case EventNoDatagrams:
		s.line("%s:", e.Message)
		for _, a := range e.Advice {
			s.line("  - %s", a)
		}
	case EventAway, EventUnicast, EventInjected:
		s.line("%s", e.Message)
	case EventAgain:
		s.line("%s; joining again", e.Message)
	case EventDone:
		s.over(progressLine(e))
		s.line("%s: %s in %.1f s (%s), %d blocks repaired, %d by unicast", e.Out, Size(e.Size), e.Seconds, Rate(e.Rate), e.Repaired, e.Unicast)
		how := "every block verified"
		if e.Whole {
			how = "computed and verified"
		}
		if e.Files > 0 {
			s.line("%d files, %s", e.Files, how)
		} else {
			s.line("sha256 %s, %s", e.SHA256, how)
		}
	case EventFailed:
		s.end() // the error itself is printed by whoever called
	}
}

func named(name string) string {
	if name == "" {
		return ""
	}
	return name + ", "
}

// over writes a line in place of the last one.
func (s *screen) over(text string) {
	n := utf8.RuneCountInString(text)
	fmt.Fprintf(s.w, "\r%s%s", text, strings.Repeat(" ", max(0, s.shown-n)))
	s.shown = n
}

// end leaves the line that was written over as it is.
func (s *screen) end() {
	if s.shown > 0 {
		fmt.Fprintln(s.w)
		s.shown = 0
	}
}

func (s *screen) line(format string, args ...any) {
	s.end()
	fmt.Fprintf(s.w, format+"\n", args...)
}

// progressLine fits on a console of 80 columns and is plain ASCII.
func progressLine(e Event) string {
	const width = 20
	share := 1.0
	if e.Total > 0 {
		share = float64(e.Blocks) / float64(e.Total)
	}
	full := int(share * width)
	return fmt.Sprintf("%3.0f%% [%s%s] %s", share*100, strings.Repeat("#", full), strings.Repeat("-", width-full), ProgressText(e))
}

// ProgressText says how far a receive is, in plain ASCII.
func ProgressText(e Event) string {
	line := Size(e.Bytes) + " of " + Size(e.Size)
	if e.State == "waiting" {
		line += fmt.Sprintf("  waiting, %d of %d here", e.Members, max(e.WaitFor, e.Members))
		if e.StartsIn > 0 {
			line += fmt.Sprintf(", starts in %.0f s", e.StartsIn)
		}
		return line
	}
	line += "  " + Rate(e.Rate)
	if e.State == "unicast" {
		line += " by unicast"
	}
	if e.Loss >= 0.001 {
		line += fmt.Sprintf("  loss %.1f%%", e.Loss*100)
	}
	if e.Remaining >= 1 && e.Kind == EventProgress {
		line += "  " + time.Duration(e.Remaining*float64(time.Second)).Round(time.Second).String() + " left"
	}
	return line
}
