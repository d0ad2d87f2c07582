package netio

import "golang.org/x/sys/unix"

// placeSocket sets SO_PRIORITY, which needs no privilege up to 6.
func placeSocket(fd int, place Place) {
	_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_PRIORITY, int(place))
}

// SetPlace says where the datagrams that are sent from now on stand.
func (s *Socket) SetPlace(place Place) { placeSocket(s.fd, place) }
