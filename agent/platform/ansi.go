package platform

import (
	"bytes"
	"io"
	"unicode/utf8"
)

// Control sequences that Linux's console knows (console_codes(4)).
const (
	ansiHome  = "\x1b[H"
	ansiClear = "\x1b[2J"
	ansiHide  = "\x1b[?25l" // the cursor
	ansiShow  = "\x1b[?25h"
)

// ansiSequences are what keys send that are no characters.
var ansiSequences = map[string]Key{"\x1b[19~": KeyPrompt, "\x1b[A": KeyUp, "\x1b[B": KeyDown, "\x1bOA": KeyUp, "\x1bOB": KeyDown}

// drawANSI writes lines from the top left in one go. A line as wide as the screen
// would be followed by an empty one if the cursor went on by itself, so the next
// place is always named.
func drawANSI(w io.Writer, lines []string) error {
	var b bytes.Buffer
	b.WriteString(ansiHide + ansiHome)
	for i, line := range lines {
		if i > 0 {
			b.WriteString("\r\n")
		}
		b.WriteString(line)
	}
	_, err := w.Write(b.Bytes())
	return err
}

// ansiKeys finds keys in what a console sent; rest is the beginning of a sequence
// or character whose end is still to come. Keys that mean nothing are passed over.
func ansiKeys(b []byte) (keys []Key, rest []byte) {
	for len(b) > 0 {
		switch c := b[0]; {
		case c == 0x1b:
			n := sequenceLen(b)
			if n == 0 {
				return keys, b
			}
			if key, ok := ansiSequences[string(b[:n])]; ok {
				keys = append(keys, key)
			}
			b = b[n:]
			continue
		case c == '\r' || c == '\n':
			keys = append(keys, KeyEnter)
		case c == 0x7f || c == '\b':
			keys = append(keys, KeyBack)
		case c >= utf8.RuneSelf:
			if !utf8.FullRune(b) {
				return keys, b
			}
			r, n := utf8.DecodeRune(b)
			if r != utf8.RuneError {
				keys = append(keys, Key(r))
			}
			b = b[n:]
			continue
		case c >= ' ':
			keys = append(keys, Key(c))
		}
		b = b[1:]
	}
	return keys, nil
}

// sequenceLen is the length of the control sequence that b begins with, 0 when its
// end is still to come (ECMA-48: ESC, then [ with parameters up to a byte from @ on,
// or O and one more). An ESC before anything else is a key of its own.
func sequenceLen(b []byte) int {
	switch {
	case len(b) < 2:
		return 0
	case b[1] == 'O' && len(b) < 3:
		return 0
	case b[1] == 'O':
		return 3
	case b[1] != '[':
		return 1
	}
	for i := 2; i < len(b); i++ {
		if b[i] >= '@' && b[i] <= '~' {
			return i + 1
		}
	}
	return 0
}
