package netio

import "testing"

func TestAncillary(t *testing.T) {
	for name, oob := range map[string][]byte{
		"nothing":         nil,
		"half a header":   make([]byte, 8),
		"length zero":     make([]byte, 32),
		"length too long": {255, 0, 0, 0, 0, 0, 0, 0, 17, 0, 0, 0, 104, 0, 0, 0},
	} {
		if n, at := ancillary(oob); n != 0 || !at.IsZero() {
			t.Errorf("%s: %d, %v", name, n, at)
		}
	}
}
