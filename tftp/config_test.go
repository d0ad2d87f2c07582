package tftp

import (
	"testing"
	"time"
)

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
