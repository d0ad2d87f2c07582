// Package agent is what runs on a machine that receives: it joins a session,
// puts the content together on the machine's own disk or memory, and tells the
// server how it went. castagent is this package in the boot environment,
// castpoint receive is this package in a shell. It links no server code.
//
// Terms:
//
//   - the pin is the hash of the server's certificate, all that is trusted;
//   - a target is where the object goes: a file, which has the name OUT.part
//     until it is complete, or a disk, which is written in place;
//   - the state file, OUT.part.json, holds the ticket and the object's digest,
//     so that a receive that was interrupted goes on where it was.
//
// Order of events in [Receive]:
//
//  1. the target is looked at: nothing is asked of the server for a target that
//     cannot be written;
//  2. join with the token, or with the ticket of the state file;
//  3. room for the whole object is taken, so that a full disk is found now;
//  4. what is there already is hashed, when there was a state file;
//  5. the session is received; when it brings nothing, the reasons are looked
//     for and told, and the rest comes by unicast; when it falls silent, the
//     ticket joins again;
//  6. digest of the whole, fsync, rename, fsync of the folder;
//  7. leave, with statistics.
package agent
