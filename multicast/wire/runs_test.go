package wire

import (
	"bytes"
	"math/rand/v2"
	"testing"
)

// TestRunList checks that reports say exactly what is lacking, however little
// room there is.
func TestRunList(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	for round := range 200 {
		n := 1 + rng.IntN(3000)
		deficits := make([]uint8, n)
		for i := range deficits {
			if rng.IntN(4) > 0 {
				deficits[i] = uint8(rng.IntN(3 + round%5))
			}
		}
		var l RunList
		for i, d := range deficits {
			if d > 0 && !l.fullUp {
				l.Add(i, i+1, d)
			}
		}
		_, end := l.Close(n)
		got := make([]uint8, end)
		at := 0
		for rest := l.b; len(rest) > 0; {
			r, tail, err := NextRun(rest)
			if err != nil {
				t.Fatal(err)
			}
			rest = tail
			at += int(r.Gap)
			for range r.Count {
				got[at] = r.Deficit
				at++
			}
		}
		if !bytes.Equal(got, deficits[:end]) {
			t.Fatalf("round %d: runs say something else than what is lacking up to %d of %d", round, end, n)
		}
		if l.fullUp && len(l.b) < MaxRuns-16 {
			t.Fatalf("round %d: runs stop at %d bytes of %d", round, len(l.b), MaxRuns)
		}
	}
}
