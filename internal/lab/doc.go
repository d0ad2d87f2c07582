// Package lab makes closed virtual networks, and boots virtual machines in them:
// for castpoint lab, the end-to-end tests, the demo and the benchmarks.
//
// A network is a switch with hosts around it, each a network namespace:
//
//	server 10.77.0.1 ── switch ─┬─ client 1  10.77.0.11
//	                            ├─ client 2  10.77.0.12
//	                            └─ tap1, tap2 ... virtual machines
//
// Nothing leaves it: the namespaces have no way to the machine's own
// interfaces. Links can have a rate and lose packets.
//
// Order of events: New makes the namespaces; Host.Start and Host.Run execute
// programs in them; Network.Boot starts a virtual machine; Close ends every
// program that still runs in a namespace and removes the namespaces and the
// scratch directory. The removal is done by a small process of its own (see
// janitor.go) which also runs when the program that made the network dies.
//
// The package needs root, iproute2, ethtool and, for machines, QEMU; [Check] says
// what is missing.
package lab
