// Package rollout says which machines get which task sequence, and how far they are
// with it.
//
// Terms:
//
//   - a deployment gives the devices of a collection a sequence, required (it begins
//     by itself) or available (somebody at the machine chooses it);
//   - a run is one sequence on one device, over all restarts, from its beginning to
//     success or failure;
//   - an offer is what a machine gets when it asks now;
//   - an order is what somebody wants of a run: answers, another try, an end.
//
// Everything is in memory and in the database: a packet asks Decide and cannot wait
// for a disk, and a server that was killed goes on with every run where it was.
// Methods of Register are safe for concurrent use.
package rollout
