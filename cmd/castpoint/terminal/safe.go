package terminal

import (
	"bytes"
	"io"
	"os"
	"sync"
	"unicode"
	"unicode/utf8"

	"golang.org/x/term"
)

// Safe is where a command writes: the file itself where it is no terminal, and otherwise
// one that shows what a terminal would obey. Commands print what machines, images and
// people have written; what has to move the cursor asks Of for the terminal.
func Safe(f *os.File) io.Writer {
	if !term.IsTerminal(int(f.Fd())) {
		return f
	}
	return &safe{to: f, terminal: f}
}

type safe struct {
	terminal *os.File

	mu   sync.Mutex
	to   io.Writer
	rest []byte // the beginning of a character whose end has not come
}

// Terminal is for those who draw on it.
func (s *safe) Terminal() *os.File { return s.terminal }

func (s *safe) Write(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	text := append(s.rest, b...)
	whole := len(text)
	for n := 1; n < utf8.UTFMax && n <= len(text); n++ {
		if last := text[len(text)-n:]; utf8.RuneStart(last[0]) {
			if !utf8.FullRune(last) {
				whole -= n
			}
			break
		}
	}
	s.rest = bytes.Clone(text[whole:])
	if _, err := s.to.Write(clean(text[:whole])); err != nil {
		return 0, err
	}
	return len(b), nil
}

// clean takes out of a text of several lines what a terminal would obey.
func clean(text []byte) []byte {
	return bytes.Map(func(r rune) rune {
		if r == '\n' || r == '\t' {
			return r
		}
		return shown(r)
	}, text)
}

// shown is a character, or what stands for one that would not be shown but obeyed:
// escape sequences and other controls, and what turns the direction of writing.
func shown(r rune) rune {
	if unicode.IsControl(r) || unicode.In(r, unicode.Bidi_Control) || r == unicode.ReplacementChar {
		return '?'
	}
	return r
}
