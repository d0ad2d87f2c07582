//go:build !linux

package netio

import (
	"errors"
	"net"
	"net/netip"
	"time"
)

func probeSegmentation(*net.UDPConn) bool { return false }

func writeSegmented(*net.UDPConn, []byte, int, netip.AddrPort) error {
	return errors.ErrUnsupported
}

func segmentationRefused(err error) bool { return errors.Is(err, errors.ErrUnsupported) }

// listenGroup listens on every address: a socket cannot be bound to a group
// address on Windows.
func listenGroup(group netip.AddrPort) (*net.UDPConn, error) {
	return net.ListenUDP("udp", &net.UDPAddr{Port: int(group.Port())})
}

func growReceiveBuffer(c *net.UDPConn, size int) { _ = c.SetReadBuffer(size) }

// batchReader reads one datagram a call.
type batchReader struct {
	conn *net.UDPConn
	buf  []byte
}

func (r *batchReader) open(c *net.UDPConn, _ bool) {
	r.conn = c
	r.buf = make([]byte, 1<<16)
}

func (r *batchReader) setDeadline(t time.Time) { _ = r.conn.SetReadDeadline(t) }

func (r *batchReader) read(handle func([]byte, time.Time)) error {
	n, _, err := r.conn.ReadFromUDPAddrPort(r.buf)
	if err != nil {
		return err
	}
	handle(r.buf[:n], time.Now())
	return nil
}
