// Package multicast moves objects to many members in one encrypted session.
//
// Terms:
//
//   - a session is one transmission of one or more objects to any number of members;
//   - a member is a receiver that was admitted and got the session's keys; it wants
//     some of the objects, or all;
//   - a block is the unit of hashing and of repair; it is part of one object, and
//     is coded into symbols. Blocks are numbered through all objects;
//   - a symbol is the payload of one datagram: source symbols are the block's
//     bytes, repair symbols are computed from them, and any k of them rebuild
//     the block, where k is the number of source symbols;
//   - a deficit is how many symbols of a block a member still lacks.
//
// The way of a block, with what runs in order (one goroutine) and what in
// parallel:
//
//  1. schedule picks a block that somebody lacks                  (in order)
//  2. the source is read, repair symbols are computed if needed   (in order)
//  3. each symbol gets its packet number and is sealed            (in order)
//  4. the pacer releases a burst, one call sends it               (in order)
//  5. the member opens each datagram into its place in the block  (in order)
//  6. a block with k symbols is decoded, hashed and written        (parallel, as
//     soon as processor or disk do not keep up)
//  7. if it was asked for, the SHA-256 of each object follows the written
//     prefix                                                      (in order)
//  8. the member reports what it still lacks, at the interval the sender asked
//     for                                                         (in order)
//  9. the worst deficit of each block becomes its next repair      (in order)
//
// Nothing depends on a datagram arriving, on its order, or on a member being
// there from the start: reports state what is lacking now, and symbols say
// which block they belong to. A member that comes late lacks much, a
// member that lost a datagram lacks little; both are served by the same rule.
//
// The package has no sockets. GroupConn and MemberConn are its two edges;
// internal/netio implements them with sockets, tests with a network in memory.
package multicast

import (
	"net/netip"
	"time"
)

// GroupConn is the sender's edge.
type GroupConn interface {
	// WriteGroup sends b to the group as datagrams of size bytes; the last may
	// be shorter. It may block for as long as the local link is busy, and must
	// be safe for concurrent use.
	WriteGroup(b []byte, size int) error
	// ReadReport reads one datagram that was sent to the session's feedback
	// address. After Close it returns net.ErrClosed.
	ReadReport(buf []byte) (n int, from netip.AddrPort, err error)
	Close() error
}

// A GroupConn may have a method Promised: what is sent then is the session's by its
// least rate or by its manner of sharing, and leaves before other images that fill the
// same link.
type promiser interface{ Promised(yes bool) }

// MemberConn is a member's edge.
type MemberConn interface {
	// ReadGroup waits for at least one datagram of the group and hands each it
	// has, with the address that it says it came from, without a zone, and the time
	// when it reached the host, to handle, which must not keep it. The address may be
	// invalid where it is not known. The time may be zero, but not of all datagrams of 10 ms. It returns
	// os.ErrDeadlineExceeded after the deadline and net.ErrClosed after Close.
	ReadGroup(handle func(datagram []byte, from netip.Addr, at time.Time)) error
	SetReadDeadline(t time.Time) error
	// Rejoin joins the group again, for a network that has forgotten this member.
	Rejoin() error
	// WriteReport sends one datagram to the session's feedback address.
	WriteReport(b []byte) error
	Close() error
}
