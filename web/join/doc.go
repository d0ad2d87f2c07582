// Package join is the join listener, to which machines come: for a policy, for a
// session, for ranges of an object, and with what they report.
//
// Order of events for one machine:
//
//  1. a boot script is made for it, with a new token ([Service.BootToken]);
//  2. its agent asks for its policy with the token, which stays unused;
//  3. it joins: the content and its settings are looked up, the keeper admits it
//     to the running session or a new one, the token is used up, a ticket made;
//  4. it receives; what multicast does not bring it fetches by ranges of the
//     object, authorised by the ticket;
//  5. it leaves with its statistics. The session ends by itself when nobody is
//     left in it.
//
// The identity is the server's self-signed certificate, kept in the data folder; its
// hash, the pin, is all that machines know about the server. An [Assignment] is the
// content that machines receive when they netboot and have no deployment; what those
// with a deployment get is package delivery's.
package join
