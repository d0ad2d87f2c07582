// Package point is a running distribution point: it makes all parts of one out of the
// settings, binds them as a unit, and lets them serve, be reloaded and end together.
//
// What can be replaced while machines are served is in a ruling, which is made anew
// beside the one in force; everything with a socket or a folder stays for the life of
// the process. What the servers of the boot protocols see goes through the witness, to
// timelines and metrics.
//
// Commands that find no server open the data folder by Local, and get the same answers
// from the same code.
package point
