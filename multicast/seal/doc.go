// Package seal seals and opens datagrams: the ciphers, the keys of each epoch and how one
// follows from another, and the server's signature of beacons.
//
// All members of a session have the same group key, so it proves that somebody is a
// member, and not who. It changes with the epoch: after so many datagrams it is derived
// from the one before, which members do by themselves; when a member is removed it is
// made anew, and the others fetch it. Each member has a key of its own for its reports.
package seal
