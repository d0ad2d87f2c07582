package testbed

import (
	"strings"
	"sync"
	"unicode/utf8"

	"github.com/hinshun/vt10x"
)

// Size of the screens. EDK2 offers 100 × 31 at its serial console, SeaBIOS and Linux
// take 80 × 25 of it.
const (
	screenColumns = 100
	screenRows    = 31
)

// Screen is the text on a machine's screen, out of what its serial console says:
// firmware moves the cursor about, and Linux writes lines.
type Screen struct {
	mu       sync.Mutex
	terminal vt10x.Terminal
	part     []byte // of a character that has not come whole
	writes   uint64
}

// NewScreen is an empty one.
func NewScreen() *Screen {
	return &Screen{terminal: vt10x.New(vt10x.WithSize(screenColumns, screenRows))}
}

// Write takes what the console says. It never fails.
func (s *Screen) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.writes++
	text := append(s.part, p...)
	whole := len(text)
	for i := max(0, whole-utf8.UTFMax+1); i < whole; i++ {
		if utf8.RuneStart(text[i]) && !utf8.FullRune(text[i:]) {
			whole = i
			break
		}
	}
	s.part = append([]byte(nil), text[whole:]...)
	// What is no text at all, as of firmware that changes the console's speed, is left
	// out by the terminal.
	_, _ = s.terminal.Write(text[:whole])
	return len(p), nil
}

// Changed counts the writes.
func (s *Screen) Changed() uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.writes
}

// Lines are the lines of the screen without spaces at their ends, up to the last that
// has text or the cursor.
func (s *Screen) Lines() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	lines := strings.Split(s.terminal.String(), "\n")
	last := 0
	for i := range lines {
		lines[i] = strings.TrimRight(strings.Map(printable, lines[i]), " ")
		if lines[i] != "" {
			last = i
		}
	}
	return lines[:last+1]
}

// printable replaces what would move the cursor of the terminal that it is drawn on.
func printable(r rune) rune {
	if r < ' ' || r == 0x7f || r >= 0x80 && r < 0xa0 {
		return ' '
	}
	return r
}

// clear makes it empty, for a machine that is switched on again.
func (s *Screen) clear() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.terminal, s.part = vt10x.New(vt10x.WithSize(screenColumns, screenRows)), nil
	s.writes++
}
