package httpconn

import (
	"syscall"

	"golang.org/x/sys/unix"
)

// tcpClosed is TCP_CLOSE of net/tcp_states.h: the peer has reset it, or the kernel gave
// it up.
const tcpClosed = 7

// sending tells what a connection has sent; not ok when there is none any more.
func sending(conn syscall.Conn) (s sendState, ok bool) {
	rc, err := conn.SyscallConn()
	if err != nil {
		return s, false
	}
	_ = rc.Control(func(fd uintptr) {
		info, err := unix.GetsockoptTCPInfo(int(fd), unix.IPPROTO_TCP, unix.TCP_INFO)
		if err != nil || info.State == tcpClosed {
			return
		}
		s.acked = info.Bytes_acked
		s.left, err = unix.IoctlGetInt(int(fd), unix.SIOCOUTQ)
		ok = err == nil
	})
	return s, ok
}
