package event

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"castpoint/internal/store"
)

func newRecorder(t *testing.T, cfg Config) *Recorder {
	t.Helper()
	s, err := store.Open(t.Context(), t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	cfg.Store = s
	r, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		r.Close()
		_ = s.Close()
	})
	return r
}

func TestRecord(t *testing.T) {
	r := newRecorder(t, Config{})
	machine := Filter{MACs: []string{"52:54:00:00:00:01"}}
	f := r.Follow(machine)
	defer f.Close()
	want := Event{MAC: "52:54:00:00:00:01", UUID: "u", Kind: KindDHCP, Trouble: true, Message: "first", Details: Details{Asked: "DISCOVER", Bytes: 7}}
	send := want
	send.MAC = strings.ToUpper(want.MAC)
	r.Record(send)
	r.Record(Event{MAC: "52:54:00:00:00:02", Kind: KindHTTP, Message: "another machine's"})
	r.Record(Event{UUID: "u", Kind: KindHTTP, Message: strings.Repeat("ä", maxMessage)})
	if err := r.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	p, err := r.Query(t.Context(), Filter{MACs: machine.MACs, UUIDs: []string{"u"}}, 0, 0, 0)
	if err != nil || len(p.Events) != 2 || p.Before != 0 {
		t.Fatalf("%+v, %v", p, err)
	}
	got := p.Events[0]
	want.ID, want.Time = got.ID, got.Time
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if n := len(p.Events[1].Message); n > maxMessage {
		t.Errorf("a message of %d bytes", n)
	}
	if live := <-f.Events(); live.ID != got.ID || live.Message != "first" {
		t.Errorf("followed %+v", live)
	}
	select {
	case e := <-f.Events():
		t.Errorf("followed %+v", e)
	default:
	}
	p, err = r.Query(t.Context(), Filter{}, 0, 0, 2)
	if err != nil || len(p.Events) != 2 || p.Before != p.Events[0].ID {
		t.Fatalf("page %+v, %v", p, err)
	}
	p, err = r.Query(t.Context(), Filter{Kinds: []Kind{KindDHCP}}, p.Before, 0, 2)
	if err != nil || len(p.Events) != 1 || p.Before != 0 {
		t.Errorf("last page %+v, %v", p, err)
	}
}

// TestNobodyWaits: neither a queue that is full nor a follower that sleeps stops
// the one who records.
func TestNobodyWaits(t *testing.T) {
	r := newRecorder(t, Config{})
	f := r.Follow(Filter{})
	const many = 3 * queueLength
	for i := range many {
		r.Record(Event{Kind: KindDHCP, Message: fmt.Sprint(i)})
	}
	if err := r.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	last, err := r.cfg.Store.LastEvent(t.Context())
	if err != nil || uint64(last)+r.Dropped() != many {
		t.Errorf("%d stored, %d dropped of %d, %v", last, r.Dropped(), many, err)
	}
	if f.Missed()+followLength != uint64(last) {
		t.Errorf("%d missed of %d", f.Missed(), last)
	}
	r.Close()
	n := 0
	for range f.Events() {
		n++
	}
	if n != followLength {
		t.Errorf("%d events before the end", n)
	}
	f.Close()
	for range r.Follow(Filter{}).Events() { // ends at once
	}
	r.Record(Event{}) // no one takes it, and nobody falls
}

func TestRetention(t *testing.T) {
	r := newRecorder(t, Config{Age: time.Hour, Count: 10})
	r.Record(Event{Time: time.Now().Add(-2 * time.Hour), Message: "old"})
	for i := range 20 {
		r.Record(Event{Message: fmt.Sprint(i)})
	}
	if err := r.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	r.trim()
	p, err := r.Query(t.Context(), Filter{}, 0, 0, 0)
	if err != nil || len(p.Events) != 10 || p.Events[0].Message != "10" {
		t.Errorf("%+v, %v", p, err)
	}
	for _, c := range []Config{{}, {Store: r.cfg.Store, Age: 1}, {Store: r.cfg.Store, Count: -1}} {
		if _, err := New(c); err == nil {
			t.Errorf("%+v was taken", c)
		}
	}
}

// TestRetentionWhileTheClockIsSet: events do not go for their age by a clock that was just
// set ahead, but for their number.
func TestRetentionWhileTheClockIsSet(t *testing.T) {
	steady := false
	r := newRecorder(t, Config{Age: time.Hour, Count: 10, Steady: func() bool { return steady }})
	for i := range 15 {
		r.Record(Event{Time: time.Now().Add(-400 * 24 * time.Hour), Message: fmt.Sprint(i)}) // as long ago as the clock was set by
	}
	if err := r.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, want := range []int{10, 0} {
		r.trim()
		if p, err := r.Query(t.Context(), Filter{}, 0, 0, 0); err != nil || len(p.Events) != want {
			t.Errorf("steady %t: %d events, want %d; %v", steady, len(p.Events), want, err)
		}
		steady = true
	}
}
