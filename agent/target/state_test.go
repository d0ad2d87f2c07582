package target

import (
	"os"
	"path/filepath"
	"testing"
)

// FuzzState: a file beside OUT that anybody may have written never ends a receive
// badly; at worst it starts anew.
func FuzzState(f *testing.F) {
	f.Add([]byte(`{"format":1,"server":"https://192.0.2.1:8443","pin":"sha256:00","ticket":"t","size":123}`))
	f.Add([]byte(`{"format":1,"ticket":"t","size":-1,"folder":true}`))
	f.Add([]byte(`{"format":2}`))
	f.Add([]byte("\x00"))
	path := filepath.Join(f.TempDir(), "state")
	f.Fuzz(func(t *testing.T, b []byte) {
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
		s, err := ReadState(path)
		if err != nil {
			t.Fatal(err)
		}
		if s != nil && (s.Format != StateFormat || s.Ticket == "") {
			t.Fatalf("taken: %+v", s)
		}
	})
}

// scratch is a folder that goes with the test. Wine 8 does not know the call that
// T.TempDir removes it with.
func scratch(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "castpoint-test-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		entries, err := os.ReadDir(dir)
		if err != nil {
			t.Error(err)
		}
		for _, e := range entries {
			if err := os.Remove(filepath.Join(dir, e.Name())); err != nil {
				t.Error(err)
			}
		}
		if err := os.Remove(dir); err != nil {
			t.Error(err)
		}
	})
	return dir
}

func TestState(t *testing.T) {
	path := filepath.Join(scratch(t), "x"+suffixState)
	if s, err := ReadState(path); s != nil || err != nil {
		t.Fatal(s, err)
	}
	want := State{Format: StateFormat, Server: "s", Pin: "p", Ticket: "t", SHA256: "h", Size: 5}
	if err := want.Write(path); err != nil {
		t.Fatal(err)
	}
	if s, err := ReadState(path); err != nil || *s != want {
		t.Fatal(s, err)
	}
	for _, text := range []string{"", "{", `{"format":99,"ticket":"t"}`, `{"format":1}`} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if s, err := ReadState(path); s != nil || err != nil {
			t.Errorf("%q: %v, %v", text, s, err)
		}
	}
}

func TestStatePath(t *testing.T) {
	if got := StatePath("/data/x.wim", false); got != "/data/x.wim.part.json" {
		t.Error(got)
	}
}
