package machine

import (
	"strings"
	"testing"
)

// TestRealPrograms runs what every Windows has, and Wine.
func TestRealPrograms(t *testing.T) {
	w, err := New()
	if err != nil {
		t.Fatal(err)
	}
	r, err := w.Programs().Run(t.Context(), w.Shell(`echo "a b" & exit 5`))
	if err != nil || r.Code != 5 || !strings.Contains(r.Tail, `"a b"`) {
		t.Errorf("cmd ended with %d, %q, %v", r.Code, r.Tail, err)
	}
	if w.Environment() != "windows" && w.Environment() != "windows-pe" {
		t.Errorf("environment %q", w.Environment())
	}
}
