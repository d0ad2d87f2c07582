//go:build !(linux && amd64)

package clock

import (
	"errors"
	"fmt"
	"os/exec"
	"time"
)

// Host is the clock of one running program; there are none here.
type Host struct{}

// Start refuses: programs get clocks of their own on Linux on amd64 only.
func Start(*exec.Cmd, string, time.Duration) (*Host, error) {
	return nil, fmt.Errorf("a program with a clock of its own, other than on Linux on amd64: %w", errors.ErrUnsupported)
}

// Set refuses, as Start does.
func (*Host) Set(time.Duration) error { return errors.ErrUnsupported }

// Ahead is 0.
func (*Host) Ahead() time.Duration { return 0 }

// Close does nothing.
func (*Host) Close() error { return nil }
