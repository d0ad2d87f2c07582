//go:build !windows

package platform

import (
	"slices"
	"testing"
)

// FuzzKeys: what a console sends, in whatever pieces, are the same keys.
func FuzzKeys(f *testing.F) {
	for _, text := range []string{"yes\r", "\x1b[19~", "\x1b[A\x1bOB\x1b", "\x1b[1;2;3", "é漢\xff\xc3", "\x7f\b\x00"} {
		f.Add([]byte(text), 1)
	}
	f.Fuzz(func(t *testing.T, b []byte, at int) {
		keys, rest := ansiKeys(b)
		if len(keys) > len(b) || len(rest) > len(b) {
			t.Fatalf("%d keys and %d bytes out of %d", len(keys), len(rest), len(b))
		}
		at = min(max(at, 0), len(b))
		first, held := ansiKeys(b[:at])
		second, left := ansiKeys(append(slices.Clone(held), b[at:]...))
		if got := append(first, second...); !slices.Equal(got, keys) || !slices.Equal(left, rest) {
			t.Fatalf("%q: keys %v and %q, in two pieces %v and %q", b, keys, rest, got, left)
		}
	})
}
