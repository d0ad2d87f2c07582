// Package testbed is what castpoint lab shows on one host: a server and virtual
// machines that boot from it in a closed network, with their screens as text.
//
// Order of events: [ReadNet] reads what the network is like; [Start] makes it, makes
// something to boot, and starts the server and the machines; [Bed.Control] answers
// other commands on a socket, as [Dial] asks them; [Bed.Show] draws the screens until
// the lab ends; [Bed.Close] removes everything. When the process dies before that, the
// lab's janitor does (see internal/lab).
//
// The server is the program itself, by its command line: this package knows nothing
// of what castpoint is made of.
package testbed
