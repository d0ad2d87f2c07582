// Package agent has what everything that runs on a machine that receives has in
// common: the events that are told, how they are shown, errors and exit codes.
// castagent is the rooms below it in the boot environment, castpoint receive some of
// them in a shell. None of them links server code.
//
// Terms:
//
//   - the pin is the hash of the server's certificate, all that is trusted;
//   - a target is where a content goes: a file, which has the name OUT.part
//     until it is complete, a folder, a disk, which is written in place, or a
//     program;
//   - the state file, OUT.part.json, holds the ticket and the object's digest,
//     so that a receive that was interrupted goes on where it was.
//
// A run asks what this machine is to do, and does it (agent/run); a receive brings one
// content (agent/receive) to its target (agent/target); both talk to the join listener
// (agent/client). When nothing arrives, agent/diagnose says why, and agent/probe
// measures the way before anything is sent.
package agent
