package host

import (
	"net"
	"net/netip"
	"os"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

func TestInheritedSockets(t *testing.T) {
	tcp, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer tcp.Close()
	onLo := net.ListenConfig{Control: func(_, _ string, rc syscall.RawConn) error {
		var bind error
		if err := rc.Control(func(fd uintptr) { bind = unix.BindToDevice(int(fd), "lo") }); err != nil {
			return err
		}
		return bind
	}}
	udp, err := onLo.ListenPacket(t.Context(), "udp4", "0.0.0.0:0")
	if err != nil {
		t.Fatal(err)
	}
	defer udp.Close()
	files := func() []*os.File {
		a, err := tcp.(*net.TCPListener).File()
		if err != nil {
			t.Fatal(err)
		}
		b, err := udp.(*net.UDPConn).File()
		if err != nil {
			t.Fatal(err)
		}
		return []*os.File{a, b}
	}

	in, err := sortSockets(files())
	if err != nil {
		t.Fatal(err)
	}
	if list := in.Unused(); len(list) != 2 || !strings.Contains(list[0].What, tcp.Addr().String()) {
		t.Errorf("unused: %v", list)
	}
	if l := in.Listener("127.0.0.1:1"); l != nil {
		t.Error("a listener of another port was taken")
	}
	_, port, _ := net.SplitHostPort(tcp.Addr().String())
	if l := in.Listener(":" + port); l != nil {
		t.Error("a listener of loopback was taken for every address")
	}
	if l := in.Listener("127.0.0.1:" + port); l == nil {
		t.Error("the listener was not found")
	} else {
		_ = l.Close()
	}
	where := netip.AddrPortFrom(netip.IPv4Unspecified(), udp.LocalAddr().(*net.UDPAddr).AddrPort().Port())
	if c := in.Packets(where, "eth1"); c != nil {
		t.Error("a socket of lo was taken for eth1")
	}
	if c := in.Packets(where, "lo"); c == nil {
		t.Error("the UDP socket was not found")
	} else {
		_ = c.Close()
	}
	if list := in.Unused(); len(list) != 0 {
		t.Errorf("unused after all were taken: %v", list)
	}

	pipe, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	if _, err := sortSockets(append(files(), pipe)); err == nil {
		t.Error("a pipe was taken for a socket")
	}
}
