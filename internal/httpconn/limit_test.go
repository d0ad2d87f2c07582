package httpconn

import (
	"fmt"
	"net"
	"net/http"
	"testing"

	"go.uber.org/zap"
)

func TestClientOf(t *testing.T) {
	for in, want := range map[string][2]string{
		"192.0.2.1:80":             {"192.0.2.1", "invalid Prefix"},
		"[::ffff:192.0.2.1]:80":    {"192.0.2.1", "invalid Prefix"},
		"[2001:db8:1:2:3:4:5:6]:8": {"2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"},
		"[fe80::1%eth0]:80":        {"fe80::1", "invalid Prefix"},
	} {
		client, network := clientOf(&fakeConn{addr: in})
		if got := [2]string{peer(client), network.String()}; got != want {
			t.Errorf("%s: %q, want %q", in, got, want)
		}
	}
}

// All machines of a room are in one /64: each has its connections, all of them together
// half of those that there are.
func TestLimitConns(t *testing.T) {
	change := Limit(40, 4, zap.NewNop())
	var open []*fakeConn
	dial := func(addr string) bool {
		c := &fakeConn{addr: addr}
		change(c, http.StateNew)
		if !c.closed {
			open = append(open, c)
		}
		return !c.closed
	}
	count := func(format string, n int) (taken int) {
		for i := range n {
			if dial(fmt.Sprintf(format, i)) {
				taken++
			}
		}
		return taken
	}
	if n := count("[2001:db8::1]:%d", 10); n != 4 {
		t.Errorf("%d connections of one address, want 4", n)
	}
	if n := count("[2001:db8::2:%x]:80", 30); n != 16 {
		t.Errorf("%d connections of other addresses of its network, want 16", n)
	}
	if n := count("[fe80::%x%%eth0]:80", 10); n != 10 {
		t.Errorf("%d connections of 10 hosts of the link", n)
	}
	if n := count("192.0.2.1:%d", 10); n != 4 {
		t.Errorf("%d connections of an IPv4 address, want 4", n)
	}
	for _, c := range open {
		change(c, http.StateClosed)
	}
	if n := count("[2001:db8::2:%x]:80", 30); n != 20 {
		t.Errorf("%d connections of a network once the others have gone, want 20", n)
	}
}

// The connection that has been idle for longest makes room, one in use never does.
func TestLimitConnsIdle(t *testing.T) {
	change := Limit(3, -1, zap.NewNop())
	conn := func(addr string, states ...http.ConnState) *fakeConn {
		c := &fakeConn{addr: addr}
		for _, s := range append([]http.ConnState{http.StateNew}, states...) {
			change(c, s)
		}
		return c
	}
	busy := conn("192.0.2.1:1", http.StateActive)
	first := conn("192.0.2.2:1", http.StateActive, http.StateIdle)
	second := conn("192.0.2.3:1", http.StateActive, http.StateIdle)
	change(first, http.StateActive)
	change(first, http.StateIdle)
	if c := conn("192.0.2.4:1", http.StateActive); c.closed || !second.closed || first.closed || busy.closed {
		t.Errorf("closed: new %t, idle for longest %t, idle %t, busy %t", c.closed, second.closed, first.closed, busy.closed)
	}
	if c := conn("192.0.2.5:1", http.StateActive); c.closed || !first.closed || busy.closed {
		t.Errorf("closed: new %t, idle %t, busy %t", c.closed, first.closed, busy.closed)
	}
	if c := conn("192.0.2.6:1"); !c.closed || busy.closed {
		t.Errorf("nobody is idle, and a connection was taken (%t) or one in use closed (%t)", !c.closed, busy.closed)
	}
}

type fakeConn struct {
	net.Conn
	addr   string
	closed bool
}

func (c *fakeConn) Close() error { c.closed = true; return nil }

func (c *fakeConn) RemoteAddr() net.Addr { return fakeAddr(c.addr) }

type fakeAddr string

func (fakeAddr) Network() string  { return "tcp" }
func (a fakeAddr) String() string { return string(a) }
