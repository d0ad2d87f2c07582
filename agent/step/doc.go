// Package step runs a task sequence on a machine: its steps in order, with
// conditions, retries and time limits, and tells the server how each of them goes.
// What a step does to the machine is in package machine.
//
// Terms:
//
//   - a leaf is a step that does something; groups only hold others;
//   - an action is what a leaf does, one of package sequence's types, with the
//     variables in its texts replaced;
//   - the state is what the run needs when the machine starts again: where it is,
//     its variables, what is on the disks. It is kept in memory, and on the first
//     disk that the run has divided;
//   - a person is whoever stands before the machine.
//
// Order of events for a leaf:
//
//  1. its conditions and those of its groups; one that does not hold skips it;
//  2. the state says that it runs, then the server is told;
//  3. the action, again as often as the step allows when it fails;
//  4. the state says how it ended, then the server is told, until it has heard.
//
// So a machine that loses power knows which step it was in, and one that finds the
// server gone waits with what it has done.
//
// When a step fails for good, the machine stays as it is, says why, sends its log,
// and waits for an order: run again from a step, or restart.
package step
