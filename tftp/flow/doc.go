// Package flow decides which blocks of a TFTP transfer go when: windows, what is sent
// again and after what time, how fast. A Sender is the server's end of a read, a
// Receiver that of a write; both work over a Link, which is a socket, or a network in
// the memory of a test.
//
// Terms:
//
//   - blocks count from 1 and are 64-bit numbers here, 16-bit numbers on the wire, where
//     0 follows 65535;
//   - a window is how many blocks the client takes before it acknowledges
//     (RFC 7440), 1 when it did not ask; lock-step is window 1;
//   - a flight is the blocks sent without waiting in between, at most a window;
//   - to go back is to send again from the first block that is not acknowledged.
package flow
