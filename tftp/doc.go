// Package tftp serves boot files by TFTP, as fast as the protocol allows.
//
// Terms:
//
//   - a request is the RRQ (read) or WRQ (write) datagram that a client sends to
//     the listening port;
//   - a transfer is what follows an accepted request: one file, one client port,
//     normally one socket of its own (the server's TID of RFC 1350), a goroutine for
//     what may take time, and a coroutine that a loop resumes when the client answers;
//   - a block is the payload of one DATA datagram; windows and flights of them are
//     explained in package flow;
//   - a probe is a request that the client ends as soon as it has learned the
//     file's size: firmware does it before nearly every file.
//
// Order of events of a read:
//
//  1. The listener receives the RRQ and notes the address it was sent to and the
//     interface it came by. Requests sent to a broadcast address are ignored
//     (RFC 1123 section 4.2.3.5).
//  2. The request is parsed, its name cleaned, the limits are checked, a repeated
//     request of a running transfer is dropped.
//  3. A goroutine opens the file by Config.Open. An error goes to the client as an
//     ERROR datagram that a person can read on the machine's screen.
//  4. A socket is bound to the address that the request was sent to. The options
//     are negotiated against the file's size and the path's MTU.
//  5. OACK, answered by ACK 0 (when the client asked for an option we know).
//  6. Flights and ACKs until the last block, shorter than the others, is
//     acknowledged. Without an ACK the flight is repeated after an interval that
//     follows the measured round-trip time.
//  7. An Event says how it ended.
package tftp
