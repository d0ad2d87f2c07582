package rollout

import (
	"errors"
	"fmt"
)

// Errors told apart with errors.Is, beside those of package named.
var (
	// ErrSize: a required deployment is for more devices than anybody confirmed.
	ErrSize = errors.New("the number of devices has to be confirmed")
	// ErrRefused: a machine may not do that now.
	ErrRefused = errors.New("refused")
	// ErrPassword: what was typed at the machine is not the deployment's password.
	ErrPassword = fmt.Errorf("%w: wrong password", ErrRefused)
)
