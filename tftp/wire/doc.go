// Package wire reads and writes the datagrams of TFTP, and answers the options of a
// request. It keeps no state: what follows from a datagram is the business of package
// flow and of the server.
package wire
