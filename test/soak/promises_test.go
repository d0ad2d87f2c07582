package main

import (
	"errors"
	"net/netip"
	"strings"
	"testing"
	"time"

	"castpoint/test/client"
)

// Each kind of broken promise is found.
func TestPromisesBroken(t *testing.T) {
	p := newPromises()
	now := time.Now()
	a := client.Lease{Address: netip.MustParseAddr("10.77.0.60"), Confirmed: now, Until: now.Add(time.Minute)}
	at := func(later time.Duration) client.Lease {
		l := a
		l.Confirmed = now.Add(later)
		return l
	}
	if err := p.lease("m1", a); err != nil {
		t.Fatal(err)
	}
	if err := p.lease("m1", a); err != nil {
		t.Errorf("the same machine again: %v", err)
	}
	if got := p.keptLeases(map[string]string{"10.77.0.60": "m1"}, now); len(got) != 0 {
		t.Errorf("kept, and found %q", got)
	}
	for _, listed := range []map[string]string{nil, {"10.77.0.60": "m2"}} {
		if got := p.keptLeases(listed, now); len(got) != 1 {
			t.Errorf("%v: found %q", listed, got)
		}
	}
	if err := p.lease("m2", at(time.Second)); err == nil {
		t.Error("an address that was given twice is not found")
	}
	if err := p.lease("m3", at(2*time.Minute)); err != nil {
		t.Errorf("the lease had ended: %v", err)
	}
	p.forget(a.Address)
	if got := p.keptLeases(nil, now); len(got) != 0 {
		t.Errorf("given back, and found %q", got)
	}

	p.content("sure", true)
	p.content("perhaps", false)
	if got := p.keptContents([]string{"sure"}); len(got) != 0 {
		t.Errorf("found %q", got)
	}
	if got := p.keptContents([]string{"perhaps"}); len(got) != 1 {
		t.Errorf("a lost content: found %q", got)
	}
	if got := p.keptContents([]string{"sure", "another"}); len(got) != 1 {
		t.Errorf("a content that nobody has added: found %q", got)
	}
	p.unsureContent()
	if got := p.keptContents([]string{"sure", "another"}); len(got) != 0 {
		t.Errorf("its answer was lost, and found %q", got)
	}

	p.note("pc-1", "a", true)
	p.note("pc-1", "b", false)
	for text, broken := range map[string]int{"a": 0, "b": 0, "c": 1} {
		if got := p.keptNotes(map[string]string{"pc-1": text}); len(got) != broken {
			t.Errorf("note %s: found %q", text, got)
		}
	}
	if got := p.keptNotes(nil); len(got) != 1 {
		t.Errorf("a lost device: found %q", got)
	}
	p.ran("pc-1")
	if got := p.keptRuns(map[string]int{"pc-1": 2}); len(got) != 0 {
		t.Errorf("found %q", got)
	}
	if got := p.keptRuns(nil); len(got) != 1 {
		t.Errorf("a lost run: found %q", got)
	}
}

// An error is a fault in fine weather only.
func TestWeatherExcuses(t *testing.T) {
	w := &weather{}
	tally := newTally(w)
	began := time.Now()
	tally.failed("TFTP", began, errors.New("silence"))
	if err := tally.err(); err == nil || !strings.Contains(err.Error(), "silence") {
		t.Errorf("in fine weather: %v", err)
	}
	tally = newTally(w)
	end := w.begin("disk full")
	tally.failed("TFTP", time.Now(), errors.New("silence"))
	end()
	tally.failed("TFTP", time.Now(), errors.New("silence")) // its afterglow
	if err := tally.err(); err != nil || tally.of("TFTP").disturbed != 2 {
		t.Errorf("while something disturbs: %v, %+v", err, tally.of("TFTP"))
	}
	w.past[0].from, w.past[0].to = began.Add(-time.Hour), began.Add(-time.Hour+time.Second)
	if got := w.excuse(time.Now(), time.Now()); got != "" {
		t.Errorf("long after, %q is an excuse", got)
	}
}
