package main

import (
	"fmt"
	"os"
	"strings"
	"time"

	"golang.org/x/term"
)

// quietInterval is how often progress is written where it cannot be redrawn.
const quietInterval = 5 * time.Second

// A screen shows progress: redrawn in place on a terminal, a line now and then
// elsewhere.
type screen struct {
	out    *os.File
	redraw bool
	drawn  int       // lines on the terminal
	last   time.Time // of the last line elsewhere
}

func newScreen(out *os.File, verbose bool) *screen {
	return &screen{out: out, redraw: !verbose && term.IsTerminal(int(out.Fd()))}
}

func (s *screen) show(at time.Duration, now session, machines []*machine) {
	state := now.State
	switch {
	case now.State == "":
		state = "no session yet"
	case now.Began == nil:
		state = fmt.Sprintf("waiting for %d of %d machines", max(0, now.WaitFor-len(now.Members)), now.WaitFor)
	}
	if !s.redraw {
		if time.Since(s.last) < quietInterval {
			return
		}
		s.last = time.Now()
		var b strings.Builder
		for _, m := range machines {
			fmt.Fprintf(&b, "  %s %s", m.name, m.progress(now.Blocks))
		}
		fmt.Fprintf(s.out, "%4.0f s  %s  %.0f Mbit/s%s\n", at.Seconds(), state, now.Rate/1e6, b.String())
		return
	}
	var b strings.Builder
	if s.drawn > 0 {
		fmt.Fprintf(&b, "\x1b[%dA", s.drawn) // up to where it began
	}
	fmt.Fprintf(&b, "\x1b[2K    %3.0f s  session: %s, %.0f Mbit/s\n", at.Seconds(), state, now.Rate/1e6)
	for _, m := range machines {
		fmt.Fprintf(&b, "\x1b[2K    %-8s  [%s] %-16s %s\n", m.name, bar(m.status.Complete, now.Blocks, 32), m.progress(now.Blocks), m.kind)
	}
	s.drawn = 1 + len(machines)
	fmt.Fprint(s.out, b.String())
}

// end leaves what was drawn last on the terminal.
func (s *screen) end() { s.drawn = 0 }

// progress is a machine's state in a word or two.
func (m *machine) progress(blocks int) string {
	if m.stage == "done" || m.status.Complete == 0 || blocks == 0 || m.status.Complete == blocks {
		return m.stage
	}
	return fmt.Sprintf("%d %%", 100*m.status.Complete/blocks)
}

func bar(part, whole, width int) string {
	full := 0
	if whole > 0 {
		full = min(width, part*width/whole)
	}
	return strings.Repeat("#", full) + strings.Repeat("-", width-full)
}
