//go:build !linux

package netio

import (
	"net"
	"net/netip"
)

// groupWriter sends datagram by datagram.
type groupWriter struct {
	conn  *net.UDPConn
	group netip.AddrPort
}

// open makes the socket on an interface's address.
func (w *groupWriter) open(local netip.Addr, ifi *net.Interface, cfg GroupSenderConfig) (err error) {
	w.group = cfg.Group
	if w.conn, err = net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.AddrPortFrom(local, 0))); err != nil {
		return err
	}
	if err = setGroupOptions(w.conn, ifi, cfg); err != nil {
		_ = w.conn.Close()
	}
	return err
}

func (w *groupWriter) segmenting() bool { return false }

// send sends b, which is no longer than size.
func (w *groupWriter) send(b []byte, _ int) error {
	_, err := w.conn.WriteToUDPAddrPort(b, w.group)
	return err
}

func (w *groupWriter) stand(Place) {}

func (w *groupWriter) close() error { return w.conn.Close() }
