package netio

import (
	"net/netip"
	"testing"

	"golang.org/x/sys/unix"
)

// TestPromised: a session stands with the images, but for what it was promised.
func TestPromised(t *testing.T) {
	s, err := OpenGroupSender(GroupSenderConfig{Interface: "lo", Group: netip.MustParseAddrPort("239.192.67.9:7899")})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	for _, c := range []struct {
		promised bool
		want     Place
	}{{false, Bulk}, {true, Ordinary}, {true, Ordinary}, {false, Bulk}} {
		s.Promised(c.promised)
		priority, err := unix.GetsockoptInt(s.out.fd, unix.SOL_SOCKET, unix.SO_PRIORITY)
		if err != nil {
			t.Fatal(err)
		}
		if priority != int(c.want) {
			t.Errorf("promised %v: priority %d", c.promised, priority)
		}
	}
}
