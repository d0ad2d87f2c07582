package platform

import "testing"

func TestScreenName(t *testing.T) {
	for _, c := range []struct {
		device, active string
		want           bool
	}{
		{"/dev/tty1", "", true}, {"/dev/console", "tty0\n", true}, {"/dev/console", "ttyS0 tty0\n", true},
		{"/dev/console", "tty0 ttyS0\n", false}, {"/dev/console", "", false}, {"/dev/ttyS0", "tty0", false},
		{"/dev/pts/3", "tty0", false}, {"/dev/tty", "tty0", false}, {"pipe:[1]", "tty0", false}, {"/dev/ttyAMA0", "", false},
	} {
		if got := screenName(c.device, c.active); got != c.want {
			t.Errorf("%s, active %q: %v", c.device, c.active, got)
		}
	}
}
