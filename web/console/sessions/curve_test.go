package sessions

import (
	"strings"
	"testing"
	"time"

	"castpoint/multicast/sender"
	"castpoint/web/session"
)

// noon is when the sessions of these tests are.
var noon = time.Date(2026, 11, 20, 12, 0, 0, 0, time.UTC)

func TestCurve(t *testing.T) {
	cs := newCurves()
	began := noon
	s := session.Info{Status: sender.Status{ID: "1", State: "sending", Began: &began, Target: 500e6}}
	waiting := session.Info{Status: sender.Status{ID: "2", State: "waiting"}}
	// A tenth of what is sent is repair.
	for i := range 10 * keepSamples {
		s.Rate, s.Sent = 400e6, uint64(i)*50_000_000
		s.Repair = s.Sent / 10
		cs.take(noon.Add(time.Duration(i)*time.Second), []session.Info{s, waiting})
	}
	c := cs.byID["1"]
	if n := len(c.samples); n < keepSamples/2 || n >= keepSamples {
		t.Errorf("%d samples of %d s each", n, c.step)
	}
	if last := c.samples[len(c.samples)-1]; last.rate < 399e6 || last.rate > 401e6 || last.repair < 39e6 || last.repair > 41e6 {
		t.Errorf("%+v", last)
	}
	chart := cs.of("1")
	if chart == nil || chart.Peak != "400 Mbit/s" || !strings.HasPrefix(chart.Rate, "0,140 0.0,0.0") || chart.Target != "" || chart.Span != "1 h 39 min" {
		t.Errorf("%+v", chart)
	}
	if cs.of("2") != nil || cs.of("3") != nil {
		t.Error("a curve of nothing")
	}
	cs.take(noon, nil)
	if cs.of("1") != nil {
		t.Error("a session that is no longer listed keeps its curve")
	}
}

func TestNiceAbove(t *testing.T) {
	for v, want := range map[float64]float64{0: 1e6, 1e6: 1e6, 412e6: 600e6, 900e6: 1e9, 1.1e9: 2e9} {
		if got := niceAbove(v); got != want {
			t.Errorf("niceAbove(%g) = %g, want %g", v, got, want)
		}
	}
}
