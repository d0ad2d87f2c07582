package sessions

import (
	"testing"
	"time"
)

func TestParseStart(t *testing.T) {
	now := time.Date(2026, 12, 23, 12, 0, 0, 0, time.UTC)
	for text, want := range map[string]time.Time{
		"":                     {},
		"12:30":                time.Date(2026, 12, 23, 12, 30, 0, 0, time.UTC),
		"02:30":                time.Date(2026, 12, 24, 2, 30, 0, 0, time.UTC),
		"2026-12-31 23:59":     time.Date(2026, 12, 31, 23, 59, 0, 0, time.UTC),
		"2026-12-31T23:59:00Z": time.Date(2026, 12, 31, 23, 59, 0, 0, time.UTC),
	} {
		if got, err := parseStart(text, now); err != nil || !got.Equal(want) {
			t.Errorf("parseStart(%q) = %v, %v, want %v", text, got, err, want)
		}
	}
	for _, text := range []string{"25:00", "soon", "2026-12-31"} {
		if _, err := parseStart(text, now); err == nil {
			t.Errorf("parseStart(%q) was accepted", text)
		}
	}
}
