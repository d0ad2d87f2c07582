package terminal

import (
	"strings"
	"testing"
	"unicode/utf8"
)

func TestFit(t *testing.T) {
	list := [][]string{{"ID", "NAME", "REASON"}, {"4f1a09c2", "pc-17", strings.Repeat("disk full ", 20)}, {"4f1a09c3-long-id", "ä-" + strings.Repeat("ö", 40), "x"}}
	facts := [][]string{{"content", "win11"}, {"because", strings.Repeat("it is so ", 20)}}
	for _, width := range []int{0, 30, 60, 80, 120} {
		for _, rows := range [][][]string{list, facts} {
			b := &Shot{Width: width}
			if err := Table(b, rows); err != nil {
				t.Fatal(err)
			}
			for line := range strings.Lines(b.String()) {
				n := utf8.RuneCountInString(strings.TrimRight(line, "\n"))
				if width >= 60 && n > width {
					t.Errorf("%d characters in %d: %s", n, width, line)
				}
			}
			if width == 0 && strings.Count(b.String(), "\n") != len(rows) {
				t.Errorf("changed where nobody looks:\n%s", b)
			}
			if !strings.Contains(b.String(), rows[len(rows)-1][0]) {
				t.Errorf("the name of a row is cut:\n%s", b)
			}
		}
	}
}
