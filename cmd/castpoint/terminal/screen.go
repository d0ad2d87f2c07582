package terminal

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"golang.org/x/term"
)

// Shot is the output of a command that is shown by somebody else.
type Shot struct {
	bytes.Buffer
	Width int // of the terminal that it is for; 0 for none
}

// Of is the terminal that w is, if it is one.
func Of(w io.Writer) (*os.File, bool) {
	if s, ok := w.(*safe); ok {
		return s.terminal, true
	}
	f, ok := w.(*os.File)
	return f, ok && term.IsTerminal(int(f.Fd()))
}

// WidthOf is how many characters fit on a line of a terminal; 0 for what is none.
func WidthOf(w io.Writer) int {
	if s, ok := w.(*Shot); ok {
		return s.Width
	}
	f, ok := Of(w)
	if !ok {
		return 0
	}
	width, _, err := term.GetSize(int(f.Fd()))
	if err != nil {
		return 0
	}
	return width
}

// Redraw shows the beginning of a text on a terminal, as much as fits.
func Redraw(screen *os.File, title, text string) error {
	_, height, err := term.GetSize(int(screen.Fd()))
	if err != nil {
		return err
	}
	lines := strings.Split(strings.TrimRight(string(clean([]byte(text))), "\n"), "\n")
	more := ""
	if room := height - 2; room > 0 && len(lines) > room {
		more = fmt.Sprintf(", %d lines more", len(lines)-room)
		lines = lines[:room]
	}
	_, err = fmt.Fprintf(screen, "\x1b[H\x1b[K%s  %s%s\n%s\x1b[K\n\x1b[J", title, time.Now().Format(time.TimeOnly), more, strings.Join(lines, "\x1b[K\n"))
	return err
}

// JSONLine writes JSON in one line.
func JSONLine(w io.Writer, text []byte) error {
	var b bytes.Buffer
	if err := json.Compact(&b, text); err != nil {
		return err
	}
	b.WriteByte('\n')
	_, err := w.Write(b.Bytes())
	return err
}
