// Package admit keeps what admits machines to sessions: a token admits once, and is
// exchanged for a ticket, by which the same member comes back. Their secrets are not
// kept, only hashes of them; both survive a restart of the server.
package admit
