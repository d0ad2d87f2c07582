package windows

import "testing"

func TestOldForHTTP(t *testing.T) {
	for version, want := range map[string]bool{
		"10.0.19041.1": true, "10.0.14393.0": true, "6.3.9600.1": true, "10.0.20348.1": false, "10.0.26100.1742": false, "": false, "10.0.x.1": false,
	} {
		if got := oldForHTTP(version); got != want {
			t.Errorf("%q: %v", version, got)
		}
	}
}
