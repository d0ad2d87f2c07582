package netio

import (
	"testing"
	"time"
)

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

// A reader rests longer while little comes, and shortly while much does.
func TestGather(t *testing.T) {
	r := &batchReader{}
	got := make([]mmsghdr, 4)
	for _, step := range []struct {
		bytes int // of each of the four buffers
		want  time.Duration
	}{
		{bytes: 60_000, want: minGather},
		{bytes: 1476, want: 2 * time.Millisecond},
		{bytes: 30_000, want: 2 * time.Millisecond}, // enough
		{bytes: 1476, want: maxGather},
		{bytes: 1476, want: maxGather},
		{bytes: 60_000, want: 2 * time.Millisecond},
		{bytes: 60_000, want: minGather},
		{bytes: 60_000, want: minGather},
	} {
		for i := range got {
			got[i].n = uint32(step.bytes)
		}
		if r.pace(got); r.gather != step.want {
			t.Fatalf("after 4 buffers of %d bytes the reader gathers for %v, want %v", step.bytes, r.gather, step.want)
		}
	}
}
