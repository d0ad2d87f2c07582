package rate

import "testing"

func TestSetLimit(t *testing.T) {
	c := NewController(0, 0, 0)
	if c.rate != startRate || c.limit != noLimit {
		t.Errorf("without a cap: %v of %v", c.rate, c.limit)
	}
	c.SetLimit(40e6)
	if c.rate != 40e6 || c.limit != 40e6 {
		t.Errorf("a lower cap holds at once: %v of %v", c.rate, c.limit)
	}
	c.SetLimit(400e6)
	if c.rate != 40e6 || c.limit != 400e6 {
		t.Errorf("a higher cap is grown into: %v of %v", c.rate, c.limit)
	}
	c.SetLimit(0)
	if c.limit != noLimit {
		t.Errorf("no cap: %v", c.limit)
	}
}
