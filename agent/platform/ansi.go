package platform

import (
	"bytes"
	"io"
)

// Control sequences that Linux's console knows (console_codes(4)).
const (
	ansiHome  = "\x1b[H"
	ansiClear = "\x1b[2J"
	ansiHide  = "\x1b[?25l" // the cursor
	ansiShow  = "\x1b[?25h"
	// ansiF8 is what F8 sends.
	ansiF8 = "\x1b[19~"
)

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
// whose end is still to come.
func ansiKeys(b []byte) (keys []Key, rest []byte) {
	for {
		i := bytes.IndexByte(b, 0x1b)
		if i < 0 {
			return keys, nil
		}
		b = b[i:]
		switch {
		case bytes.HasPrefix(b, []byte(ansiF8)):
			keys, b = append(keys, KeyPrompt), b[len(ansiF8):]
		case bytes.HasPrefix([]byte(ansiF8), b):
			return keys, b
		default:
			b = b[1:]
		}
	}
}
