//go:build !linux && !windows

package netio

import (
	"net"
	"net/netip"
	"time"
)

// listenGroup listens on every address: a socket cannot be bound to a group
// address everywhere.
func listenGroup(group netip.AddrPort) (*net.UDPConn, error) {
	return net.ListenUDP("udp", &net.UDPAddr{Port: int(group.Port())})
}

func growReceiveBuffer(c *net.UDPConn, size int) { _ = c.SetReadBuffer(size) }

// batchReader reads one datagram a call.
type batchReader struct {
	conn *net.UDPConn
	buf  []byte
}

// open takes the socket over.
func (r *batchReader) open(c *net.UDPConn) error {
	r.conn = c
	r.buf = make([]byte, 1<<16)
	return nil
}

func (r *batchReader) close() error { return r.conn.Close() }

func (r *batchReader) setDeadline(t time.Time) { _ = r.conn.SetReadDeadline(t) }

func (r *batchReader) read(handle func([]byte, time.Time)) error {
	n, _, err := r.conn.ReadFromUDPAddrPort(r.buf)
	if err != nil {
		return err
	}
	handle(r.buf[:n], time.Now())
	return nil
}
