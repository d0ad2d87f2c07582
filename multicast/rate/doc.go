// Package rate decides how fast a session sends.
//
// The controller looks for the highest rate at which datagrams do not
// queue up and are not lost because of it. Two signs are used, each the worst
// of all members in a round of reports:
//
//   - queueing delay, which rises before anything is lost;
//   - loss above the member's floor. A floor exists because some links lose at
//     any rate (wireless, bad cables): when a cut does not make the loss
//     smaller, and nothing queues, the loss is not of our making: it becomes the
//     floor, and the cut is taken back.
//
// A cut goes to what the worst member really received, less a little for the
// queue to drain.
//
// Neighbours does what loss and delay cannot do: it leaves room for what else leaves by
// the sender's link. A pacer spreads what is sent over time.
//
// Nothing here has a lock, a clock or a goroutine: who calls says what time it is.
package rate
