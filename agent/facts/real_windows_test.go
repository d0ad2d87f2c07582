package facts

import "testing"

// TestWindowsFacts reads what every Windows says of itself, and Wine.
func TestWindowsFacts(t *testing.T) {
	f := Read()
	t.Logf("facts %+v", f)
	if f.Threads < 1 || f.Memory < 64 || f.Architecture == "" || f.Firmware == "" {
		t.Errorf("facts %+v", f)
	}
}
