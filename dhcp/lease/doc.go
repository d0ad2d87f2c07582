// Package lease says what a lease is, for IPv4 and IPv6, and keeps leases in a file that
// outlasts the death of the process at any moment.
package lease
