package sender

import "net/netip"

// Conn is the edge by which a session reaches its members. internal/netio implements it
// with sockets, tests with a network in memory.
type Conn interface {
	// WriteGroup sends b to the group as datagrams of size bytes; the last may
	// be shorter. It may block for as long as the local link is busy, and must
	// be safe for concurrent use.
	WriteGroup(b []byte, size int) error
	// ReadReport reads one datagram that was sent to the session's feedback
	// address. After Close it returns net.ErrClosed.
	ReadReport(buf []byte) (n int, from netip.AddrPort, err error)
	Close() error
}

// A Conn may have a method Promised: what is sent then is the session's by its
// least rate or by its manner of sharing, and leaves before other images that fill the
// same link.
type promiser interface{ Promised(yes bool) }
