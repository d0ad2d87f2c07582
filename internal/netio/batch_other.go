//go:build !linux && !windows

package netio

import (
	"net"
	"net/netip"
	"time"

	"golang.org/x/net/ipv4"
	"golang.org/x/net/ipv6"
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
func (r *batchReader) open(c *net.UDPConn, _ bool) error {
	r.conn = c
	r.buf = make([]byte, 1<<16)
	return nil
}

func (r *batchReader) close() error { return r.conn.Close() }

// rejoin leaves the socket's group and joins it again.
func (r *batchReader) rejoin(ifi *net.Interface, group netip.Addr) error {
	at := &net.UDPAddr{IP: group.AsSlice()}
	if group.Is4() {
		p := ipv4.NewPacketConn(r.conn)
		_ = p.LeaveGroup(ifi, at) // one that was not joined cannot be left
		return p.JoinGroup(ifi, at)
	}
	p := ipv6.NewPacketConn(r.conn)
	_ = p.LeaveGroup(ifi, at)
	return p.JoinGroup(ifi, at)
}

func (r *batchReader) setDeadline(t time.Time) { _ = r.conn.SetReadDeadline(t) }

func (r *batchReader) read(handle func([]byte, netip.Addr, time.Time)) error {
	n, from, err := r.conn.ReadFromUDPAddrPort(r.buf)
	if err != nil {
		return err
	}
	handle(r.buf[:n], from.Addr().Unmap().WithZone(""), time.Now())
	return nil
}
