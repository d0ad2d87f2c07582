package web

import (
	"fmt"
	"testing"
	"time"

	"castpoint/deploy"
	"castpoint/internal/event"
	"castpoint/internal/store"
	"castpoint/test/contents"
	"castpoint/web/access"
)

// What a large site has.
const (
	manyDevices = 10_000
	manyEvents  = 1_000_000
)

// pageTime is the longest that a person waits for a page without noticing.
const pageTime = 200 * time.Millisecond

// TestPagesAreQuick: with 10 000 devices and a million events every page comes
// within 200 ms. Of several tries the best counts: other tests run beside it.
func TestPagesAreQuick(t *testing.T) {
	if testing.Short() {
		t.Skip("it writes a million events")
	}
	s, err := store.Open(t.Context(), t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	mac := func(i int) string { return fmt.Sprintf("52:54:00:%02x:%02x:%02x", i>>16, i>>8&0xff, i&0xff) }
	var rows []store.Device
	for i := range manyDevices {
		state := deploy.StateKnown
		if i%100 == 0 {
			state = deploy.StateWaiting
		}
		rows = append(rows, store.Device{
			ID: fmt.Sprintf("%010x", i), Name: fmt.Sprintf("pc-%05d", i), MACs: []string{mac(i)}, UUID: fmt.Sprintf("4c4c4544-0042-3510-8052-%012x", i), State: string(state),
			Groups: []string{fmt.Sprintf("room-%d", i%50)}, Settings: []byte("{}"), Seen: []byte("{}"), Created: time.Now(),
		})
	}
	if err := s.PutDevices(t.Context(), rows...); err != nil {
		t.Fatal(err)
	}
	const batch = 10_000
	events := make([]store.Event, batch)
	for n := 0; n < manyEvents; n += batch {
		for i := range events {
			kind := event.Kinds()[i%len(event.Kinds())]
			if kind == event.KindError {
				kind = event.KindStep // the page of a kind that there is not looks at everything
			}
			events[i] = store.Event{Time: time.Now(), MAC: mac(i % manyDevices), Kind: string(kind), Message: "UEFI x64 firmware boots by TFTP, so it gets its first stage snponly.efi."}
		}
		if err := s.AddEvents(t.Context(), events); err != nil {
			t.Fatal(err)
		}
	}
	timeline, err := event.New(event.Config{Store: s})
	if err != nil {
		t.Fatal(err)
	}
	devices, err := deploy.Open(t.Context(), deploy.Config{Store: s, Note: timeline.Record})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = devices.Close()
		timeline.Close()
	})
	a, err := access.Open(t.Context(), access.Config{Store: s})
	if err != nil {
		t.Fatal(err)
	}
	for i := range 600 {
		if err := s.AddAudit(t.Context(), &store.AuditEntry{Time: time.Now(), Who: "ann", Action: "set-device", Target: fmt.Sprint("/devices/", i)}); err != nil {
			t.Fatal(err)
		}
	}
	p := newPoint(t, contents.Free, func(c *Config) { c.Devices, c.Timeline, c.Access = devices, timeline, a })
	c := p.Client()
	for _, path := range []string{
		"/status", "/devices", "/devices?limit=500", "/devices?state=waiting", "/devices?search=pc-09999", "/devices?group=room-7", "/devices?after=1pc-05000",
		"/devices/pc-05000", "/devices/" + mac(5000), "/devices/pc-05000/timeline", "/devices/pc-05000/timeline?kind=dhcp&limit=500",
		"/timeline", "/timeline?before=500000", "/timeline?kind=error", "/timeline?limit=1000", "/contents", "/sessions", "/access/users", "/audit", "/audit?limit=500",
	} {
		best := time.Hour
		for range 5 {
			began := time.Now()
			var answer any
			if err := c.Call(t.Context(), "GET", path, nil, &answer); err != nil {
				t.Fatalf("%s: %v", path, err)
			}
			best = min(best, time.Since(began))
		}
		t.Logf("%8.1f ms  %s", float64(best.Microseconds())/1000, path)
		if best > pageTime {
			t.Errorf("%s takes %s", path, best)
		}
	}
}
