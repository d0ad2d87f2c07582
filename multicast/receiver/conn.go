package receiver

import (
	"net/netip"
	"time"
)

// Conn is the edge by which a member takes part. internal/netio implements it with
// sockets, tests with a network in memory.
type Conn interface {
	// ReadGroup waits for at least one datagram of the group and hands each it
	// has, with the address that it says it came from, without a zone, and the time
	// when it reached the host, to handle, which must not keep it. The address may be
	// invalid where it is not known. The time may be zero, but not of all datagrams
	// of 10 ms. It returns os.ErrDeadlineExceeded after the deadline and
	// net.ErrClosed after Close.
	ReadGroup(handle func(datagram []byte, from netip.Addr, at time.Time)) error
	SetReadDeadline(t time.Time) error
	// Rejoin joins the group again, for a network that has forgotten this member.
	Rejoin() error
	// WriteReport sends one datagram to the session's feedback address.
	WriteReport(b []byte) error
	Close() error
}
