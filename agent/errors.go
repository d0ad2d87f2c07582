package agent

import (
	"errors"
	"fmt"
	"net/http"

	"castpoint/agent/protocol"
)

// Exit codes of castagent and castpoint.
const (
	ExitDone     = 0
	ExitFailed   = 1
	ExitUsage    = 2
	ExitPartly   = 3 // some blocks are there: the same command goes on from them
	ExitNotFound = 4
	ExitRefused  = 5
)

// Errors that callers branch on.
var (
	// ErrUsage: the options do not make sense.
	ErrUsage = errors.New("wrong call")
	// ErrRefused: this side refuses, to protect what is there.
	ErrRefused = errors.New("refused")
	// ErrPartly: the receive ended early; what was received is kept.
	ErrPartly = errors.New("not complete")
)

// PinError says that the server has another certificate than the one expected.
type PinError struct {
	Server    string
	Want, Got protocol.Pin
}

func (e *PinError) Error() string {
	return fmt.Sprintf("%s is not the expected server: its certificate is %s, expected is %s; if the server was set up anew, use the pin that castpoint serve prints now",
		e.Server, e.Got, e.Want)
}

// ExitCode is the exit code that stands for the error.
func ExitCode(err error) int {
	if err == nil {
		return ExitDone
	}
	if _, ok := errors.AsType[*PinError](err); ok {
		return ExitRefused
	}
	if p, ok := errors.AsType[*protocol.Problem](err); ok {
		switch p.Code {
		case protocol.CodeInvalid:
			return ExitUsage
		case protocol.CodeDamaged:
			return ExitFailed
		}
		switch p.Status {
		case http.StatusBadRequest:
			return ExitUsage
		case http.StatusNotFound:
			return ExitNotFound
		case http.StatusUnauthorized, http.StatusForbidden, http.StatusConflict, http.StatusTooManyRequests:
			return ExitRefused
		}
	}
	switch {
	case errors.Is(err, ErrUsage):
		return ExitUsage
	case errors.Is(err, ErrRefused):
		return ExitRefused
	case errors.Is(err, ErrPartly):
		return ExitPartly
	}
	return ExitFailed
}

// marked is an error of one of the kinds above, without the kind in its text.
type marked struct {
	kind error
	text error
}

func (m *marked) Error() string { return m.text.Error() }

func (m *marked) Unwrap() []error { return []error{m.kind, m.text} }

// Errorf makes an error of a kind, one of the errors above, without the kind in its
// text.
func Errorf(kind error, format string, args ...any) error {
	return &marked{kind, fmt.Errorf(format, args...)}
}
