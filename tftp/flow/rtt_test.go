package flow

import (
	"testing"
	"time"
)

func TestEstimator(t *testing.T) {
	var e estimator
	if got := e.interval(); got != initialInterval {
		t.Errorf("before a measurement: %v", got)
	}
	for range 50 {
		e.sample(200 * time.Microsecond)
	}
	if got := e.interval(); got != minInterval {
		t.Errorf("on a fast network: %v", got)
	}
	e.expired()
	if got := e.interval(); got != 2*minInterval {
		t.Errorf("after one timeout: %v", got)
	}
	for range 20 {
		e.expired()
	}
	if got := e.interval(); got != maxInterval {
		t.Errorf("after many timeouts: %v", got)
	}
	e.progress()
	if got := e.interval(); got != minInterval {
		t.Errorf("after progress: %v", got)
	}
	for range 100 {
		e.sample(300 * time.Millisecond)
	}
	if got := e.interval(); got < 300*time.Millisecond || got > 500*time.Millisecond {
		t.Errorf("on a slow network: %v", got)
	}
	slow := estimator{ceiling: time.Second}
	slow.sample(20 * time.Second)
	if got := slow.interval(); got != time.Second {
		t.Errorf("above the client's timeout: %v", got)
	}
}
