//go:build !linux && !windows

package platform

import (
	"context"
	"errors"
	"io"
	"time"
)

type other struct{}

// New makes the platform of this machine, which is none that boots.
func New() Platform { return other{} }

func (other) Network(context.Context, string, func(string)) ([]Card, error) { return listCards() }
func (other) SetClock(time.Time) error                                      { return errors.ErrUnsupported }
func (other) Console(io.Writer) Console                                     { return nil }
func (other) Prompt(context.Context) error                                  { return errors.ErrUnsupported }
