package testbed

import (
	"context"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"time"

	"golang.org/x/term"

	"castpoint/internal/lab"
)

// redraw is how often the screens are looked at.
const redraw = 250 * time.Millisecond

// Show shows the screens until ctx ends: on a terminal as a grid that is drawn again
// when something has changed, and elsewhere line by line, each with its machine's name.
func (b *Bed) Show(ctx context.Context) error {
	f, ok := b.options.Out.(*os.File)
	if !ok || b.options.Plain || !term.IsTerminal(int(f.Fd())) {
		<-ctx.Done()
		return nil
	}
	// A screen of its own, so that what was on the terminal comes back; the cursor
	// would jump about.
	fmt.Fprint(f, "\x1b[?1049h\x1b[?25l")
	defer fmt.Fprint(f, "\x1b[?25h\x1b[?1049l")
	tick := time.NewTicker(redraw)
	defer tick.Stop()
	var was string
	for {
		width, height, err := term.GetSize(int(f.Fd()))
		if err != nil {
			return fmt.Errorf("the size of the terminal: %w", err)
		}
		if now := b.draw(width, height); now != was {
			was = now
			if _, err := io.WriteString(f, now); err != nil {
				return err
			}
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

// draw is what fills a terminal of that size.
func (b *Bed) draw(width, height int) string {
	b.mu.Lock()
	machines := b.machines
	b.mu.Unlock()
	var panes []pane
	for _, m := range machines {
		panes = append(panes, m.pane())
	}
	return drawGrid(append(b.Head(), "Ctrl-C or castpoint lab down ends it; castpoint lab key 1 f12, lab type, lab reboot, lab screen: see lab --help"), panes, width, height)
}

// pane is one screen of the grid.
type pane struct {
	title string
	lines []string
	on    bool
}

func (m *Machine) pane() pane {
	s := m.status()
	state := s.Stage
	if !s.On {
		state = stageOff
		if s.Stage != stageOn {
			state += ", was at: " + s.Stage
		}
	}
	return pane{fmt.Sprintf("%s  %s  %s", m.Name, s.MAC, state), m.screen.Lines(), s.On}
}

// What a pane needs to show something.
const (
	paneWidth  = 40
	paneHeight = 5
)

// columns is into how many columns panes are put: as few as show most of each.
func columns(panes, width, height int) int {
	best, shown := 1, -1
	for c := 1; c <= panes && (c == 1 || width/c >= paneWidth); c++ {
		rows := (panes + c - 1) / c
		area := min(width/c, screenColumns) * min(max(height/rows-1, 0), screenRows)
		if area > shown {
			best, shown = c, area
		}
	}
	return best
}

// drawGrid writes lines over the whole terminal, from its first corner on. What finds
// no room is said in the last line.
func drawGrid(head []string, panes []pane, width, height int) string {
	var lines []string
	for i, h := range head {
		if i < max(1, height/4) {
			lines = append(lines, cut(h, width))
		}
	}
	room := height - len(lines)
	if len(panes) > 0 && room > 1 {
		hidden := 0
		cols := columns(len(panes), width, room)
		rows := (len(panes) + cols - 1) / cols
		for rows > 1 && room/rows < min(paneHeight, room) {
			rows--
		}
		if fit := rows * cols; fit < len(panes) {
			hidden, panes, room = len(panes)-fit, panes[:fit], room-1
		}
		for r := range rows {
			first, last := r*cols, min(len(panes), (r+1)*cols)
			if first >= last {
				break
			}
			tall := room*(r+1)/rows - room*r/rows
			lines = append(lines, drawRow(panes[first:last], cols, width, tall)...)
		}
		if hidden > 0 {
			lines = append(lines, cut(fmt.Sprintf("%d more machines find no room here: castpoint lab screen NUMBER --watch", hidden), width))
		}
	}
	var b strings.Builder
	b.WriteString("\x1b[H")
	for i, line := range lines[:min(len(lines), height)] {
		if i > 0 {
			b.WriteString("\r\n")
		}
		b.WriteString(line + "\x1b[0m\x1b[K")
	}
	b.WriteString("\x1b[J")
	return b.String()
}

// drawRow writes the panes of one row beside each other.
func drawRow(panes []pane, cols, width, tall int) []string {
	lines := make([]string, tall)
	for i, p := range panes {
		wide := width*(i+1)/cols - width*i/cols
		inner := wide - 1 // a space between them
		if i == cols-1 {
			inner = wide
		}
		text := p.lines[max(0, len(p.lines)-(tall-1)):]
		for y := range lines {
			switch {
			case y == 0:
				lines[y] += "\x1b[7m" + pad(" "+p.title, inner) + "\x1b[0m" + strings.Repeat(" ", wide-inner)
			case y-1 < len(text):
				lines[y] += pad(text[y-1], inner) + strings.Repeat(" ", wide-inner)
			default:
				lines[y] += strings.Repeat(" ", wide)
			}
		}
	}
	return lines
}

// pad makes a line exactly that wide, in characters.
func pad(line string, width int) string {
	line = cut(line, width)
	return line + strings.Repeat(" ", max(0, width-len([]rune(line))))
}

// cut shortens a line to a width in characters.
func cut(line string, width int) string {
	if r := []rune(line); len(r) > width {
		return string(r[:max(0, width)])
	}
	return line
}

// echo writes a machine's lines, each with its name.
type echo struct {
	mu   *sync.Mutex // of out
	out  io.Writer
	name string
	line []byte
}

// lineMost is where a line is broken that does not end.
const lineMost = 4096

func (e *echo) Write(p []byte) (int, error) {
	e.line = append(e.line, p...)
	for {
		line, rest, whole := strings.Cut(string(e.line), "\n")
		if !whole && len(e.line) < lineMost {
			return len(p), nil
		}
		e.line = []byte(rest)
		if text := strings.TrimRight(strings.Map(printable, lab.Clean(strings.TrimRight(line, "\r"))), " "); text != "" {
			e.mu.Lock()
			fmt.Fprintf(e.out, "%s: %s\n", e.name, text)
			e.mu.Unlock()
		}
	}
}
