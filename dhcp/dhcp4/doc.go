// Package dhcp4 says what castpoint answers in DHCP for IPv4 (RFC 2131), ProxyDHCP
// and PXE (PXE 2.1, RFC 4578), and UEFI HTTP boot (UEFI specification 24.7). It
// opens no socket; package dhcp does that and asks here, packet by packet.
//
// Terms:
//
//   - a request is a packet with op 1 that came in by one interface; where and
//     how it came is its Arrival;
//   - a netboot client says so itself: vendor class PXEClient or HTTPClient, or
//     iPXE's user class or option 175. Others are left alone in proxy mode;
//   - a boot plan (boot.Plan) says what the client boots, a Grant says what
//     address it gets (server mode only);
//   - a quirk is a row of data about one kind of firmware: the style of answer
//     it understands, and the report that says so.
//
// The order of events for one packet: Parse, Identify (pure), QuirkOf, the
// planner's boot.Plan, Leases.Answer in server mode, Reply (pure), Encode and
// Destination (pure; RFC 2131 section 4.1).
package dhcp4
