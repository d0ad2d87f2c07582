// Package session holds the multicast sessions that a distribution point sends.
//
// Terms:
//
//   - a [Parcel] is what machines receive of one content: its files, without what is
//     for firmware only; a session's cargo are the parcels that it carries;
//   - the [Keeper] has the running sessions: on each interface one that carries a
//     content, or more when they are full. It makes one when the first member joins,
//     gives it a group, a port and its share of the rate, and lists it for a while
//     when it has ended;
//   - a [Place] is where a member is: which session, which number, which parcel;
//   - a slower session is for members that another one has outpaced;
//   - a [Probe] measures the way to one machine (castpoint doctor multicast).
//
// Who may be a member is not decided here: package admit has tokens and tickets.
package session
