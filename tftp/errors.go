package tftp

import (
	"context"
	"errors"
	"io/fs"
	"strings"
	"syscall"

	"castpoint/tftp/flow"
	"castpoint/tftp/wire"
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
	ErrIllegal   = wire.ErrIllegal
	ErrExists    = errors.New("file exists already")
	ErrBusy      = errors.New("server is busy, try again later")
)

// Errors of transfers, seen in Event.Err beside those of package flow.
var (
	// ErrShutdown means that the server ended while the transfer ran.
	ErrShutdown = errors.New("server is shutting down")
	// ErrReplaced means that a new request came from the same client port.
	ErrReplaced = errors.New("the client sent a new request from the same port")
)

// maxText is the longest text of an ERROR that is sent, in bytes: two lines of a
// firmware's text screen.
const maxText = 150

// describe is the one place that turns an error into what the client is told.
func describe(err error, path string) (wire.Code, string) {
	named := func(what string) string { return what + ": " + path }
	var code wire.Code
	var text string
	switch {
	case errors.Is(err, ErrNotFound):
		code, text = wire.CodeNotFound, err.Error()
		if err == ErrNotFound { //nolint:errorlint // the bare sentinel says no name yet
			text = named(text)
		}
	case errors.Is(err, fs.ErrNotExist):
		code, text = wire.CodeNotFound, named("file not found")
	case errors.Is(err, ErrForbidden):
		code, text = wire.CodeForbidden, err.Error()
		if err == ErrForbidden { //nolint:errorlint // the bare sentinel says no name yet
			text = named(text)
		}
	case errors.Is(err, fs.ErrPermission):
		code, text = wire.CodeForbidden, named("the server may not read this file")
	case errors.Is(err, ErrNoSpace):
		code, text = wire.CodeNoSpace, err.Error()
	case errors.Is(err, syscall.ENOSPC):
		code, text = wire.CodeNoSpace, "the server's disk is full"
	case errors.Is(err, ErrIllegal):
		code, text = wire.CodeIllegal, err.Error()
	case errors.Is(err, ErrExists):
		code, text = wire.CodeExists, err.Error()
	case errors.Is(err, fs.ErrExist):
		code, text = wire.CodeExists, named("file exists already")
	case errors.Is(err, ErrShutdown), errors.Is(err, context.Canceled):
		code, text = wire.CodeUndefined, ErrShutdown.Error()
	case errors.Is(err, ErrBusy), errors.Is(err, flow.ErrSilent), errors.Is(err, flow.ErrStalled), errors.Is(err, flow.ErrChanged), errors.Is(err, ErrReplaced):
		code, text = wire.CodeUndefined, err.Error()
	default:
		// An unknown error may hold anything: the log has it, the network does not.
		code, text = wire.CodeUndefined, named("server error, see the server's log")
	}
	return code, wire.Printable(strings.TrimSpace(text), maxText)
}
