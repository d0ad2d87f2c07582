package sequence

import (
	"strings"
	"testing"
)

func TestLike(t *testing.T) {
	for _, c := range []struct {
		text, pattern string
		want          bool
	}{
		{"", "", true}, {"", "*", true}, {"", "?", false}, {"a", "", false}, {"pc-17", "PC-*", true}, {"pc-17", "*17", true}, {"pc-17", "p?-1?", true}, {"pc-17", "p?1?", false},
		{"Latitude 5450/E", "latitude*/e", true}, {"a[b]", "a[b]", true}, {`a\b`, `a\b`, true}, {"ab", "a[b]", false}, {"abab", "*ab", true}, {"aXbXc", "a*x*c", true}, {"abc", "a*c*d", false},
		{"漢字", "?字", true}, {"ÄRGER", "ärger", true}, {"abc", "***", true}, {"abc", "abc**", true}, {"abc", "abcd*", false}, {"\xff", "?", true},
	} {
		if got := Like(c.text, c.pattern); got != c.want {
			t.Errorf("%q like %q: %v", c.text, c.pattern, got)
		}
	}
	// What makes others take for ever.
	if Like(strings.Repeat("a", 10_000), strings.Repeat("*a", 500)+"b") {
		t.Error("no b is in it")
	}
}
