package terminal

import (
	"bytes"
	"os"
	"testing"
)

// What machines have written moves no cursor, whatever pieces it comes in.
func TestSafe(t *testing.T) {
	const text = "step 1\tprinted:\n\x1b[2Jroot@server# \u009b31m\r\u202egnp.exe \x7f漢字 é\xff\n"
	const want = "step 1\tprinted:\n?[2Jroot@server# ?31m??gnp.exe ?漢字 é?\n"
	for size := 1; size <= len(text); size++ {
		var b bytes.Buffer
		s := &safe{to: &b}
		for rest := []byte(text); len(rest) > 0; {
			n := min(size, len(rest))
			if got, err := s.Write(rest[:n]); got != n || err != nil {
				t.Fatal(got, err)
			}
			rest = rest[n:]
		}
		if b.String() != want {
			t.Fatalf("in pieces of %d: %q, want %q", size, b.String(), want)
		}
	}
	// Files and pipes get every byte.
	f, err := os.CreateTemp(t.TempDir(), "")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if w := Safe(f); w != f {
		t.Errorf("%T for a file", w)
	}
}
