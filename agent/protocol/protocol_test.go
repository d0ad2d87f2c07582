package protocol

import (
	"strings"
	"testing"
)

func TestParsePin(t *testing.T) {
	want := NewPin([]byte("certificate"))
	hexed := strings.TrimPrefix(want.String(), "sha256:")
	var colons []string
	for i := 0; i < len(hexed); i += 2 {
		colons = append(colons, strings.ToUpper(hexed[i:i+2]))
	}
	for _, s := range []string{want.String(), hexed, " " + strings.ToUpper(hexed) + "\n", strings.Join(colons, ":"), "SHA256:" + hexed} {
		got, err := ParsePin(s)
		if err != nil || got != want {
			t.Errorf("ParsePin(%q) = %v, %v", s, got, err)
		}
	}
	for _, s := range []string{"", "sha256:", hexed[:62], hexed + "00", "sha1:" + hexed, strings.Repeat("g", 64)} {
		if _, err := ParsePin(s); err == nil {
			t.Errorf("ParsePin(%q) was accepted", s)
		}
	}
}

func TestProblemIsOneLineWithTheWayOut(t *testing.T) {
	p := &Problem{Title: "token refused", Detail: "token was used", Hint: "make another"}
	if got := p.Error(); got != "token was used; make another" {
		t.Errorf("got %q", got)
	}
	if got := (&Problem{Title: "token refused"}).Error(); got != "token refused" {
		t.Errorf("got %q", got)
	}
}
