// Package dhcp answers machines that ask for an address or for something to
// boot: DHCP (RFC 2131), ProxyDHCP and PXE boot servers (PXE 2.1, RFC 4578),
// UEFI HTTP boot (UEFI specification 24.7).
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
// The order of events for one packet:
//
//  1. a reader takes it off a socket together with its Arrival;
//  2. Parse reads it; a malformed one is counted and dropped;
//  3. Identify says who asks (pure);
//  4. limits, lists and the quirk table are consulted;
//  5. the planner says what it boots, and in server mode the leases say which
//     address it gets;
//  6. Reply writes the answer or the reason for silence (pure);
//  7. Destination says where the answer goes (pure; RFC 2131 section 4.1), and
//     it leaves by the interface the request came by;
//  8. an Event tells the observer what was asked and what was answered, or why
//     nothing was.
package dhcp
