package client

import (
	"crypto/tls"
	"errors"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"castpoint/agent/protocol"
)

// TestNoteTime: the server's clock is known by its answers.
func TestNoteTime(t *testing.T) {
	for _, want := range []time.Duration{0, -time.Second, 56 * 365 * 24 * time.Hour, -time.Hour, time.Hour} {
		c := &Client{}
		c.noteTime(time.Now(), time.Now().Add(want).UTC().Format(http.TimeFormat))
		c.noteTime(time.Now(), "yesterday") // says nothing
		if d := (c.Ahead() - want).Abs(); d > time.Second {
			t.Errorf("%v ahead: off by %v", want, d)
		}
	}
}

// TestServerThatDoesNotCome: the time is kept, and named.
func TestServerThatDoesNotCome(t *testing.T) {
	silent := &reachError{errors.New("reach it: no route to host")}
	synctest.Test(t, func(t *testing.T) {
		began, asked, pauses := time.Now(), 0, []time.Duration(nil)
		err := Reached(t.Context(), 20*time.Second, func(_ error, pause time.Duration) { pauses = append(pauses, pause) }, func() error {
			asked++
			time.Sleep(3 * time.Second) // as long as Linux asks for a hardware address
			return silent
		})
		if took := time.Since(began); took != 22500*time.Millisecond { // the last time is asked after 19.5 s
			t.Errorf("took %s", took)
		}
		if err == nil || !errors.Is(err, silent) || !strings.Contains(err.Error(), "asked for 23s") {
			t.Error(err)
		}
		if asked != 5 || len(pauses) != 4 || pauses[0] != askPause || pauses[3] != 4*time.Second {
			t.Error(asked, pauses)
		}
	})
	for _, err := range []error{nil, errors.New("another"), &protocol.Problem{Status: http.StatusForbidden}, &reachError{tls.RecordHeaderError{}}} {
		asked := 0
		got := Reached(t.Context(), time.Hour, func(error, time.Duration) {}, func() error { asked++; return err })
		if got != err || asked != 1 { //nolint:errorlint // it is handed through
			t.Errorf("%v: asked %d times, %v", err, asked, got)
		}
	}
	if got := Reached(t.Context(), -1, nil, func() error { return silent }); !errors.Is(got, silent) {
		t.Error(got)
	}
}
