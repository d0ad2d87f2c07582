// Package dhcp6 says what castpoint answers in DHCPv6 (RFC 8415, RFC 5970): to
// machines that boot over IPv6 by PXE or HTTP, and, when castpoint gives
// addresses, to all others. It opens no socket; package dhcp does that and asks
// here, packet by packet.
//
// Terms:
//
//   - a Request is a client's message with the relays it came through taken
//     off; an Arrival is where and how it came;
//   - stateless answers carry boot options only: addresses come from the
//     router's advertisements or from another DHCPv6 server;
//   - an identity association (IA) is what a client hangs an address on; a
//     machine has one for each interface.
//
// The order of events for one packet: Parse, Identify (pure), the planner's
// boot.Plan, Leases.Answer when addresses are given, Reply (pure), Encode and
// Destination (pure).
package dhcp6
