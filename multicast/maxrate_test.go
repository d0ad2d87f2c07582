package multicast

import "testing"

func TestSetLimit(t *testing.T) {
	c := newController(0, 0, 0)
	if c.rate != startRate || c.limit != noLimit {
		t.Errorf("without a cap: %v of %v", c.rate, c.limit)
	}
	c.setLimit(40e6)
	if c.rate != 40e6 || c.limit != 40e6 {
		t.Errorf("a lower cap holds at once: %v of %v", c.rate, c.limit)
	}
	c.setLimit(400e6)
	if c.rate != 40e6 || c.limit != 400e6 {
		t.Errorf("a higher cap is grown into: %v of %v", c.rate, c.limit)
	}
	c.setLimit(0)
	if c.limit != noLimit {
		t.Errorf("no cap: %v", c.limit)
	}
}
