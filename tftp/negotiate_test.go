package tftp

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestNegotiate(t *testing.T) {
	plain := Terms{BlockSize: 512, Window: 1}
	for _, tt := range []struct {
		name    string
		options []Option
		write   bool
		b       bounds
		terms   Terms
		answer  []Option
	}{
		{name: "nothing asked", terms: plain},
		{name: "size", options: []Option{{"tsize", "0"}}, terms: Terms{BlockSize: 512, Window: 1, Size: true},
			answer: []Option{{"tsize", "1000"}}},
		{name: "size unknown", options: []Option{{"tsize", "0"}}, b: bounds{1468, 64, -1}, terms: plain},
		{name: "block size", options: []Option{{"blksize", "1456"}}, terms: Terms{BlockSize: 1456, Window: 1},
			answer: []Option{{"blksize", "1456"}}},
		{name: "block size above the path MTU", options: []Option{{"blksize", "8192"}},
			terms: Terms{BlockSize: 1468, Window: 1}, answer: []Option{{"blksize", "1468"}}},
		{name: "smallest block size", options: []Option{{"blksize", "8"}}, terms: Terms{BlockSize: 8, Window: 1},
			answer: []Option{{"blksize", "8"}}},
		{name: "block size too small", options: []Option{{"blksize", "7"}}, terms: plain},
		{name: "EDK2", options: []Option{{"tsize", "0"}, {"blksize", "1468"}, {"windowsize", "4"}},
			terms:  Terms{BlockSize: 1468, Window: 4, Size: true},
			answer: []Option{{"tsize", "1000"}, {"blksize", "1468"}, {"windowsize", "4"}}},
		{name: "Windows", options: bootManager(1456, 16),
			terms:  Terms{BlockSize: 1456, Window: 16, VarWindow: true, Size: true},
			answer: []Option{{"tsize", "1000"}, {"blksize", "1456"}, {"windowsize", "16"}, {"msftwindow", "27182"}}},
		{name: "msftwindow of another number", options: []Option{{"msftwindow", "1"}}, terms: plain},
		{name: "window above the limit", options: []Option{{"windowsize", "65535"}},
			terms: Terms{BlockSize: 512, Window: 64}, answer: []Option{{"windowsize", "64"}}},
		{name: "window 0", options: []Option{{"windowsize", "0"}}, terms: plain},
		{name: "timeout", options: []Option{{"timeout", "5"}},
			terms: Terms{BlockSize: 512, Window: 1, Timeout: 5 * time.Second}, answer: []Option{{"timeout", "5"}}},
		{name: "timeout out of range", options: []Option{{"timeout", "0"}, {"timeout", "256"}}, terms: plain},
		{name: "spelling and order are the client's", options: []Option{{"WindowSize", "2"}, {"BLKSIZE", "1024"}},
			terms:  Terms{BlockSize: 1024, Window: 2},
			answer: []Option{{"WindowSize", "2"}, {"BLKSIZE", "1024"}}},
		{name: "repeated", options: []Option{{"blksize", "1024"}, {"blksize", "512"}},
			terms: Terms{BlockSize: 1024, Window: 1}, answer: []Option{{"blksize", "1024"}}},
		{name: "unknown and nonsense", options: []Option{{"multicast", ""}, {"blksize", "x"}, {"windowsize", "-3"}, {"tsize", ""}}, terms: plain},
		{name: "beyond any number", options: []Option{{"blksize", "99999999999999999999"}}, terms: plain},
		{name: "upload", options: bootManager(1456, 16), write: true,
			terms:  Terms{BlockSize: 1456, Window: 16},
			answer: []Option{{"tsize", "0"}, {"blksize", "1456"}, {"windowsize", "16"}}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if tt.b == (bounds{}) {
				tt.b = bounds{blockSize: 1468, window: 64, size: 1000}
			}
			terms, answer := negotiate(tt.options, tt.write, tt.b)
			if d := cmp.Diff(tt.terms, terms); d != "" {
				t.Error(d)
			}
			if d := cmp.Diff(tt.answer, answer); d != "" {
				t.Error(d)
			}
		})
	}
}

func TestConfigErrors(t *testing.T) {
	open := serveFiles(nil)
	for name, c := range map[string]Config{
		"no open":           {},
		"block size small":  {Open: open, MaxBlockSize: 7},
		"block size large":  {Open: open, MaxBlockSize: 65465},
		"window":            {Open: open, MaxWindow: -1},
		"transfers":         {Open: open, MaxTransfers: -2},
		"idle":              {Open: open, IdleTimeout: time.Millisecond},
		"half a port range": {Open: open, PortMin: 5000},
		"ports backwards":   {Open: open, PortMin: 5000, PortMax: 4000},
		"ports and single":  {Open: open, PortMin: 5000, PortMax: 6000, SinglePort: true},
		"rate":              {Open: open, Rate: 100},
		"client rate":       {Open: open, ClientRate: -1},
		"upload":            {Open: open, MaxUpload: -1},
	} {
		if _, err := New(c); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
	if _, err := New(Config{Open: open}); err != nil {
		t.Errorf("defaults: %v", err)
	}
}

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
