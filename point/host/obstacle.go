package host

import (
	"errors"
	"fmt"
	"strings"
	"syscall"
)

// Obstacle is one reason why serving cannot begin.
type Obstacle struct {
	What string // "TFTP on UDP port 69"
	Why  string
	Out  string // the way out
}

// Obstruct says why a port cannot be had, and by whom it is held.
func Obstruct(what, network string, port uint16, err error, out string) Obstacle {
	o := Obstacle{What: fmt.Sprintf("%s on %s port %d", what, strings.ToUpper(network), port), Out: out}
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		o.Why = "the port is held by another program"
		if who := Holders(network, port); len(who) > 0 {
			o.Why = "the port is held by " + strings.Join(who, ", ")
		}
	case errors.Is(err, syscall.EACCES), errors.Is(err, syscall.EPERM):
		o.Why, o.Out = "not permitted", "run it as root, or give it CAP_NET_BIND_SERVICE and CAP_NET_RAW"
	default:
		o.Why, o.Out = err.Error(), ""
	}
	return o
}
