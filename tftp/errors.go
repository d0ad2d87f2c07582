package tftp

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"syscall"
)

// Code is the error code of an ERROR datagram.
type Code uint16

// The codes of RFC 1350 appendix I and RFC 2347.
const (
	CodeUndefined  Code = 0 // "see the text"
	CodeNotFound   Code = 1
	CodeForbidden  Code = 2
	CodeNoSpace    Code = 3
	CodeIllegal    Code = 4
	CodeUnknownTID Code = 5
	CodeExists     Code = 6
	CodeNoUser     Code = 7
	CodeOptions    Code = 8 // options refused; firmware also aborts with it after a probe
)

// Errors that Config.Open and Config.Create return, alone or wrapped with a
// reason, to choose what the client is told. The whole text of such an error
// goes to the client, so it must say nothing that is not for everybody's eyes.
// fs.ErrNotExist, fs.ErrPermission, fs.ErrExist and ENOSPC are understood too,
// but their text, which may hold a path of this machine, is not sent.
var (
	ErrNotFound  = errors.New("file not found")
	ErrForbidden = errors.New("access denied")
	ErrNoSpace   = errors.New("no space left for the upload")
	ErrIllegal   = errors.New("illegal request")
	ErrExists    = errors.New("file exists already")
	ErrBusy      = errors.New("server is busy, try again later")
)

// Errors of transfers, seen in Event.Err.
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
	// ErrShutdown means that the server ended while the transfer ran.
	ErrShutdown = errors.New("server is shutting down")
	// ErrReplaced means that a new request came from the same client port.
	ErrReplaced = errors.New("the client sent a new request from the same port")
	// ErrChanged means that the file did not have the size it had when opened.
	ErrChanged = errors.New("the file changed while it was read")
)

// PeerError is an ERROR datagram that the client sent.
type PeerError struct {
	Code Code
	Text string // printable ASCII
}

// Error names the code and the client's words.
func (e *PeerError) Error() string {
	return fmt.Sprintf("the client ended the transfer: error %d %q", e.Code, e.Text)
}

// maxText is the longest text of an ERROR that is sent, in bytes: two lines of a
// firmware's text screen.
const maxText = 150

// describe is the one place that turns an error into what the client is told.
func describe(err error, path string) (Code, string) {
	named := func(what string) string { return what + ": " + path }
	var code Code
	var text string
	switch {
	case errors.Is(err, ErrNotFound):
		code, text = CodeNotFound, err.Error()
		if err == ErrNotFound { //nolint:errorlint // the bare sentinel says no name yet
			text = named(text)
		}
	case errors.Is(err, fs.ErrNotExist):
		code, text = CodeNotFound, named("file not found")
	case errors.Is(err, ErrForbidden):
		code, text = CodeForbidden, err.Error()
		if err == ErrForbidden { //nolint:errorlint // the bare sentinel says no name yet
			text = named(text)
		}
	case errors.Is(err, fs.ErrPermission):
		code, text = CodeForbidden, named("the server may not read this file")
	case errors.Is(err, ErrNoSpace):
		code, text = CodeNoSpace, err.Error()
	case errors.Is(err, syscall.ENOSPC):
		code, text = CodeNoSpace, "the server's disk is full"
	case errors.Is(err, ErrIllegal):
		code, text = CodeIllegal, err.Error()
	case errors.Is(err, ErrExists):
		code, text = CodeExists, err.Error()
	case errors.Is(err, fs.ErrExist):
		code, text = CodeExists, named("file exists already")
	case errors.Is(err, ErrShutdown), errors.Is(err, context.Canceled):
		code, text = CodeUndefined, ErrShutdown.Error()
	case errors.Is(err, ErrBusy), errors.Is(err, ErrSilent), errors.Is(err, ErrStalled), errors.Is(err, ErrChanged), errors.Is(err, ErrReplaced):
		code, text = CodeUndefined, err.Error()
	default:
		// An unknown error may hold anything: the log has it, the network does not.
		code, text = CodeUndefined, named("server error, see the server's log")
	}
	return code, printable(strings.TrimSpace(text), maxText)
}
