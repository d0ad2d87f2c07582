package rollout

import (
	"errors"
	"fmt"

	"castpoint/deploy/sequence"
)

// Errors told apart with errors.Is.
var (
	ErrInvalid   = sequence.ErrInvalid
	ErrNotFound  = errors.New("not found")
	ErrAmbiguous = errors.New("more than one has that name")
	ErrExists    = errors.New("exists already")
	ErrInUse     = errors.New("is in use")
	// ErrSize: a required deployment is for more devices than anybody confirmed.
	ErrSize = errors.New("the number of devices has to be confirmed")
	// ErrRefused: a machine may not do that now.
	ErrRefused = errors.New("refused")
)

func invalid(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrInvalid, fmt.Sprintf(format, args...))
}
