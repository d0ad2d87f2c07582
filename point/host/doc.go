// Package host is what a process asks of the host that it runs on: the interfaces that can
// be served, who holds a port, who the neighbours are, packets that wake machines, the
// sockets that systemd has bound, and the privileges that it keeps.
package host
