// Package web is what a distribution point says over HTTPS and HTTP apart from
// boot files: the join listener, to which machines come for a session, and the
// admin API on loopback.
//
// Terms:
//
//   - the identity is the server's self-signed certificate, kept in the data
//     folder; its hash, the pin, is all that machines know about the server;
//   - a token admits a machine once, a ticket is what it is exchanged for
//     (packages admit and agent/protocol);
//   - the keeper holds the sessions that are running (package session);
//   - an assignment is the content that machines receive when they netboot.
//
// Order of events for one machine:
//
//  1. a boot script is made for it, with a new token ([Server.BootToken]);
//  2. its agent asks for its policy with the token, which stays unused;
//  3. it joins: the content and its settings are looked up, the keeper admits it
//     to the running session or a new one, the token is used up, a ticket made;
//  4. it receives; what multicast does not bring it fetches by ranges of the
//     object, authorised by the ticket;
//  5. it leaves with its statistics. The session ends by itself when nobody is
//     left in it.
//
// The two listeners share no handler: nothing of the admin API can be reached
// through the join listener. The admin API's operations are in the files admin*.go;
// package api says how one is made, package access who may call it.
package web
