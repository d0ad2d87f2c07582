package terminal

import (
	"bytes"
	"testing"
)

func TestTableOfAllScripts(t *testing.T) {
	var b bytes.Buffer
	rows := [][]string{{"NAME", "STATE"}, {"漢字", "known"}, {"e\u0301t\u00e9", "known"}, {"pc-\x1b[31m1\u202e7", "a\nb"}}
	if err := Table(&b, rows); err != nil {
		t.Fatal(err)
	}
	want := "NAME         STATE\n漢字         known\ne\u0301t\u00e9          known\npc-?[31m1?7  a?b\n"
	if b.String() != want {
		t.Errorf("%q, want %q", b.String(), want)
	}
	for _, c := range []struct {
		text    string
		columns int
		want    string
	}{
		{"castpoint", 9, "castpoint"}, {"castpoint", 5, "cast…"}, {"漢字漢字", 5, "漢字…"}, {"漢字漢字", 4, "漢…"}, {"", 0, ""},
	} {
		if got := cutCell(c.text, c.columns); got != c.want || cellWidth(got) > c.columns {
			t.Errorf("%s in %d columns: %q", c.text, c.columns, got)
		}
	}
	// A narrow terminal: nothing is wider than it, but the name by which things go.
	s := &Shot{Width: 40}
	if err := Table(s, [][]string{{"ID", "NAME", "COMMENT"}, {"aca1aa697f", "漢字漢字漢字漢字漢字漢字", "some text that is much too long for this"}}); err != nil {
		t.Fatal(err)
	}
	for line := range bytes.Lines(s.Bytes()) {
		if w := cellWidth(string(bytes.TrimRight(line, "\n"))); w > 40 {
			t.Errorf("%d columns: %s", w, line)
		}
	}
}
