package object

import (
	"errors"
	"strings"
	"testing"

	"castpoint/content"
)

// TestPromisedSpace demands that an addition does not count space that another,
// which has not written yet, was promised.
func TestPromisedSpace(t *testing.T) {
	s := openStore(t, t.TempDir(), Options{Reserve: -1, Faults: &Faults{Free: func(string) (int64, error) { return 100 << 20, nil }}})
	first, err := s.claim(80 << 20)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.claim(30 << 20); !errors.Is(err, content.ErrNoSpace) || !strings.Contains(err.Error(), "80.0 MiB promised") {
		t.Errorf("have %v", err)
	}
	first.release(60 << 20)
	second, err := s.claim(30 << 20)
	if err != nil {
		t.Fatal(err)
	}
	first.end()
	second.end()
	second.end()
	if s.space.promised != 0 {
		t.Errorf("%d left promised", s.space.promised)
	}
}

// Logs of machines may use the reserve, but for its last quarter.
func TestRoomInReserve(t *testing.T) {
	faults := &Faults{}
	s := openStore(t, t.TempDir(), Options{Reserve: 400 << 20, Faults: faults})
	for free, fits := range map[int64]bool{1 << 30: true, 200 << 20: true, 101 << 20: true, 100 << 20: false, 0: false} {
		faults.Free = func(string) (int64, error) { return free, nil }
		if err := s.HasRoomInReserve(1 << 20); (err == nil) != fits || err != nil && !errors.Is(err, content.ErrNoSpace) {
			t.Errorf("%d bytes free: %v", free, err)
		}
		if s.HasRoom(1<<20) == nil != (free == 1<<30) {
			t.Errorf("%d bytes free: room for an addition is otherwise", free)
		}
	}
}
