package flow

import "errors"

// Errors of transfers.
var (
	// ErrSilent means that the client stopped answering.
	ErrSilent = errors.New("the client stopped answering")
	// ErrStalled means that the client went on to ask for the same block: what is
	// sent to it does not arrive, typically because a part of the path carries
	// smaller packets than both ends believe.
	ErrStalled = errors.New("the client asks for the same block again and again: does the path carry packets of this size?")
	// ErrPeerClosed means that the client's machine said that nobody listens on
	// the client's port any more (ICMP port unreachable).
	ErrPeerClosed = errors.New("the client closed its port")
	// ErrChanged means that the file did not have the size it had when opened.
	ErrChanged = errors.New("the file changed while it was read")

	// ErrInterrupted is what a Link returns after it was interrupted.
	ErrInterrupted = errors.New("interrupted")
)
