package terminal

import (
	"strings"
	"unicode"

	"golang.org/x/text/width"
)

// cellWidth is how many columns of a terminal a text takes: East Asian characters are
// wide, and marks stand upon the letter before them.
func cellWidth(s string) int {
	n := 0
	for _, r := range s {
		n += runeWidth(r)
	}
	return n
}

func runeWidth(r rune) int {
	if unicode.In(r, unicode.Mn, unicode.Me, unicode.Cf) {
		return 0
	}
	switch width.LookupRune(r).Kind() {
	case width.EastAsianWide, width.EastAsianFullwidth:
		return 2
	}
	return 1
}

// cutCell is the beginning of a text that takes at most so many columns.
func cutCell(s string, columns int) string {
	if cellWidth(s) <= columns {
		return s
	}
	n := 1 // for the sign that something is left out
	for i, r := range s {
		if n += runeWidth(r); n > columns {
			return s[:i] + "…"
		}
	}
	return s
}

// cleanCell makes a text fit for a cell: it comes from machines, images and people.
func cleanCell(s string) string { return strings.Map(shown, s) }
