//go:build !linux

package tftp

import (
	"context"
	"net"
	"net/netip"
)

// On other systems the server works with what package net offers: one system call
// for each datagram, replies by route, and Ethernet's MTU.

type arrival struct {
	dst, local netip.Addr
	index      int
}

func parseArrival([]byte) (arrival, bool) { return arrival{}, false }

func sourceOOB(netip.Addr, int) []byte { return nil }

func networkOf(a netip.Addr) string {
	if a.Is6() {
		return "udp6"
	}
	return "udp4"
}

func listenUDP(addr netip.AddrPort, _ string) (*net.UDPConn, error) {
	return net.ListenUDP(networkOf(addr.Addr()), net.UDPAddrFromAddrPort(addr))
}

func dialUDP(ctx context.Context, local, peer netip.AddrPort, _ string) (*net.UDPConn, int, error) {
	d := net.Dialer{LocalAddr: net.UDPAddrFromAddrPort(local)}
	c, err := d.DialContext(ctx, networkOf(peer.Addr()), peer.String())
	if err != nil {
		return nil, 0, err
	}
	return c.(*net.UDPConn), 1500, nil
}

func offloadSupported(*net.UDPConn) bool { return false }

type batchConn = *net.UDPConn

func newBatchConn(c *net.UDPConn, _ bool) batchConn { return c }

// newSocketLink makes a link over a connected socket.
func newSocketLink(conn *net.UDPConn, mtu, room int, _ bool) (*socketLink, error) {
	return &socketLink{conn: conn, mtu: mtu, out: &batcher{conn: conn, room: room}}, nil
}

// batcher sends DATA datagrams one by one.
type batcher struct {
	conn batchConn
	gso  bool
	room int
	addr net.Addr
	oob  []byte
	buf  []byte
}

func (b *batcher) sendBlocks(first int64, count, blockSize int, data []byte) error {
	for i := range count {
		b.buf = appendData(b.buf[:0], first+int64(i), data[i*blockSize:min((i+1)*blockSize, len(data))])
		var err error
		if b.addr == nil {
			_, err = b.conn.Write(b.buf)
		} else {
			_, err = b.conn.WriteTo(b.buf, b.addr)
		}
		if err != nil && !passing(err) {
			return err
		}
	}
	return nil
}
