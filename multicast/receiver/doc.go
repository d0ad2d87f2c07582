// Package receiver takes part in a session as one member: it opens datagrams into the
// blocks that they are of, rebuilds what was lost, gives whole blocks to the assembly
// and tells the sender what is still lacking.
//
// One goroutine reads, opens and reports. Blocks are finished by it too as long as
// processor and disk keep up, and by routines of their own when they do not.
package receiver
