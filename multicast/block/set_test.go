package block

import "testing"

func TestSet(t *testing.T) {
	const n = 200
	b := NewSet(n)
	if b.NextMissing(0, n) != 0 || b.NextPresent(0, n) != n {
		t.Error("the empty set has something, or lacks nothing")
	}
	for i := range n {
		if i != 63 && i != 64 && i != 199 {
			if !b.Add(i) || b.Add(i) {
				t.Fatalf("adding %d twice", i)
			}
		}
	}
	var missing []int
	for i := b.NextMissing(0, n); i < n; i = b.NextMissing(i+1, n) {
		missing = append(missing, i)
	}
	if len(missing) != 3 || missing[0] != 63 || missing[1] != 64 || missing[2] != 199 || b.n != 197 {
		t.Errorf("missing %v of %d", missing, b.n)
	}
	b.Remove(5)
	if b.Has(5) || b.NextMissing(0, n) != 5 || b.NextPresent(5, n) != 6 {
		t.Error("5 was removed and is still there")
	}
}
