// Package dhcp is the server for machines that ask for an address or for something
// to boot: DHCP (RFC 2131), ProxyDHCP and PXE boot servers (PXE 2.1, RFC 4578),
// UEFI HTTP boot (UEFI specification 24.7), and DHCPv6. What it answers is decided
// in packages dhcp4 and dhcp6; here are the sockets, the workers, the limits and
// what is remembered of clients and of other servers.
//
// The order of events for one packet of IPv4:
//
//  1. a reader takes it off a socket together with where and how it came
//     (dhcp4.Arrival), and puts it into the queue of its client;
//  2. dhcp4.Parse reads it; a malformed one is counted and dropped;
//  3. dhcp4.Identify says who asks;
//  4. limits, lists and the quirk table are consulted;
//  5. the planner says what it boots, and in server mode the leases say which
//     address it gets; a new one is probed first;
//  6. dhcp4.Reply writes the answer or the reason for silence;
//  7. dhcp4.Destination says where the answer goes, and it leaves by the
//     interface the request came by;
//  8. an Event tells the observer what was asked and what was answered, or why
//     nothing was.
//
// DHCPv6 goes the same way, by the functions of package dhcp6.
package dhcp
